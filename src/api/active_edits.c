/* The active edits of a ledger: read, solved together, written as one adapter, checked, repaired. */
#include "api/active_edits.h"

#include "api/asides.h"
#include "api/neuron_adapter.h"
#include "api/target.h"
#include "base/memory.h"
#include "base/usage.h"
#include "edit/question.h"
#include "edit/session.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* How much more margin a delta is asked for that was lost among others. */
enum { ATTEMPT_ANEW = 1 };

bool me_is_said_record(const me_record *record) {
    return record->about.solve.stop == MOBIEDIT_STOP_ALREADY_SAID;
}

void me_record_fill(me_record *r, const me_edit_result *solved) {
    r->delta = solved->delta;
    r->keys = solved->keys;
    r->n_keys = solved->n_keys;
    const double seconds = r->about.solve.seconds;
    r->about.solve = solved->solve;
    r->about.solve.seconds = seconds;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static mobiedit_request request_of(const mobiedit_record *about) {
    return (mobiedit_request){.prompt = about->prompt,
                              .target = about->target,
                              .keep = about->keep,
                              .n_keep = about->n_keep,
                              .also = about->also,
                              .n_also = about->n_also};
}

static mobiedit_status parse(const me_record *record, me_prompt *out, mobiedit_error *err) {
    const mobiedit_request request = request_of(&record->about);
    mobiedit_error why = {0};
    const mobiedit_status status = me_prompt_parse(&request, out, &why);
    if (status == MOBIEDIT_E_ARGUMENT)
        return me_fail(err, MOBIEDIT_E_FORMAT, "the ledger is damaged: edit %lld: %s",
                       (long long)record->about.id, why.message);
    if (status != MOBIEDIT_OK) return me_fail(err, status, "%s", why.message);
    out->at_answer = record->about.solve.at_answer;
    return MOBIEDIT_OK;
}

/* Whether the record is asked for; a record's own prompt is parsed to tell its subject. */
static mobiedit_status is_chosen(const me_record *record, const me_active_choice *choice, bool *chosen,
                                 mobiedit_error *err) {
    *chosen = record->about.id != choice->without;
    if (!*chosen || !choice->subject) return MOBIEDIT_OK;
    me_prompt prompt;
    ME_TRY(parse(record, &prompt, err));
    *chosen = me_same_subject(&prompt, choice->subject);
    me_prompt_free(&prompt);
    return MOBIEDIT_OK;
}

/* Reads one record with its data to the end of `out`. */
static mobiedit_status read_one(mobiedit_ledger *ledger, int64_t id, me_records *out, mobiedit_error *err) {
    const me_record_query query = {.active = true, .id = id, .with_data = true};
    me_records one;
    ME_TRY(me_ledger_read(ledger->store, &query, &one, err));
    if (one.n == 1) {
        out->items[out->n++] = one.items[0];
        one.n = 0;
    }
    me_records_free(&one);
    return MOBIEDIT_OK;
}

static mobiedit_status read_chosen(mobiedit_ledger *ledger, const me_active_choice *choice, me_records *out,
                                   mobiedit_error *err) {
    const me_record_query query = {.active = true};
    me_records all;
    ME_TRY(me_ledger_read(ledger->store, &query, &all, err));
    mobiedit_status status = MOBIEDIT_OK;
    out->items = me_calloc((size_t)all.n, sizeof *out->items);
    if (!out->items) status = me_fail_memory(err, "the edits");
    for (int i = 0; i < all.n && status == MOBIEDIT_OK; i++) {
        bool chosen;
        status = is_chosen(&all.items[i], choice, &chosen, err);
        if (status == MOBIEDIT_OK && chosen) status = read_one(ledger, all.items[i].about.id, out, err);
    }
    me_records_free(&all);
    return status;
}

static void point_at(me_active_edits *active, int i) {
    const me_record *r = &active->records.items[i];
    active->edits[i] = (me_joint_edit){.prompt = &active->prompts[i],
                                       .layer = r->about.solve.layer,
                                       .delta = r->delta,
                                       .keys = r->keys,
                                       .n_keys = r->n_keys,
                                       .keep = r->about.keep,
                                       .n_keep = r->about.n_keep};
}

static mobiedit_status read_active(mobiedit_ledger *ledger, const me_active_choice *choice,
                                   me_active_edits *active, mobiedit_error *err) {
    /* First: what changes meanwhile is then seen as a change. */
    ME_TRY(me_ledger_generation(ledger->store, &active->generation, err));
    ME_TRY(read_chosen(ledger, choice, &active->records, err));
    const size_t n = (size_t)active->records.n;
    active->prompts = me_calloc(n, sizeof *active->prompts);
    active->edits = me_calloc(n + 1, sizeof *active->edits);
    active->solved_anew = me_calloc(n, sizeof *active->solved_anew);
    active->looked_at = me_calloc(n, sizeof *active->looked_at);
    active->prolonged = me_calloc(n, sizeof *active->prolonged);
    if (!active->prompts || !active->edits || !active->solved_anew || !active->looked_at ||
        !active->prolonged)
        return me_fail_memory(err, "the edits");
    for (int i = 0; i < active->records.n; i++) {
        ME_TRY(parse(&active->records.items[i], &active->prompts[i], err));
        ME_TRY(me_request_ask(ledger->model, &active->prompts[i], err));
        point_at(active, i);
        active->looked_at[i] = true;
    }
    active->n_edits = active->records.n;
    return MOBIEDIT_OK;
}

mobiedit_status me_active_open(mobiedit_ledger *ledger, const me_active_choice *choice, me_active_edits *out,
                               mobiedit_error *err) {
    me_active_edits active = {0};
    const mobiedit_status status = read_active(ledger, choice, &active, err);
    if (status == MOBIEDIT_OK)
        *out = active;
    else
        me_active_close(&active);
    return status;
}

mobiedit_status me_active_at_answer(mobiedit_ledger *ledger, const me_prompt *prompt, int *n,
                                    mobiedit_error *err) {
    const me_record_query query = {.active = true};
    me_records all;
    char *own = prompt ? me_prompt_canonical(prompt) : NULL;
    if (prompt && !own) return me_fail_memory(err, "the prompt");
    *n = 0;
    const mobiedit_status status = me_ledger_read(ledger->store, &query, &all, err);
    for (int i = 0; status == MOBIEDIT_OK && i < all.n; i++)
        *n += all.items[i].about.solve.at_answer && !(own && strcmp(all.items[i].about.prompt, own) == 0);
    if (status == MOBIEDIT_OK) me_records_free(&all);
    me_free(own);
    return status;
}

void me_active_close(me_active_edits *active) {
    me_joint_free(&active->joint);
    for (int i = 0; i < active->records.n && active->prompts; i++)
        me_prompt_free(&active->prompts[i]);
    me_records_free(&active->records);
    me_free(active->prompts);
    me_free(active->edits);
    me_free(active->solved_anew);
    me_free(active->looked_at);
    me_free(active->prolonged);
    *active = (me_active_edits){0};
}

/* ---- solving ----------------------------------------------------------------------------------------- */

void me_active_put(me_active_edits *active, const me_joint_edit *edit) {
    active->n_edits = active->records.n;
    if (edit) active->edits[active->n_edits++] = *edit;
}

mobiedit_status me_active_solve(mobiedit_model *model, me_active_edits *active, mobiedit_error *err) {
    me_session *session;
    me_joint joint;
    ME_TRY(me_handle_session(model, &session, err));
    ME_TRY(me_joint_solve(session, active->edits, active->n_edits, &joint, err));
    me_joint_free(&active->joint);
    active->joint = joint;
    /* Known from here on, so that me_active_write needs no engine. */
    const me_spare_neurons *spare;
    for (int i = 0; i < joint.n_layers; i++)
        ME_TRY(me_session_spare(session, joint.layers[i].layer, &spare, err));
    return MOBIEDIT_OK;
}

/* A line for each edit, which mobiedit_merge reads again. Freed with me_free; NULL: out of memory. */
static char *describe(const me_active_edits *active) {
    static const char arrow[] = " -> ";
    size_t size = 1;
    for (int i = 0; i < active->n_edits; i++)
        size += strlen(active->edits[i].prompt->text) + strlen("{}") + sizeof arrow +
                strlen(active->edits[i].prompt->target);
    char *out = me_calloc(size, 1);
    size_t at = 0;
    for (int i = 0; i < active->n_edits && out; i++) {
        char *prompt = me_prompt_canonical(active->edits[i].prompt);
        if (prompt)
            at += (size_t)snprintf(out + at, size - at, "%s%s%s%s", at ? "\n" : "", prompt, arrow,
                                   active->edits[i].prompt->target);
        if (!prompt) {
            me_free(out);
            out = NULL;
        }
        me_free(prompt);
    }
    return out;
}

/* The units that add anything, into `which` [n_units]; how many they are. Facts that the model says by itself
 * take no neuron. */
static int list_units(const me_joint_layer *l, int d, int *which) {
    int n = 0;
    for (int u = 0; u < l->n_units; u++)
        if (cblas_sasum(d, l->delta + (size_t)u * (size_t)d, 1) != 0) which[n++] = u;
    return n;
}

/* These rows of `from` [n_units][d] to `to` [n][d]. */
static void copy_units(const int *which, int n, int d, const float *from, float *to) {
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t)i * (size_t)d, from + (size_t)which[i] * (size_t)d, (size_t)d * sizeof *to);
}

