/* mobiedit_ledger_edit: an edit that is verified among the others, and recorded. */
#include "api/record.h"

#include "api/edit_job.h"
#include "base/memory.h"
#include "base/usage.h"
#include "edit/solver.h"
#include "model/sites.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Most times that other edits are solved anew, or another process's edits are taken in, for one edit. */
enum { MAX_ROUNDS = 4 };
/* With so many edits and no more, each new one is followed by a look at all the others. With more, that is
 * left to mobiedit_ledger_verify, and only those of the same subject are looked at. */
enum { MAX_LOOKED_AT = 24 };
/* Edits that a layer takes before the next one does: one for so many of the dimensions in which its keys are
 * told apart. And how many layers away that may be. */
enum { DIMENSIONS_AN_EDIT = 5, MAX_STEPS = 3 };

typedef struct {
    mobiedit_ledger *ledger;
    const me_prompt *prompt;
    mobiedit_request request;      /* the caller's, its prompt in canonical form */
    mobiedit_edit_options options; /* the caller's, but for `force` */
    char *canonical;
    int64_t superseded;
    bool alone; /* only edits of the same subject are in place: an import verifies the rest at its end */
    me_edit_job job;
    me_active_edits active;
    me_joint_edit tried;
    float *offset;  /* [d]: what other edits add at the subject already */
    double started; /* wall clock, seconds */
    mobiedit_change *change;
} recording;

/* ---- the other edits --------------------------------------------------------------------------------- */

static mobiedit_status load(recording *r, mobiedit_error *err) {
    me_active_close(&r->active);
    const me_active_choice choice = {.without = r->superseded, .subject = r->alone ? r->prompt : NULL};
    ME_TRY(me_active_open(r->ledger, &choice, &r->active, err));
    me_active_report(&r->active, r->job.ask.options);
    for (int i = 0; i < r->active.records.n; i++)
        r->active.looked_at[i] =
            r->active.records.n <= MAX_LOOKED_AT || me_same_subject(&r->active.prompts[i], r->prompt);
    return MOBIEDIT_OK;
}

/* Another edit of the subject at the same kind of place; -1 where there is none. */
static int find_related(const recording *r) {
    for (int i = 0; i < r->active.records.n; i++)
        if (r->active.prompts[i].at_answer == r->prompt->at_answer &&
            me_same_subject(&r->active.prompts[i], r->prompt))
            return i;
    return -1;
}

/* What edits add that share the subject's key: all of it reaches the subject. */
static bool sum_shared(recording *r, int layer, int d) {
    bool any = false;
    memset(r->offset, 0, (size_t)d * sizeof *r->offset);
    for (int i = 0; i < r->active.records.n; i++) {
        if (r->active.edits[i].layer != layer || !me_same_key(&r->active.prompts[i], r->prompt)) continue;
        any = true;
        for (int j = 0; j < d; j++)
            r->offset[j] += r->active.edits[i].delta[j];
    }
    return any;
}

/* How many of the ledger's active edits are at each layer: counts [n_layer]. */
static mobiedit_status count_layers(const recording *r, int *counts, mobiedit_error *err) {
    const me_record_query query = {.active = true};
    me_records all;
    ME_TRY(me_ledger_read(r->ledger->store, &query, &all, err));
    for (int i = 0; i < all.n; i++)
        counts[all.items[i].about.solve.layer]++;
    me_records_free(&all);
    return MOBIEDIT_OK;
}

/* The usual layer while it has room; then those next to it, in turns; when all are full, the same once more.
 * A layer has only so many neurons that it hardly uses, and many edits in one cost more than the same number
 * spread over several. */
static int roomy_layer(const me_model *model, int usual, const int *counts) {
    const int room = model->d_model / DIMENSIONS_AN_EDIT + 1;
    int best = usual;
    for (int step = 1; step <= MAX_STEPS; step++)
        for (int sign = 1; sign >= -1; sign -= 2) {
            const int layer = usual + sign * step;
            if (layer < 0 || layer > model->n_layer - 2 || !me_site_is_there(model, layer)) continue;
            if (counts[layer] / room < counts[best] / room) best = layer;
        }
    return best;
}

