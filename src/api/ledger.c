/* mobiedit_ledger_*: what needs no solve of an edit. */
#include "api/active_edits.h"
#include "base/memory.h"
#include "store/fingerprint.h"

#include <string.h>

mobiedit_status mobiedit_ledger_open(mobiedit_model *model, const char *path, bool write,
                                     mobiedit_ledger **out, mobiedit_error *err) {
    if (path) ME_TRY(me_check_text(path, "the ledger's path", err));
    char fingerprint[ME_FINGERPRINT_SIZE];
    mobiedit_ledger *ledger = me_calloc(1, sizeof *ledger);
    if (!ledger) return me_fail_memory(err, "the ledger");
    *ledger = (mobiedit_ledger){.model = model,
                                .path = path ? me_strdup(path) : me_ledger_default_path(model->model)};
    mobiedit_status status = ledger->path ? MOBIEDIT_OK : me_fail_memory(err, "the ledger");
    if (status == MOBIEDIT_OK) status = me_check_place(model, ME_PLACE_LEDGER, ledger->path, err);
    if (status == MOBIEDIT_OK) status = me_fingerprint(model->model, fingerprint, err);
    if (status == MOBIEDIT_OK)
        status = me_ledger_open(ledger->path, model->model, fingerprint, write, &ledger->store, err);
    if (status == MOBIEDIT_OK)
        *out = ledger;
    else
        mobiedit_ledger_close(ledger);
    return me_outcome(status, err);
}

void mobiedit_ledger_close(mobiedit_ledger *ledger) {
    if (!ledger) return;
    me_ledger_close(ledger->store);
    me_free(ledger->path);
    me_free(ledger);
}

mobiedit_status mobiedit_ledger_list(mobiedit_ledger *ledger, int64_t id, mobiedit_record_fn on_record,
                                     void *user, mobiedit_error *err) {
    const me_record_query query = {.id = id};
    me_records records;
    ME_TRY(me_ledger_read(ledger->store, &query, &records, err));
    mobiedit_status status = MOBIEDIT_OK;
    if (id != 0 && records.n == 0)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no edit %lld", (long long)id);
    for (int i = 0; i < records.n && on_record(user, &records.items[i].about); i++)
        ;
    me_records_free(&records);
    return me_outcome(status, err);
}

/* ---- undo and redo ----------------------------------------------------------------------------------- */

/* The edit that is meant, without its data; freed by the caller. */
static mobiedit_status find(mobiedit_ledger *ledger, int64_t id, mobiedit_record_state last, me_records *out,
                            mobiedit_error *err) {
    if (id == 0) ME_TRY(me_ledger_last(ledger->store, last, &id, err));
    if (id == 0) return me_fail(err, MOBIEDIT_E_ARGUMENT, "no edit is %s", mobiedit_record_state_name(last));
    const me_record_query query = {.id = id};
    ME_TRY(me_ledger_read(ledger->store, &query, out, err));
    if (out->n == 1) return MOBIEDIT_OK;
    me_records_free(out);
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no edit %lld", (long long)id);
}

/* The newest edit that `id` superseded comes back. */
static mobiedit_status restore(mobiedit_ledger *ledger, int64_t id, int64_t *restored, mobiedit_error *err) {
    const me_record_query query = {0};
    me_records records;
    ME_TRY(me_ledger_read(ledger->store, &query, &records, err));
    for (int i = 0; i < records.n; i++) {
        const mobiedit_record *a = &records.items[i].about;
        if (a->state == MOBIEDIT_RECORD_SUPERSEDED && a->superseded_by == id) *restored = a->id;
    }
    me_records_free(&records);
    return *restored ? me_ledger_set_state(ledger->store, *restored, MOBIEDIT_RECORD_ACTIVE, 0, err)
                     : MOBIEDIT_OK;
}

static mobiedit_status undo(mobiedit_ledger *ledger, const mobiedit_record *edit, mobiedit_change *change,
                            mobiedit_error *err) {
    if (edit->state != MOBIEDIT_RECORD_ACTIVE)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "edit %lld is %s, not active", (long long)edit->id,
                       mobiedit_record_state_name(edit->state));
    ME_TRY(me_ledger_set_state(ledger->store, edit->id, MOBIEDIT_RECORD_UNDONE, 0, err));
    return restore(ledger, edit->id, &change->restored, err);
}

static mobiedit_status redo(mobiedit_ledger *ledger, const mobiedit_record *edit, mobiedit_change *change,
                            mobiedit_error *err) {
    if (edit->state == MOBIEDIT_RECORD_ACTIVE)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "edit %lld is already active", (long long)edit->id);
    ME_TRY(me_ledger_find(ledger->store, edit->prompt, NULL, &change->superseded, err));
    if (change->superseded)
        ME_TRY(me_ledger_set_state(ledger->store, change->superseded, MOBIEDIT_RECORD_SUPERSEDED, edit->id,
                                   err));
    return me_ledger_set_state(ledger->store, edit->id, MOBIEDIT_RECORD_ACTIVE, 0, err);
}

/* Other active edits of the subject. */
static mobiedit_status count_related(mobiedit_ledger *ledger, const mobiedit_record *edit, int *related,
                                     mobiedit_error *err) {
    const mobiedit_request request = {.prompt = edit->prompt, .target = edit->target};
    me_prompt prompt;
    ME_TRY(me_prompt_parse(&request, &prompt, err));
    me_active_edits active;
    const me_active_choice choice = {.without = edit->id, .subject = &prompt};
    const mobiedit_status status = me_active_open(ledger, &choice, &active, err);
    me_prompt_free(&prompt);
    ME_TRY(status);
    *related = active.records.n;
    me_active_close(&active);
    return MOBIEDIT_OK;
}

