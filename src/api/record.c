/* mobiedit_ledger_edit: an edit that is verified among the others, and recorded. */
#include "api/record.h"

#include "api/job.h"
#include "base/memory.h"
#include "base/usage.h"
#include "edit/solver.h"

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
    const mobiedit_edit_options *options;
    me_prompt prompt;
    mobiedit_request request; /* the caller's, its prompt in canonical form */
    char *canonical;
    int64_t superseded;
    bool alone; /* only edits of the same subject are in place: an import verifies the rest at its end */
    me_active_edits active;
    me_joint_edit tried;
    float *offset;
    int rounds;
    double started; /* wall clock, seconds */
    mobiedit_change *change;
} recording;

/* ---- the other edits --------------------------------------------------------------------------------- */

static mobiedit_status load(recording *r, mobiedit_error *err) {
    me_active_close(&r->active);
    const me_active_choice choice = {.without = r->superseded, .subject = r->alone ? &r->prompt : NULL};
    ME_TRY(me_active_open(r->ledger, &choice, &r->active, err));
    me_active_report(&r->active, r->options);
    for (int i = 0; i < r->active.records.n; i++)
        r->active.looked_at[i] =
            r->active.records.n <= MAX_LOOKED_AT || me_same_subject(&r->active.prompts[i], &r->prompt);
    return MOBIEDIT_OK;
}

/* Another edit of the subject; -1 where there is none. */
static int find_related(const recording *r) {
    for (int i = 0; i < r->active.records.n; i++)
        if (me_same_subject(&r->active.prompts[i], &r->prompt)) return i;
    return -1;
}

/* What edits add that share the subject's key: all of it reaches the subject. */
static bool sum_shared(recording *r, int layer, int d) {
    bool any = false;
    memset(r->offset, 0, (size_t)d * sizeof *r->offset);
    for (int i = 0; i < r->active.records.n; i++) {
        if (r->active.edits[i].layer != layer || !me_same_key(&r->active.prompts[i], &r->prompt)) continue;
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
            if (layer < 0 || layer > model->n_layer - 2) continue;
            if (counts[layer] / room < counts[best] / room) best = layer;
        }
    return best;
}

static mobiedit_status choose_layer(const recording *r, mobiedit_edit_options *options, mobiedit_error *err) {
    const me_model *model = r->ledger->model->model;
    me_session *session;
    ME_TRY(me_handle_session(r->ledger->model, &session, err));
    int *counts = me_calloc((size_t)model->n_layer, sizeof *counts);
    if (!counts) return me_fail_memory(err, "the layers");
    const mobiedit_status status = count_layers(r, counts, err);
    const int usual = me_usual_layer(session);
    const int layer = status == MOBIEDIT_OK ? roomy_layer(model, usual, counts) : usual;
    *options = me_fix_layer(options, layer == usual ? -1 : layer);
    me_free(counts);
    return status;
}

/* Edits of one subject go to one layer, where they can be solved together. */
static mobiedit_status prepare(void *user, int attempt, mobiedit_edit_options *options, const float **offset,
                               mobiedit_error *err) {
    recording *r = user;
    const int d = r->ledger->model->model->d_model;
    r->rounds = 0;
    ME_TRY(load(r, err));
    const int related = find_related(r);
    if (related < 0 && !options->fix_layer && attempt == 0) return choose_layer(r, options, err);
    if (related < 0) return MOBIEDIT_OK;
    if (!options->fix_layer) *options = me_fix_layer(options, r->active.edits[related].layer);
    if (!r->offset) r->offset = me_calloc((size_t)d, sizeof *r->offset);
    if (!r->offset) return me_fail_memory(err, "what other edits add");
    if (sum_shared(r, options->layer, d)) *offset = r->offset;
    return MOBIEDIT_OK;
}

static mobiedit_status write_joint(void *user, const me_edit_result *solved, const char *path,
                                   me_pending_file *out, mobiedit_error *err) {
    recording *r = user;
    r->tried = (me_joint_edit){.prompt = &r->prompt,
                               .layer = solved->solve.layer,
                               .delta = solved->delta,
                               .keys = solved->keys,
                               .n_keys = solved->n_keys,
                               .keep = r->request.keep,
                               .n_keep = r->request.n_keep};
    me_active_put(&r->active, &r->tried);
    ME_TRY(me_active_solve(r->ledger->model, &r->active, err));
    return me_active_write(r->ledger->model, &r->active, path, out, err);
}