static mobiedit_status find_room(const recording *r, int *layer, mobiedit_error *err) {
    const me_model *model = r->ledger->model->model;
    me_session *session;
    ME_TRY(me_handle_session(r->ledger->model, &session, err));
    int *counts = me_calloc((size_t)model->n_layer, sizeof *counts);
    if (!counts) return me_fail_memory(err, "the layers");
    const mobiedit_status status = count_layers(r, counts, err);
    const int usual = me_usual_layer(session, r->prompt->at_answer),
              roomy = roomy_layer(model, usual, counts);
    *layer = roomy == usual ? -1 : roomy;
    me_free(counts);
    return status;
}

/* The layer that the edit is to be made at besides what the caller's options say; -1: any. Edits of one
 * subject go to one layer, where they can be solved together. */
static mobiedit_status choose_layer(const recording *r, int *layer, mobiedit_error *err) {
    *layer = -1;
    if (r->job.options.fix_layer) return MOBIEDIT_OK;
    const int related = find_related(r);
    if (related >= 0) *layer = r->active.edits[related].layer;
    return related < 0 && r->job.attempt == 0 ? find_room(r, layer, err) : MOBIEDIT_OK;
}

/* Solves the new edit on top of what edits of the same subject do already at that layer, and puts it behind
 * them. */
static mobiedit_status solve(recording *r, mobiedit_error *err) {
    const int d = r->ledger->model->model->d_model;
    const me_edit_result *solved = &r->job.solved;
    int layer;
    ME_TRY(choose_layer(r, &layer, err));
    if (!r->offset) r->offset = me_calloc((size_t)d, sizeof *r->offset);
    if (!r->offset) return me_fail_memory(err, "what other edits add");
    const int at = layer >= 0 ? layer : me_fixed_layer(&r->job.options);
    const bool shared = at >= 0 && sum_shared(r, at, d);
    ME_TRY(me_attempt_solve(&r->job, layer, shared ? r->offset : NULL, err));
    r->tried = (me_joint_edit){.prompt = r->prompt,
                               .layer = solved->solve.layer,
                               .delta = solved->delta,
                               .keys = solved->keys,
                               .n_keys = solved->n_keys,
                               .keep = r->request.keep,
                               .n_keep = r->request.n_keep};
    return MOBIEDIT_OK;
}

/* The adapter of the new edit and all others, solved together. */
static mobiedit_status write_joint(recording *r, mobiedit_error *err) {
    me_active_put(&r->active, &r->tried);
    ME_TRY(me_active_solve(r->ledger->model, &r->active, err));
    me_pending_discard(&r->job.pending);
    return me_active_write(r->ledger->model, &r->active, me_attempt_path(&r->job), &r->job.pending, err);
}

/* ---- do they still hold? ----------------------------------------------------------------------------- */

static mobiedit_status count_lost(recording *r, mobiedit_error *err) {
    r->change->lost = 0;
    for (int i = 0; i < r->active.records.n; i++) {
        const mobiedit_record *a = &r->active.records.items[i].about;
        if (!r->active.looked_at[i] || a->holds != 0) continue;
        if (me_same_subject(&r->active.prompts[i], r->prompt))
            return me_fail(err, MOBIEDIT_E_NOT_VERIFIED,
                           "edit %lld of the same subject (\"%.100s\") would be lost; nothing was written",
                           (long long)a->id, a->prompt);
        r->change->lost++;
    }
    return MOBIEDIT_OK;
}

/* ---- recording --------------------------------------------------------------------------------------- */

