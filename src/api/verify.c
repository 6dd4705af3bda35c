/* mobiedit_ledger_verify */
#include "api/active_edits.h"

#include "eval/drift.h"

#include <math.h>
#include <string.h>

/* A round of repairs solves at most so many edits anew, the next one twice as many: where one layer bears
 * more than it can, each may cost another, which is then seen before hours went into it. */
enum { FIRST_ROUND = 16 };
/* A round was worth it if of so many edits that it solved anew one more holds in the end; so many that were
 * not are enough. */
enum { WORTH_ONE_OF = 4, MAX_IDLE_ROUNDS = 2 };

static mobiedit_status ask_all(mobiedit_ledger *ledger, me_active_edits *active, int *n_lost,
                               mobiedit_error *err) {
    ME_TRY(me_active_solve(ledger->model, active, err));
    return me_active_try(ledger, active, n_lost, err);
}

static mobiedit_status record_locked(mobiedit_ledger *ledger, const me_active_edits *active, int *n_anew,
                                     int64_t *generation, mobiedit_error *err) {
    ME_TRY(me_ledger_generation(ledger->store, generation, err));
    if (*generation != active->generation)
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s was changed while it was verified; verify it again",
                       ledger->path);
    ME_TRY(me_active_record(ledger, active, n_anew, err));
    return me_ledger_generation(ledger->store, generation, err);
}

/* What is known of the active edits from here on is in the ledger. *n_anew grows. */
static mobiedit_status record(mobiedit_ledger *ledger, me_active_edits *active, int *n_anew,
                              mobiedit_error *err) {
    int n = 0;
    int64_t generation;
    ME_TRY(me_ledger_begin(ledger->store, err));
    ME_TRY(me_ledger_end(ledger->store, record_locked(ledger, active, &n, &generation, err), err));
    active->generation = generation;
    memset(active->solved_anew, 0, (size_t)active->records.n * sizeof *active->solved_anew);
    *n_anew += n;
    return MOBIEDIT_OK;
}

static mobiedit_status open_all(mobiedit_ledger *ledger, const mobiedit_edit_options *options,
                                me_active_edits *out, mobiedit_error *err) {
    const me_active_choice all = {0};
    ME_TRY(me_active_open(ledger, &all, out, err));
    me_active_report(out, options);
    return MOBIEDIT_OK;
}

/* The active edits are again those of the ledger. */
static mobiedit_status go_back(mobiedit_ledger *ledger, me_active_edits *active,
                               const mobiedit_edit_options *options, mobiedit_error *err) {
    me_active_close(active);
    ME_TRY(open_all(ledger, options, active, err));
    return me_active_solve(ledger->model, active, err);
}

/* Each round that does not make it worse is recorded. */
static mobiedit_status repair(mobiedit_ledger *ledger, me_active_edits *active,
                              const mobiedit_edit_options *options, int *n_lost, int *n_anew,
                              mobiedit_error *err) {
    int at = 0, most = FIRST_ROUND;
    for (int idle = 0; *n_lost && idle < MAX_IDLE_ROUNDS;) {
        const int before = *n_lost, tried = before < most ? before : most;
        ME_TRY(me_active_repair(ledger, active, options, most, &at, err));
        ME_TRY(ask_all(ledger, active, n_lost, err));
        idle = WORTH_ONE_OF * (before - *n_lost) < tried ? idle + 1 : 0;
        if (*n_lost > before) {
            *n_lost = before;
            ME_TRY(go_back(ledger, active, options, err));
        } else {
            ME_TRY(record(ledger, active, n_anew, err));
        }
        if (most < active->records.n) most *= 2;
    }
    return MOBIEDIT_OK;
}

/* What the solved edits do beside their prompts, and to text that has nothing to do with them. */
static mobiedit_status measure(mobiedit_ledger *ledger, me_active_edits *active, double *drift_out,
                               mobiedit_error *err) {
    me_runtime *runtime;
    me_drift *drift;
    me_pending_file adapter;
    ME_TRY(me_handle_runtime(ledger->model, &runtime, err));
    ME_TRY(me_drift_open(runtime, &drift, err));
    mobiedit_status status = me_active_write(ledger->model, active, ledger->path, &adapter, err);
    if (status == MOBIEDIT_OK) {
        status = me_runtime_set_adapter(runtime, adapter.temporary, err);
        if (status == MOBIEDIT_OK) status = me_drift_measure(drift, runtime, drift_out, err);
        if (status == MOBIEDIT_OK) status = me_active_look_aside(ledger, active, adapter.temporary, err);
        me_pending_discard(&adapter);
    }
    me_drift_close(drift);
    return status;
}

/* Unless another process has changed the ledger meanwhile: then they are those of an adapter that is no more. */
static mobiedit_status put_asides(mobiedit_ledger *ledger, const me_active_edits *active,
                                  mobiedit_error *err) {
    int64_t generation;
    ME_TRY(me_ledger_generation(ledger->store, &generation, err));
    for (int i = 0; i < active->records.n && generation == active->generation; i++)
        ME_TRY(me_ledger_set_asides(ledger->store, active->records.items[i].about.id,
                                    &active->records.items[i].about.asides, err));
    return MOBIEDIT_OK;
}

static mobiedit_status record_asides(mobiedit_ledger *ledger, const me_active_edits *active,
                                     mobiedit_error *err) {
    ME_TRY(me_ledger_begin(ledger->store, err));
    return me_ledger_end(ledger->store, put_asides(ledger, active, err), err);
}

static mobiedit_status verify(mobiedit_ledger *ledger, me_active_edits *active,
                              const mobiedit_verify_options *options, mobiedit_verify_summary *summary,
                              mobiedit_error *err) {
    int n_lost, n_anew = 0;
    double drift;
    ME_TRY(ask_all(ledger, active, &n_lost, err));
    ME_TRY(record(ledger, active, &n_anew, err));
    if (options->repair) ME_TRY(repair(ledger, active, &options->edit, &n_lost, &n_anew, err));
    ME_TRY(measure(ledger, active, &drift, err));
    ME_TRY(record_asides(ledger, active, err));
    *summary = (mobiedit_verify_summary){
        .active = active->records.n, .hold = active->records.n - n_lost, .resolved = n_anew, .drift = drift};
    for (int i = 0; i < active->records.n; i++)
        summary->said += me_is_said_record(&active->records.items[i]);
    for (int i = 0; i < active->records.n && options->on_record; i++)
        if (!options->on_record(options->user, &active->records.items[i].about)) break;
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_ledger_verify(mobiedit_ledger *ledger, const mobiedit_verify_options *options,
                                       mobiedit_verify_summary *summary, mobiedit_error *err) {
    const mobiedit_verify_options defaults = {0};
    if (!options) options = &defaults;
    me_active_edits active;
    ME_TRY(me_check_edit_options(ledger->model, &options->edit, err));
    ME_TRY(open_all(ledger, &options->edit, &active, err));
    mobiedit_verify_summary found = {.drift = NAN};
    const mobiedit_status status =
        active.records.n ? verify(ledger, &active, options, &found, err) : MOBIEDIT_OK;
    me_active_close(&active);
    if (status == MOBIEDIT_OK) *summary = found;
    return me_outcome(status, err);
}