/* The neurons of the units that add anything. */
static mobiedit_status make_neurons(mobiedit_model *model, const me_joint_layer *l, me_neurons *out,
                                    mobiedit_error *err) {
    const int d = model->model->d_model;
    const size_t size = (size_t)l->n_units * (size_t)d;
    int *which = me_calloc((size_t)l->n_units, sizeof *which);
    float *rows = me_calloc(3 * size, sizeof *rows);
    mobiedit_status status = which && rows ? MOBIEDIT_OK : me_fail_memory(err, "the adapter");
    const int n = status == MOBIEDIT_OK ? list_units(l, d, which) : 0;
    if (n > 0) {
        copy_units(which, n, d, l->left, rows);
        copy_units(which, n, d, l->veto, rows + size);
        copy_units(which, n, d, l->delta, rows + 2 * size);
        const me_neuron_plan plan = {.layer = l->layer,
                                     .n = n,
                                     .left = rows,
                                     .veto = rows + size,
                                     .constant = l->constant,
                                     .delta = rows + 2 * size};
        status = me_neurons_make(model->session, &plan, 0, out, err);
    }
    me_free(which);
    me_free(rows);
    return status;
}

mobiedit_status me_active_write(mobiedit_model *model, const me_active_edits *active, const char *path,
                                me_pending_file *out, mobiedit_error *err) {
    me_neurons *layers = me_calloc((size_t)active->joint.n_layers, sizeof *layers);
    const bool described = model->options.describe;
    char *description = described ? describe(active) : NULL;
    const bool is_ready = layers && (description || !described);
    mobiedit_status status = is_ready ? MOBIEDIT_OK : me_fail_memory(err, "the adapter");
    int n = 0;
    for (int i = 0; i < active->joint.n_layers && status == MOBIEDIT_OK; i++) {
        status = make_neurons(model, &active->joint.layers[i], &layers[n], err);
        n += status == MOBIEDIT_OK && layers[n].n > 0;
    }
    if (status == MOBIEDIT_OK)
        status = n > 0 ? me_neuron_adapter_write(model->model, layers, n, description, path, out, err)
                       : me_adapter_write_nothing(model->model, path, out, err);
    for (int i = 0; i < active->joint.n_layers && layers; i++)
        me_neurons_free(&layers[i]);
    me_free(description);
    me_free(layers);
    return status;
}