static mobiedit_status add(recording *r, mobiedit_change *change, mobiedit_error *err) {
    me_ledger *store = r->ledger->store;
    const mobiedit_edit_result *result = r->job.result;
    me_record record = {.about = {.prompt = r->canonical,
                                  .target = r->prompt->target,
                                  .keep = r->request.keep,
                                  .n_keep = r->request.n_keep,
                                  .also = r->request.also,
                                  .n_also = r->request.n_also,
                                  .before = result->before,
                                  .after = result->after,
                                  .asides = result->asides,
                                  .solve.seconds = me_wall_seconds() - r->started}};
    me_record_fill(&record, &r->job.solved);
    /* The index of active prompts has room for one: the earlier one steps back first. */
    if (r->superseded) ME_TRY(me_ledger_set_state(store, r->superseded, MOBIEDIT_RECORD_SUPERSEDED, 0, err));
    ME_TRY(me_ledger_add(store, &record, &change->id, err));
    if (r->superseded)
        ME_TRY(me_ledger_set_state(store, r->superseded, MOBIEDIT_RECORD_SUPERSEDED, change->id, err));
    change->superseded = r->superseded;
    ME_TRY(me_active_record(r->ledger, &r->active, &change->resolved, err));
    /* Where others are active, a fact that was asked of the model alone has not been asked with them. */
    const bool alone = r->active.records.n == 0;
    return me_is_said_record(&record) && !alone ? MOBIEDIT_OK
                                                : me_ledger_set_holds(store, change->id, true, err);
}

/* Inside a transaction. *stale: another process has changed what this edit was verified with. */
static mobiedit_status add_unless_stale(recording *r, mobiedit_change *change, bool *stale,
                                        mobiedit_error *err) {
    int64_t generation, active;
    ME_TRY(me_ledger_generation(r->ledger->store, &generation, err));
    ME_TRY(me_ledger_find(r->ledger->store, r->canonical, NULL, &active, err));
    *stale = generation != r->active.generation || active != r->superseded;
    r->superseded = active;
    return *stale ? MOBIEDIT_OK : add(r, change, err);
}

static mobiedit_status commit(recording *r, bool *stale, mobiedit_error *err) {
    mobiedit_change done = *r->change;
    *stale = false;
    ME_TRY(me_ledger_begin(r->ledger->store, err));
    const mobiedit_status status = add_unless_stale(r, &done, stale, err);
    if (status == MOBIEDIT_OK && *stale) {
        me_ledger_rollback(r->ledger->store);
        return MOBIEDIT_OK;
    }
    ME_TRY(me_ledger_end(r->ledger->store, status, err));
    *r->change = done;
    return MOBIEDIT_OK;
}

/* Among the others: verified together with them, and recorded once all hold, or all that can. Others that
 * are lost are solved anew, and what another process has recorded meanwhile is taken in; both begin it again.
 */
static mobiedit_status settle(recording *r, mobiedit_error *err) {
    const mobiedit_edit_options *options = r->job.ask.options;
    for (int round = 0;; round++) {
        int n_lost, at = 0;
        bool stale;
        ME_TRY(write_joint(r, err));
        ME_TRY(me_attempt_verify(&r->job, err));
        ME_TRY(me_active_look(r->ledger->model, &r->active, r->job.pending.temporary, &n_lost, err));
        if (n_lost && round < MAX_ROUNDS) {
            ME_TRY(me_active_repair(r->ledger, &r->active, options, INT_MAX, &at, err));
            continue;
        }
        ME_TRY(count_lost(r, err));
        ME_TRY(commit(r, &stale, err));
        if (!stale) return MOBIEDIT_OK;
        if (round >= MAX_ROUNDS)
            return me_fail(err, MOBIEDIT_E_IO, "other processes keep changing the ledger %s",
                           r->ledger->path);
        ME_TRY(load(r, err));
    }
}