/* ---- do they still hold? ----------------------------------------------------------------------------- */

static mobiedit_status count_lost(recording *r, mobiedit_error *err) {
    r->change->lost = 0;
    for (int i = 0; i < r->active.records.n; i++) {
        const mobiedit_record *a = &r->active.records.items[i].about;
        if (!r->active.looked_at[i] || a->holds != 0) continue;
        if (me_same_subject(&r->active.prompts[i], &r->prompt))
            return me_fail(err, MOBIEDIT_E_NOT_VERIFIED,
                           "edit %lld of the same subject (\"%.100s\") would be lost; nothing was written",
                           (long long)a->id, a->prompt);
        r->change->lost++;
    }
    return MOBIEDIT_OK;
}

/* ---- recording --------------------------------------------------------------------------------------- */

static mobiedit_status add(recording *r, const me_edit_result *solved, const mobiedit_edit_result *result,
                           mobiedit_change *change, mobiedit_error *err) {
    me_ledger *store = r->ledger->store;
    me_record record = {.about = {.prompt = r->canonical,
                                  .target = r->prompt.target,
                                  .keep = r->request.keep,
                                  .n_keep = r->request.n_keep,
                                  .before = result->before,
                                  .after = result->after,
                                  .solve.seconds = me_wall_seconds() - r->started}};
    me_record_fill(&record, solved);
    /* The index of active prompts has room for one: the earlier one steps back first. */
    if (r->superseded) ME_TRY(me_ledger_set_state(store, r->superseded, MOBIEDIT_RECORD_SUPERSEDED, 0, err));
    ME_TRY(me_ledger_add(store, &record, &change->id, err));
    if (r->superseded)
        ME_TRY(me_ledger_set_state(store, r->superseded, MOBIEDIT_RECORD_SUPERSEDED, change->id, err));
    change->superseded = r->superseded;
    ME_TRY(me_active_record(r->ledger, &r->active, &change->resolved, err));
    return me_ledger_set_holds(store, change->id, true, err);
}

/* Inside a transaction. *stale: another process has changed what this edit was verified with. */
static mobiedit_status add_unless_stale(recording *r, const me_edit_result *solved,
                                        const mobiedit_edit_result *result, mobiedit_change *change,
                                        bool *stale, mobiedit_error *err) {
    int64_t generation, active;
    ME_TRY(me_ledger_generation(r->ledger->store, &generation, err));
    ME_TRY(me_ledger_find(r->ledger->store, r->canonical, NULL, &active, err));
    *stale = generation != r->active.generation || active != r->superseded;
    r->superseded = active;
    return *stale ? MOBIEDIT_OK : add(r, solved, result, change, err);
}

static mobiedit_status commit(recording *r, const me_edit_result *solved, const mobiedit_edit_result *result,
                              bool *stale, mobiedit_error *err) {
    mobiedit_change done = *r->change;
    ME_TRY(me_ledger_begin(r->ledger->store, err));
    mobiedit_status status = add_unless_stale(r, solved, result, &done, stale, err);
    if (status == MOBIEDIT_OK && !*stale)
        status = me_ledger_commit(r->ledger->store, err);
    else
        me_ledger_rollback(r->ledger->store);
    if (status == MOBIEDIT_OK && !*stale) *r->change = done;
    return status;
}