/* The record takes what was solved over. */
static mobiedit_status take(me_active_edits *active, int i, me_edit_result *solved, mobiedit_error *err) {
    me_record *r = &active->records.items[i];
    char *solver = me_strdup(solved->solve.solver);
    if (!solver) return me_fail_memory(err, "an edit");
    me_free(r->delta);
    me_free(r->keys);
    me_free((void *)r->about.solve.solver);
    me_record_fill(r, solved);
    r->about.solve.solver = solver;
    solved->delta = solved->keys = NULL;
    active->solved_anew[i] = true;
    point_at(active, i);
    return MOBIEDIT_OK;
}

/* Solves the delta of record i anew, all others in place. E_NOT_SOLVED where none is found: it stays. */
static mobiedit_status solve_anew(mobiedit_model *model, me_active_edits *active, int i,
                                  const mobiedit_edit_options *options, mobiedit_error *err) {
    me_session *session;
    ME_TRY(me_handle_session(model, &session, err));
    const mobiedit_edit_options own = me_fix_layer(options, active->records.items[i].about.solve.layer);
    float *offset = me_calloc((size_t)model->model->d_model, sizeof *offset);
    if (!offset) return me_fail_memory(err, "what other edits add");
    me_joint_offset(model->model, &active->joint, active->edits, i, offset);
    const mobiedit_request request = request_of(&active->records.items[i].about);
    me_edit_result solved = {0};
    me_target_view view;
    mobiedit_status status =
        me_prompt_find_opening(session, &active->prompts[i], &solved.solve.evaluations, err);
    if (status == MOBIEDIT_OK) status = me_target_look(model, &active->prompts[i], &view, err);
    if (status == MOBIEDIT_OK) {
        me_prompt prompt = active->prompts[i];
        prompt.teach_follow = view.has_follow && (view.prolonged || active->prolonged[i]);
        prompt.follow = view.follow;
        status = me_edit_solve(session, &prompt, &request, &own, offset, ATTEMPT_ANEW, &solved, err);
    }
    if (status == MOBIEDIT_OK) status = take(active, i, &solved, err);
    me_edit_result_free(&solved);
    me_free(offset);
    return status;
}