static mobiedit_status attempt(recording *r, mobiedit_error *err) {
    ME_TRY(load(r, err));
    ME_TRY(solve(r, err));
    return settle(r, err);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static mobiedit_status copy_texts(const mobiedit_record *about, mobiedit_edit_result *result,
                                  mobiedit_error *err) {
    result->before = me_strdup(about->before);
    result->after = me_strdup(about->after);
    if (result->before && result->after) return me_asides_copy(&about->asides, &result->asides, err);
    me_free(result->before);
    me_free(result->after);
    result->before = result->after = NULL;
    return me_fail_memory(err, "the texts");
}

/* The very edit is active already. */
static mobiedit_status report_known(recording *r, int64_t id, mobiedit_edit_result *result,
                                    mobiedit_error *err) {
    const me_record_query query = {.id = id};
    me_records found;
    ME_TRY(me_ledger_read(r->ledger->store, &query, &found, err));
    mobiedit_status status = MOBIEDIT_OK;
    if (found.n == 1) {
        const mobiedit_record *a = &found.items[0].about;
        result->solve = a->solve;
        const me_solver *solver = me_solver_find(a->solve.solver);
        result->solve.solver = solver ? solver->name : NULL; /* the record's own name goes with the record */
        status = copy_texts(a, result, err);
    }
    me_records_free(&found);
    r->change->id = id;
    r->change->known = true;
    return status;
}

/* Where the fact is said: an edit that adds nothing, at its prompt's own key. There the others are silent. */
static mobiedit_status solve_said(recording *r, mobiedit_error *err) {
    me_edit_result *solved = &r->job.solved;
    me_session *session;
    int layer, n;
    ME_TRY(choose_layer(r, &layer, err));
    ME_TRY(me_handle_session(r->ledger->model, &session, err));
    if (layer < 0) layer = me_fixed_layer(&r->job.options);
    if (layer < 0) layer = me_usual_layer(session, r->prompt->at_answer);
    me_edit_result_free(solved);
    solved->solve = (mobiedit_solve_stats){
        .solver = me_solver_of(&r->job.options)->name, .layer = layer, .stop = MOBIEDIT_STOP_ALREADY_SAID};
    solved->delta = me_calloc((size_t)r->ledger->model->model->d_model, sizeof *solved->delta);
    if (!solved->delta) return me_fail_memory(err, "an edit");
    solved->n_keys = 1;
    return me_edit_subject_keys(session, r->prompt, layer, &solved->keys, &n, err);
}

/* The fact is recorded as one that is known; what contradicts it steps back. The others are not asked: what
 * they add is what it was. */
static mobiedit_status record_said(recording *r, mobiedit_error *err) {
    for (int round = 0;; round++) {
        bool stale;
        ME_TRY(load(r, err));
        for (int i = 0; i < r->active.records.n; i++)
            r->active.looked_at[i] = false;
        if (round == 0) ME_TRY(solve_said(r, err));
        ME_TRY(commit(r, &stale, err));
        if (!stale) return MOBIEDIT_OK;
        if (round >= MAX_ROUNDS)
            return me_fail(err, MOBIEDIT_E_IO, "other processes keep changing the ledger %s",
                           r->ledger->path);
    }
}

static mobiedit_status edit(recording *r, mobiedit_error *err) {
    bool said;
    ME_TRY(me_job_is_said(&r->job, &said, err));
    if (said) return record_said(r, err);
    mobiedit_status status = MOBIEDIT_E_NOT_SOLVED;
    while (me_attempt_begin(&r->job, status))
        status = attempt(r, err);
    return status == MOBIEDIT_OK ? me_attempt_finish(&r->job, err) : status;
}

static mobiedit_status run(recording *r, const me_record_request *ask, mobiedit_edit_result *result,
                           mobiedit_error *err) {
    const me_job_request job = {.prompt = r->prompt,
                                .request = &r->request,
                                .options = &r->options,
                                .output = ask->output,
                                .beside = r->ledger->path,
                                .with_texts = ask->with_texts};
    mobiedit_status status = me_job_begin(&r->job, r->ledger->model, &job, result, err);
    if (status == MOBIEDIT_OK) status = edit(r, err);
    me_job_end(&r->job, status);
    return status;
}

/* Whether the record is of a fact that the model says by itself, and an edit of it is asked for all the same:
 * by the caller, or since it is lost among the others. */
static mobiedit_status is_to_be_edited(me_ledger *store, int64_t id, bool force, bool *out,
                                       mobiedit_error *err) {
    const me_record_query query = {.id = id};
    me_records found;
    ME_TRY(me_ledger_read(store, &query, &found, err));
    *out = found.n == 1 && me_is_said_record(&found.items[0]) && (force || found.items[0].about.holds == 0);
    me_records_free(&found);
    return MOBIEDIT_OK;
}

/* *known: the edit that says just this and is active, or 0. */
static mobiedit_status find(recording *r, int64_t *known, mobiedit_error *err) {
    me_ledger *store = r->ledger->store;
    bool anew = false;
    ME_TRY(me_ledger_find(store, r->canonical, NULL, &r->superseded, err));
    ME_TRY(me_ledger_find(store, r->canonical, r->prompt->target, known, err));
    if (*known != r->superseded) *known = 0; /* it is there, but not active */
    if (*known) ME_TRY(is_to_be_edited(store, *known, r->options.force, &anew, err));
    if (anew) {
        *known = 0;
        r->options.force = true;
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_record_edit(mobiedit_ledger *ledger, const me_record_request *ask,
                               mobiedit_edit_result *result, mobiedit_change *change, mobiedit_error *err) {
    *result = (mobiedit_edit_result){.joules = NAN, .asides.chat = -1};
    *change = (mobiedit_change){0};
    recording r = {.ledger = ledger,
                   .prompt = ask->prompt,
                   .request = *ask->request,
                   .options = *ask->options,
                   .canonical = me_prompt_canonical(ask->prompt),
                   .alone = ask->alone,
                   .started = me_wall_seconds(),
                   .change = change};
    int64_t known = 0;
    r.request.prompt = r.canonical;
    mobiedit_status status = r.canonical ? find(&r, &known, err) : me_fail_memory(err, "the prompt");
    if (status == MOBIEDIT_OK)
        status = known ? report_known(&r, known, result, err) : run(&r, ask, result, err);
    me_active_close(&r.active);
    me_free(r.offset);
    me_free(r.canonical);
    return status;
}

static mobiedit_status choose_place(mobiedit_ledger *ledger, const mobiedit_edit_options *options,
                                    me_prompt *prompt, mobiedit_error *err) {
    int n;
    ME_TRY(me_active_at_answer(ledger, prompt, &n, err));
    prompt->at_answer = me_edits_at_answer(options, n + 1);
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_ledger_edit(mobiedit_ledger *ledger, const mobiedit_request *request,
                                     const mobiedit_edit_options *options, const char *output,
                                     mobiedit_edit_result *result, mobiedit_change *change,
                                     mobiedit_error *err) {
    const mobiedit_edit_options defaults = {0};
    me_prompt prompt;
    *result = (mobiedit_edit_result){.joules = NAN, .asides.chat = -1};
    *change = (mobiedit_change){0};
    ME_TRY(me_request_open(ledger->model, request, &prompt, err));
    mobiedit_status status = choose_place(ledger, options, &prompt, err);
    const me_record_request ask = {.prompt = &prompt,
                                   .request = request,
                                   .options = options ? options : &defaults,
                                   .output = output,
                                   .with_texts = true};
    if (status == MOBIEDIT_OK) status = me_record_edit(ledger, &ask, result, change, err);
    me_prompt_free(&prompt);
    /* If no adapter was made on the way, the file still is that of all active edits. */
    if (status == MOBIEDIT_OK && output &&
        (change->known || result->solve.stop == MOBIEDIT_STOP_ALREADY_SAID))
        return mobiedit_ledger_export(ledger, output, err);
    return me_outcome(status, err);
}