static mobiedit_status keep(void *user, const me_edit_result *solved, const char *adapter,
                            const mobiedit_edit_result *result, bool *again, mobiedit_error *err) {
    recording *r = user;
    int n_lost;
    bool stale;
    const bool last = r->rounds++ >= MAX_ROUNDS;
    ME_TRY(me_active_look(r->ledger->model, &r->active, adapter, &n_lost, err));
    if (n_lost && !last) {
        int at = 0;
        *again = true;
        return me_active_repair(r->ledger, &r->active, r->options, INT_MAX, &at, err);
    }
    ME_TRY(count_lost(r, err));
    ME_TRY(commit(r, solved, result, &stale, err));
    if (!stale) return MOBIEDIT_OK;
    if (last)
        return me_fail(err, MOBIEDIT_E_IO, "other processes keep changing the ledger %s", r->ledger->path);
    *again = true;
    return load(r, err);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static mobiedit_status copy_texts(const mobiedit_record *about, mobiedit_edit_result *result,
                                  mobiedit_error *err) {
    result->before = me_strdup(about->before);
    result->after = me_strdup(about->after);
    if (result->before && result->after) return MOBIEDIT_OK;
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

/* The model says the target by itself: what contradicts it steps back. */
static mobiedit_status supersede_only(recording *r, mobiedit_error *err) {
    if (!r->superseded) return MOBIEDIT_OK;
    me_ledger *store = r->ledger->store;
    ME_TRY(me_ledger_begin(store, err));
    mobiedit_status status = me_ledger_set_state(store, r->superseded, MOBIEDIT_RECORD_SUPERSEDED, 0, err);
    if (status == MOBIEDIT_OK)
        status = me_ledger_commit(store, err);
    else
        me_ledger_rollback(store);
    if (status == MOBIEDIT_OK) r->change->superseded = r->superseded;
    return status;
}

static mobiedit_status solve(recording *r, const char *output, bool with_texts, mobiedit_edit_result *result,
                             mobiedit_error *err) {
    const me_job_ledger hooks = {.prepare = prepare, .write = write_joint, .keep = keep, .user = r};
    const me_job job = {.request = &r->request,
                        .options = r->options,
                        .output = output,
                        .work_path = r->ledger->path,
                        .ledger = &hooks,
                        .with_texts = with_texts};
    mobiedit_status status = me_job_run(r->ledger->model, &job, result, err);
    if (status == MOBIEDIT_OK && result->solve.stop == MOBIEDIT_STOP_ALREADY_SAID)
        status = supersede_only(r, err);
    return status;
}

static mobiedit_status begin(recording *r, const mobiedit_request *request, int64_t *known,
                             mobiedit_error *err) {
    ME_TRY(me_check_text(request->prompt, "the prompt", err));
    ME_TRY(me_check_text(request->target, "the target", err));
    ME_TRY(me_prompt_parse(request, &r->prompt, err));
    r->canonical = me_prompt_canonical(&r->prompt);
    if (!r->canonical) return me_fail_memory(err, "the prompt");
    r->request = *request;
    r->request.prompt = r->canonical;
    ME_TRY(me_ledger_find(r->ledger->store, r->canonical, NULL, &r->superseded, err));
    ME_TRY(me_ledger_find(r->ledger->store, r->canonical, r->prompt.target, known, err));
    if (*known != r->superseded) *known = 0; /* it is there, but not active */
    return MOBIEDIT_OK;
}

mobiedit_status me_record_edit(mobiedit_ledger *ledger, const me_record_request *ask,
                               mobiedit_edit_result *result, mobiedit_change *change, mobiedit_error *err) {
    *result = (mobiedit_edit_result){.joules = NAN};
    *change = (mobiedit_change){0};
    recording r = {.ledger = ledger,
                   .options = ask->options,
                   .alone = ask->alone,
                   .started = me_wall_seconds(),
                   .change = change};
    int64_t known = 0;
    mobiedit_status status = begin(&r, ask->request, &known, err);
    if (status == MOBIEDIT_OK)
        status = known ? report_known(&r, known, result, err)
                       : solve(&r, ask->output, ask->with_texts, result, err);
    me_active_close(&r.active);
    me_free(r.offset);
    me_free(r.canonical);
    me_prompt_free(&r.prompt);
    return status;
}

/* Where no adapter was made on the way, the file still is that of all active edits. */
static mobiedit_status export_rest(mobiedit_ledger *ledger, const char *output, mobiedit_error *err) {
    mobiedit_error why = {0};
    const mobiedit_status status = mobiedit_ledger_export(ledger, output, &why);
    if (status == MOBIEDIT_OK || status == MOBIEDIT_E_ARGUMENT) return MOBIEDIT_OK; /* none is active */
    return me_fail(err, status, "%s", why.message);
}

mobiedit_status mobiedit_ledger_edit(mobiedit_ledger *ledger, const mobiedit_request *request,
                                     const mobiedit_edit_options *options, const char *output,
                                     mobiedit_edit_result *result, mobiedit_change *change,
                                     mobiedit_error *err) {
    const mobiedit_edit_options defaults = {0};
    const me_record_request ask = {
        .request = request, .options = options ? options : &defaults, .output = output, .with_texts = true};
    const mobiedit_status status = me_record_edit(ledger, &ask, result, change, err);
    if (status == MOBIEDIT_OK && output &&
        (change->known || result->solve.stop == MOBIEDIT_STOP_ALREADY_SAID))
        return export_rest(ledger, output, err);
    return status;
}