typedef mobiedit_status (*change_fn)(mobiedit_ledger *ledger, const mobiedit_record *edit,
                                     mobiedit_change *change, mobiedit_error *err);

static mobiedit_status change_locked(mobiedit_ledger *ledger, int64_t id, mobiedit_record_state last,
                                     change_fn apply, mobiedit_change *change, mobiedit_error *err) {
    me_records found = {0};
    ME_TRY(find(ledger, id, last, &found, err));
    if (found.n != 1) return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no such edit");
    change->id = found.items[0].about.id;
    mobiedit_status status = apply(ledger, &found.items[0].about, change, err);
    if (status == MOBIEDIT_OK) status = count_related(ledger, &found.items[0].about, &change->related, err);
    me_records_free(&found);
    return status;
}

static mobiedit_status change_state(mobiedit_ledger *ledger, int64_t id, mobiedit_record_state last,
                                    change_fn apply, mobiedit_change *change, mobiedit_error *err) {
    mobiedit_change done = {0};
    ME_TRY(me_ledger_begin(ledger->store, err));
    ME_TRY(me_ledger_end(ledger->store, change_locked(ledger, id, last, apply, &done, err), err));
    *change = done;
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_ledger_undo(mobiedit_ledger *ledger, int64_t id, mobiedit_change *change,
                                     mobiedit_error *err) {
    return me_outcome(change_state(ledger, id, MOBIEDIT_RECORD_ACTIVE, undo, change, err), err);
}

mobiedit_status mobiedit_ledger_redo(mobiedit_ledger *ledger, int64_t id, mobiedit_change *change,
                                     mobiedit_error *err) {
    return me_outcome(change_state(ledger, id, MOBIEDIT_RECORD_UNDONE, redo, change, err), err);
}

/* ---- export ------------------------------------------------------------------------------------------ */

/* Facts that the model says by itself change nothing. */
static bool changes_anything(const me_active_edits *active) {
    for (int i = 0; i < active->records.n; i++)
        if (!me_is_said_record(&active->records.items[i])) return true;
    return false;
}

/* Opens all active edits and writes their adapter, pending beside `path`. If none is active: one that does
 * nothing, which replaces what the file did before, or E_ARGUMENT. */
static mobiedit_status write_active(mobiedit_ledger *ledger, const char *path, bool may_do_nothing,
                                    me_active_edits *active, me_pending_file *out, mobiedit_error *err) {
    const me_active_choice all = {0};
    ME_TRY(me_check_output(ledger->model, ledger->path, path, err));
    ME_TRY(me_active_open(ledger, &all, active, err));
    mobiedit_status status = MOBIEDIT_OK;
    if (may_do_nothing ? active->n_edits > 0 : changes_anything(active)) {
        status = me_active_solve(ledger->model, active, err);
        if (status == MOBIEDIT_OK) status = me_active_write(ledger->model, active, path, out, err);
    } else if (may_do_nothing) {
        status = me_adapter_write_nothing(ledger->model->model, path, out, err);
    } else {
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "no edit is active: there is nothing to merge");
    }
    if (status != MOBIEDIT_OK) me_active_close(active);
    return status;
}

mobiedit_status mobiedit_ledger_export(mobiedit_ledger *ledger, const char *output, mobiedit_error *err) {
    me_pending_file pending = {0};
    me_active_edits active;
    ME_TRY(write_active(ledger, output, true, &active, &pending, err));
    me_active_close(&active);
    return me_outcome(me_pending_commit(&pending, err), err);
}

/* The records are the facts that must hold, unless the options name others. */
static mobiedit_status merge_facts(mobiedit_ledger *ledger, const me_active_edits *active,
                                   const char *adapter, const mobiedit_merge_options *options,
                                   const char *output, mobiedit_merge_result *result, mobiedit_error *err) {
    mobiedit_merge_options own = *options;
    mobiedit_request *facts = me_calloc((size_t)active->records.n, sizeof *facts);
    if (!facts) return me_fail_memory(err, "the facts");
    for (int i = 0; i < active->records.n; i++)
        facts[i] = (mobiedit_request){.prompt = active->records.items[i].about.prompt,
                                      .target = active->records.items[i].about.target};
    if (own.n_facts == 0) {
        own.facts = facts;
        own.n_facts = (size_t)active->records.n;
    }
    const mobiedit_status status = mobiedit_merge(ledger->model, adapter, &own, output, result, err);
    me_free(facts);
    return status;
}

mobiedit_status mobiedit_ledger_merge(mobiedit_ledger *ledger, const mobiedit_merge_options *options,
                                      const char *output, mobiedit_merge_result *result,
                                      mobiedit_error *err) {
    const mobiedit_merge_options defaults = {0};
    me_pending_file adapter = {0};
    me_active_edits active;
    *result = (mobiedit_merge_result){0};
    if (options && options->modelfile)
        ME_TRY(me_check_output(ledger->model, ledger->path, options->modelfile, err));
    ME_TRY(write_active(ledger, output, false, &active, &adapter, err));
    const mobiedit_status status =
        merge_facts(ledger, &active, adapter.temporary, options ? options : &defaults, output, result, err);
    me_active_close(&active);
    me_pending_discard(&adapter);
    return me_outcome(status, err);
}