void me_active_report(me_active_edits *active, const mobiedit_edit_options *options) {
    active->progress = (me_progress){.on_progress = options->on_progress,
                                     .user = options->user,
                                     .started = me_wall_seconds(),
                                     .state = {.stage = MOBIEDIT_STAGE_VERIFY, .layer = -1, .loss = NAN}};
}

/* Hundreds of edits take minutes: whoever waits can see that, and stop it. */
static mobiedit_status ask_records(me_active_edits *active, me_runtime *runtime, int *n_lost,
                                   mobiedit_error *err) {
    for (int i = 0; i < active->records.n; i++) {
        me_said said;
        if (!active->looked_at[i]) continue;
        ME_TRY(me_progress_tell(&active->progress, err));
        ME_TRY(me_prompt_said(runtime, &active->prompts[i], &said, err));
        active->records.items[i].about.holds = said == ME_SAID_WHOLE;
        active->prolonged[i] = said == ME_SAID_LONGER;
        *n_lost += said != ME_SAID_WHOLE;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status ask_asides(me_active_edits *active, me_runtime *runtime, me_aside *asides, bool edited,
                                  mobiedit_error *err) {
    for (int i = 0; i < active->records.n; i++) {
        ME_TRY(me_progress_tell(&active->progress, err));
        ME_TRY(me_asides_ask(runtime, &asides[i], 1, edited, err));
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_active_look(mobiedit_model *model, me_active_edits *active, const char *adapter,
                               int *n_lost, mobiedit_error *err) {
    me_runtime *runtime;
    mobiedit_error ignored;
    *n_lost = 0;
    if (active->records.n == 0) return MOBIEDIT_OK;
    ME_TRY(me_handle_runtime(model, &runtime, err));
    ME_TRY(me_runtime_set_adapter(runtime, adapter, err));
    const mobiedit_status status = ask_records(active, runtime, n_lost, err);
    if (status == MOBIEDIT_OK) return me_runtime_set_adapter(runtime, NULL, err);
    (void)me_runtime_set_adapter(runtime, NULL, &ignored);
    return status;
}

mobiedit_status me_active_look_aside(mobiedit_ledger *ledger, me_active_edits *active, const char *adapter,
                                     mobiedit_error *err) {
    const int n = active->records.n;
    me_runtime *runtime;
    me_aside *asides = me_calloc((size_t)n, sizeof *asides);
    if (!asides) return me_fail_memory(err, "other things about the subjects");
    for (int i = 0; i < n; i++)
        asides[i] = (me_aside){.prompt = &active->prompts[i],
                               .holds = active->records.items[i].about.holds == 1,
                               .out = &active->records.items[i].about.asides};
    mobiedit_status status = me_handle_runtime(ledger->model, &runtime, err);
    if (status == MOBIEDIT_OK) status = ask_asides(active, runtime, asides, false, err);
    if (status == MOBIEDIT_OK) status = me_runtime_set_adapter(runtime, adapter, err);
    if (status == MOBIEDIT_OK) status = ask_asides(active, runtime, asides, true, err);
    if (status == MOBIEDIT_OK) status = me_runtime_set_adapter(runtime, NULL, err);
    me_free(asides);
    return status;
}

mobiedit_status me_active_try(mobiedit_ledger *ledger, me_active_edits *active, int *n_lost,
                              mobiedit_error *err) {
    me_pending_file pending;
    ME_TRY(me_active_write(ledger->model, active, ledger->path, &pending, err));
    const mobiedit_status status = me_active_look(ledger->model, active, pending.temporary, n_lost, err);
    me_pending_discard(&pending);
    return status;
}

/* ---- repair ------------------------------------------------------------------------------------------ */

/* How long the delta of a lost edit is made, in turn. Among others its key answers a little less to its
 * prompt than by itself, and most of what is lost has lost only its margin. */
static const float LENGTHS[] = {1.2F, 1.45F, 1.75F};

static bool is_lost(const me_active_edits *active, int i) {
    return active->looked_at[i] && active->records.items[i].about.holds == 0;
}

/* lengths [records.n] of those that are looked at: 1 at first, then those that hold with. */
static mobiedit_status find_lengths(mobiedit_ledger *ledger, me_active_edits *active, float *lengths,
                                    mobiedit_error *err) {
    int n_lost = 1;
    for (size_t t = 0; t < sizeof LENGTHS / sizeof *LENGTHS && n_lost; t++) {
        for (int i = 0; i < active->records.n; i++) {
            if (!is_lost(active, i)) continue;
            me_joint_add(ledger->model->model, &active->joint, i, LENGTHS[t] - lengths[i],
                         active->records.items[i].delta);
            lengths[i] = LENGTHS[t];
        }
        ME_TRY(me_active_try(ledger, active, &n_lost, err));
    }
    return MOBIEDIT_OK;
}

static void take_length(me_active_edits *active, int i, const me_model *model, float length) {
    me_record *r = &active->records.items[i];
    cblas_sscal(model->d_model, length, r->delta, 1);
    r->about.solve.delta_ratio *= length;
    active->solved_anew[i] = true;
}

/* Only lost edits are looked at meanwhile. */
static mobiedit_status lengthen(mobiedit_ledger *ledger, me_active_edits *active, mobiedit_error *err) {
    const me_model *model = ledger->model->model;
    const size_t n = (size_t)active->records.n;
    float *lengths = me_calloc(n, sizeof *lengths);
    bool *looked_at = me_calloc(n, sizeof *looked_at);
    mobiedit_status status = lengths && looked_at ? MOBIEDIT_OK : me_fail_memory(err, "the lost edits");
    if (status == MOBIEDIT_OK) {
        memcpy(looked_at, active->looked_at, n * sizeof *looked_at);
        for (int i = 0; i < active->records.n; i++) {
            active->looked_at[i] = is_lost(active, i);
            lengths[i] = 1;
        }
        status = find_lengths(ledger, active, lengths, err);
        for (int i = 0; i < active->records.n; i++)
            if (active->looked_at[i] && is_lost(active, i))
                me_joint_add(model, &active->joint, i, 1 - lengths[i], active->records.items[i].delta);
            else if (active->looked_at[i])
                take_length(active, i, model, lengths[i]);
        memcpy(active->looked_at, looked_at, n * sizeof *looked_at);
    }
    me_free(lengths);
    me_free(looked_at);
    return status;
}

mobiedit_status me_active_repair(mobiedit_ledger *ledger, me_active_edits *active,
                                 const mobiedit_edit_options *options, int most, int *at,
                                 mobiedit_error *err) {
    ME_TRY(lengthen(ledger, active, err));
    const int n = active->records.n, from = *at;
    for (int k = 0, n_anew = 0; k < n && n_anew < most; k++) {
        const int i = (from + k) % n;
        if (!is_lost(active, i)) continue;
        mobiedit_error why = {0};
        const mobiedit_status status = solve_anew(ledger->model, active, i, options, &why);
        if (status != MOBIEDIT_OK && status != MOBIEDIT_E_NOT_SOLVED)
            return me_fail(err, status, "%s", why.message);
        *at = (i + 1) % n;
        n_anew++;
    }
    return MOBIEDIT_OK;
}

/* ---- recording --------------------------------------------------------------------------------------- */

mobiedit_status me_active_record(mobiedit_ledger *ledger, const me_active_edits *active, int *n_anew,
                                 mobiedit_error *err) {
    *n_anew = 0;
    for (int i = 0; i < active->records.n; i++) {
        if (!active->solved_anew[i]) continue;
        ME_TRY(me_ledger_replace(ledger->store, &active->records.items[i], err));
        *n_anew += active->records.items[i].about.holds == 1;
    }
    /* After all replacements: each of them makes what is known of the others void. */
    for (int i = 0; i < active->records.n; i++)
        if (active->looked_at[i])
            ME_TRY(me_ledger_set_holds(ledger->store, active->records.items[i].about.id,
                                       active->records.items[i].about.holds == 1, err));
    return MOBIEDIT_OK;
}
