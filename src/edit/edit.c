/* From a request to delta and the keys that its neuron fires at and is silent at. */
#include "edit/edit.h"

#include "base/memory.h"
#include "base/usage.h"
#include "edit/answer_keys.h"
#include "edit/basis.h"
#include "edit/carriers.h"
#include "edit/key.h"
#include "edit/neuron.h"
#include "edit/session.h"
#include "edit/solver.h"
#include "edit/texts.h"
#include "model/sites.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { BASIS_DIRECTIONS = 256, MIN_BACKGROUND = 200 };
/* Where to edit unless told otherwise, as a share of the depth: middle layers are more
 * linear than early ones, and cheaper. With a norm behind the down projection (gemma3) edits
 * leak, the less the earlier they are. */
static const float DEFAULT_DEPTH = 0.45F, DEFAULT_DEPTH_NORMED = 0.2F;
/* And where the answer begins: late, where what is asked of which subject has come together there. */
static const float ANSWER_DEPTH = 0.87F;
/* Least share of delta at the subject, and the most where answers are to be kept. */
static const float LEAST_SHARE = 0.3F, MOST_KEPT = 0.02F;
static const char *const ESSENCE = "{} is a";

/* ---- one edit ---------------------------------------------------------------------------------------- */

typedef struct {
    me_session *session;
    me_prompt prompt; /* settled */
    const mobiedit_request *request;
    const mobiedit_edit_options *options;
    const float *offset;
    const me_solver *solver;
    char *subject;
    size_t core; /* bytes of the subject up to the edited token's end */
    me_sequences carriers;
    me_sequences redrawn;
    int next_prefix;
    me_problem *problem;
    me_progress progress;
    me_edit_result *result;
} edit;

/* The nearest layer that can be edited. */
static int editable(const me_model *model, int layer) {
    if (layer > model->n_layer - 2) layer = model->n_layer - 2;
    return me_site_near(model, layer < 0 ? 0 : layer);
}

int me_default_layer(const me_model *model) {
    const float depth = model->layers[0].post_ffn_norm.data ? DEFAULT_DEPTH_NORMED : DEFAULT_DEPTH;
    return editable(model, (int)(depth * (float)model->n_layer));
}

bool me_edits_at_answer(const mobiedit_edit_options *options, int n) {
    static const mobiedit_edit_options defaults = {0};
    if (!options) options = &defaults;
    if (options->place && strcmp(options->place, "auto") != 0) return strcmp(options->place, "answer") == 0;
    const me_solver *solver = me_solver_of(options); /* NULL: there is none of that name */
    return n <= MOBIEDIT_MOST_AT_ANSWER && !options->fix_layer && solver && solver->rewords;
}

int me_answer_layer(const me_model *model) {
    return editable(model, (int)lroundf(ANSWER_DEPTH * (float)model->n_layer));
}

int me_usual_layer(const me_session *session, bool at_answer) {
    const me_model *model = session->engine->model;
    if (at_answer) return me_answer_layer(model);
    return session->calibration ? session->calibration->layer : me_default_layer(model);
}

int me_fixed_layer(const mobiedit_edit_options *options) {
    return options->fix_layer ? options->layer : -1;
}

mobiedit_edit_options me_fix_layer(const mobiedit_edit_options *options, int layer) {
    mobiedit_edit_options fixed = *options;
    fixed.fix_layer = layer >= 0;
    fixed.layer = layer >= 0 ? layer : 0;
    return fixed;
}

const struct mobiedit_edit_advanced *me_edit_advanced(const mobiedit_edit_options *options) {
    static const struct mobiedit_edit_advanced defaults = {0};
    return options->advanced ? options->advanced : &defaults;
}

static int choose_layer(const edit *e, int attempt) {
    if (e->options->fix_layer) return e->options->layer;
    const me_model *model = e->session->engine->model;
    const int layer = me_usual_layer(e->session, e->prompt.at_answer), some = model->n_layer / 6;
    if (attempt == 0) return layer;
    /* At the answer a long target needs more layers above. */
    if (e->prompt.at_answer) return editable(model, layer - attempt * some / 2);
    /* Facts that resist at one layer often give way at another: later ones first, for they are cheaper. */
    return editable(model, attempt == 1 ? layer + some : layer - some);
}

static mobiedit_status make_carriers(const edit *e, me_sequences *out, mobiedit_error *err) {
    const me_carrier_options options = {
        .n_prefixed = ME_PREFIXED_CARRIERS, .first_prefix = e->next_prefix, .reworded = e->solver->rewords};
    return me_carriers_make(e->session->vocab, &e->prompt, e->core, &options, out, err);
}

static mobiedit_status redraw_carriers(void *source, const me_sequence **out, mobiedit_error *err) {
    edit *e = source;
    me_sequences_free(&e->redrawn);
    e->next_prefix += ME_PREFIXED_CARRIERS;
    ME_TRY(make_carriers(e, &e->redrawn, err));
    /* Where fewer prefixes fit the target's tokens than at first, the first carriers stay. */
    *out = e->redrawn.n >= e->problem->n_carriers ? e->redrawn.items : e->carriers.items;
    return MOBIEDIT_OK;
}

static mobiedit_status open_problem(edit *e, mobiedit_error *err) {
    me_session *s = e->session;
    e->subject =
        me_strndup(e->prompt.text + e->prompt.subject_begin, e->prompt.subject_end - e->prompt.subject_begin);
    if (!e->subject) return me_fail_memory(err, "the subject");
    ME_TRY(me_subject_core(s->vocab, &e->prompt, &e->core, err));
    ME_TRY(make_carriers(e, &e->carriers, err));
    const int n_target = e->carriers.items->n_read;
    if (e->prompt.at_answer && e->solver->rewords) ME_TRY(me_session_go_on(s, ME_BEHIND, &e->carriers, err));
    me_sequences essence = {0};
    const me_context context = {.context = ESSENCE, .subject = e->subject, .core = e->core};
    mobiedit_status status = me_sequences_add(&essence, s->vocab, &context, err);
    if (status == MOBIEDIT_OK) {
        essence.items[0].read_pos = essence.items[0].n_tokens - 1;
        status =
            me_problem_open(s->engine, e->result->solve.layer, e->carriers.items, e->carriers.n,
                            essence.items, me_sequence_target(e->carriers.items), n_target, &e->problem, err);
    }
    me_sequences_free(&essence);
    ME_TRY(status);
    e->problem->evaluations = e->result->solve.evaluations;
    e->problem->token_passes = e->result->solve.token_passes;
    /* The user's budget is for all attempts; the solver's own is for each. */
    e->problem->max_evaluations = e->options->max_evaluations
                                      ? e->options->max_evaluations
                                      : e->result->solve.evaluations + e->solver->default_evaluations;
    e->problem->n_own = e->carriers.n_own;
    e->problem->kinds = e->carriers.kinds;
    e->problem->progress = &e->progress;
    e->problem->redraw = redraw_carriers;
    e->problem->source = e;
    return e->offset ? me_problem_set_offset(e->problem, e->offset, err) : MOBIEDIT_OK;
}

static mobiedit_status find_basis(const edit *e, me_basis *out, mobiedit_error *err) {
    const me_calibration *calibration = e->session->calibration;
    const int d = e->problem->model->d_model, n = BASIS_DIRECTIONS < d ? BASIS_DIRECTIONS : d;
    if (!e->solver->needs_basis) return MOBIEDIT_OK;
    return me_edit_advanced(e->options)->without & MOBIEDIT_WITHOUT_BASIS
               ? me_basis_draw(e->problem, calibration, n, e->options->seed, out, err)
               : me_basis_find(e->problem, calibration, n, out, err);
}

static mobiedit_status solve_value(edit *e, int attempt, mobiedit_error *err) {
    me_basis basis = {0};
    ME_TRY(find_basis(e, &basis, err));
    const me_solver_input input = {.seed = e->options->seed,
                                   .margin = (float)(attempt + 1),
                                   .basis = basis.directions,
                                   .n_basis = basis.n,
                                   .guesses = basis.guesses,
                                   .probe_step = me_edit_advanced(e->options)->probe_step,
                                   .no_stop = me_edit_advanced(e->options)->without & MOBIEDIT_WITHOUT_STOP};
    me_solution solution = {.delta = e->result->delta};
    e->progress.state.stage = MOBIEDIT_STAGE_SOLVE;
    mobiedit_status status = e->solver->solve(e->problem, &input, &solution, err);
    me_basis_free(&basis);
    ME_TRY(status);
    static const mobiedit_stop stops[] = {[ME_STOP_SOLVED] = MOBIEDIT_STOP_SOLVED,
                                          [ME_STOP_NO_PROGRESS] = MOBIEDIT_STOP_NO_PROGRESS,
                                          [ME_STOP_BUDGET] = MOBIEDIT_STOP_BUDGET};
    e->result->solve.stop = stops[solution.stop];
    e->result->solve.rounds = solution.rounds;
    e->result->solve.loss = solution.loss;
    return MOBIEDIT_OK;
}

/* ---- key --------------------------------------------------------------------------------------------- */

typedef struct {
    me_key_set positives, names, near_names, own, keep;
    me_answer_keys answer;
} edit_keys;

static void edit_keys_free(edit_keys *k) {
    me_free(k->positives.keys);
    me_free(k->names.keys);
    me_free(k->near_names.keys);
    me_free(k->own.keys);
    me_free(k->keep.keys);
    me_answer_keys_free(&k->answer);
}

static mobiedit_status add_neutral(const me_session *s, const char *subject, size_t core, me_sequences *out,
                                   mobiedit_error *err) {
    for (int i = 0; me_texts_neutral[i]; i++) {
        const me_context context = {
            .context = me_texts_neutral[i], .subject = subject, .core = core, .in_sentence = true};
        ME_TRY(me_sequences_add(out, s->vocab, &context, err));
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_edit_subject_keys(me_session *s, const me_prompt *prompt, int layer, float **keys, int *n,
                                     mobiedit_error *err) {
    me_prompt settled;
    size_t core;
    me_sequences all = {0};
    me_key_set found = {0};
    const me_carrier_options options = {.n_prefixed = ME_PREFIXED_CARRIERS, .reworded = true, .all = true};
    ME_TRY(me_prompt_settle(s->vocab, prompt, &settled, err));
    ME_TRY(me_subject_core(s->vocab, &settled, &core, err));
    char *subject =
        me_strndup(settled.text + settled.subject_begin, settled.subject_end - settled.subject_begin);
    mobiedit_status status = subject ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
    if (status == MOBIEDIT_OK) status = me_carriers_make(s->vocab, &settled, core, &options, &all, err);
    if (status == MOBIEDIT_OK && !prompt->at_answer) status = add_neutral(s, subject, core, &all, err);
    if (status == MOBIEDIT_OK) status = me_session_keys_at_subjects(s, layer, &all, &found, err);
    me_sequences_free(&all);
    me_free(subject);
    *keys = found.keys;
    *n = found.n;
    return status;
}

static bool is_subject(const void *subject, const char *name) {
    return me_names_overlap(subject, name);
}

/* Other subjects in the same prompt: what tells the subject from its neighbours. */
static mobiedit_status name_keys(edit *e, me_key_set *out, mobiedit_error *err) {
    const me_name_choice all = {.step = 1, .skips = is_subject, .user = e->subject};
    return me_session_names(e->session, e->result->solve.layer, &e->prompt, &all, out, err);
}

static mobiedit_status near_name_keys(edit *e, me_key_set *out, mobiedit_error *err) {
    const me_name_choice all = {.step = 1};
    return me_session_near_names(e->session, e->result->solve.layer, &e->prompt, &all, out, err);
}

/* What an edit at the answer is told apart from beside these. */
static mobiedit_status answer_keys(edit *e, edit_keys *k, mobiedit_error *err) {
    const int layer = e->result->solve.layer;
    const me_text_choice all = {.step = 1};
    const me_name_choice some = {.step = ME_KEY_ASKED_STEP, .skips = is_subject, .user = e->subject};
    const me_answer_choice choice = {.others = &all, .names = &some, .carriers = &e->carriers};
    return me_answer_keys_read(e->session, layer, &e->prompt, &choice, &k->answer, err);
}

/* How much of delta the neuron gives to a key [d], and what left answers to it. */
static float share_at(const edit *e, const float *key, float *t) {
    const me_model *model = e->problem->model;
    return me_neuron_share_at(model->activation, e->result, key, model->d_model, t);
}

/* Whether the neuron is silent where answers are to be kept. */
static mobiedit_status check_kept(const edit *e, const me_key_set *keep, mobiedit_error *err) {
    const int d = e->problem->model->d_model;
    for (int i = 0; i < keep->n; i++) {
        float t;
        if (fabsf(share_at(e, keep->keys + (size_t)i * (size_t)d, &t)) > MOST_KEPT)
            return me_fail(err, MOBIEDIT_E_NOT_SOLVED,
                           "the subject cannot be told apart from a prompt to keep (response %.2f)",
                           (double)t);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status solve_left(edit *e, const edit_keys *k, const me_key_set *background,
                                  const me_key_set *generated, mobiedit_error *err) {
    const int d = e->problem->model->d_model;
    const me_key_weights weights = me_key_weights_of(e->prompt.at_answer);
    me_key_group groups[11] = {
        {.keys = k->positives.keys, .n = k->positives.n, .target = 1, .weight = weights.own},
        {.keys = k->names.keys, .n = k->names.n, .weight = weights.names},
        {.keys = background->keys, .n = background->n, .weight = ME_KEY_TEXT_WEIGHT}};
    int n = 3;
    /* The prompt's own key must not give way where names of its kind stand against it. */
    groups[n++] = (me_key_group){.keys = k->positives.keys, .n = 1, .target = 1, .weight = ME_KEY_OWN_WEIGHT};
    if (k->near_names.n)
        groups[n++] = (me_key_group){
            .keys = k->near_names.keys, .n = k->near_names.n, .weight = ME_KEY_NEAR_NAMES_WEIGHT};
    if (generated->n)
        groups[n++] =
            (me_key_group){.keys = generated->keys, .n = generated->n, .weight = ME_KEY_TEXT_WEIGHT};
    if (k->own.n) groups[n++] = (me_key_group){.keys = k->own.keys, .n = k->own.n, .weight = 1};
    if (k->answer.others.n)
        groups[n++] = (me_key_group){
            .keys = k->answer.others.keys, .n = k->answer.others.n, .weight = ME_KEY_OTHERS_WEIGHT};
    if (k->answer.asked.n)
        groups[n++] = (me_key_group){
            .keys = k->answer.asked.keys, .n = k->answer.asked.n, .weight = ME_KEY_ASKED_WEIGHT};
    if (k->answer.said.n)
        groups[n++] =
            (me_key_group){.keys = k->answer.said.keys, .n = k->answer.said.n, .weight = ME_KEY_SAID_WEIGHT};
    /* Each token counts as much as all that is known of the subject. */
    if (k->keep.n)
        groups[n++] = (me_key_group){.keys = k->keep.keys, .n = k->keep.n, .weight = (float)k->keep.n};
    int total = 0;
    for (int i = 0; i < n; i++)
        total += groups[i].n;
    /* Where the vocabulary cuts text into many tokens, background gives way, but not all of it. */
    for (; total > ME_KEY_MAX && groups[2].n > MIN_BACKGROUND; total--)
        groups[2].n--;
    if (total > ME_KEY_MAX)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the prompts to keep have too many tokens: %d samples, at most %d", total, ME_KEY_MAX);
    ME_TRY(me_key_constant(groups, n, d, ME_KEY_LAMBDA, e->result->constant, err));
    if (me_edit_advanced(e->options)->without & MOBIEDIT_WITHOUT_CONTRAST)
        return me_key_mean(&groups[0], d, e->result->left, err);
    ME_TRY(me_key_solve(groups, n, d, ME_KEY_LAMBDA, e->result->left, err));
    return check_kept(e, &k->keep, err);
}

static mobiedit_status solve_key(edit *e, mobiedit_error *err) {
    edit_keys k = {0};
    me_key_set background = {0}, generated = {0};
    e->progress.state.stage = MOBIEDIT_STAGE_KEY;
    mobiedit_status status = me_progress_tell(&e->progress, err);
    if (status == MOBIEDIT_OK)
        status = me_session_background(e->session, e->result->solve.layer, &background, err);
    if (status == MOBIEDIT_OK && e->prompt.at_answer)
        status = me_session_generated(e->session, e->result->solve.layer, &generated, err);
    if (status == MOBIEDIT_OK)
        status = me_edit_subject_keys(e->session, &e->prompt, e->result->solve.layer, &k.positives.keys,
                                      &k.positives.n, err);
    if (status == MOBIEDIT_OK) status = name_keys(e, &k.names, err);
    if (status == MOBIEDIT_OK) status = near_name_keys(e, &k.near_names, err);
    if (status == MOBIEDIT_OK && e->prompt.at_answer) status = answer_keys(e, &k, err);
    /* The prompt's own tokens, and those of the prompts that must not change. */
    if (status == MOBIEDIT_OK)
        status =
            me_session_keys_around(e->session, e->result->solve.layer, e->carriers.items, 1, &k.own, err);
    if (status == MOBIEDIT_OK)
        status = me_session_text_keys(e->session, e->result->solve.layer, e->request->keep,
                                      e->request->n_keep, &k.keep, err);
    if (status == MOBIEDIT_OK) status = solve_left(e, &k, &background, &generated, err);
    if (status == MOBIEDIT_OK) {
        e->result->keys = k.positives.keys;
        e->result->n_keys = k.positives.n;
        k.positives.keys = NULL;
    }
    edit_keys_free(&k);
    return status;
}

/* ---- strength ---------------------------------------------------------------------------------------- */

/* `by` times what the edit's neuron adds at the subject of the bare prompt. delta [d] and hidden
 * [n_read][d] are scratch. */
static mobiedit_status score_served(edit *e, float by, float *delta, float *hidden, me_score *score,
                                    mobiedit_error *err) {
    const int d = e->problem->model->d_model, bare = 0;
    memcpy(delta, e->result->delta, (size_t)d * sizeof *delta);
    cblas_sscal(d, by, delta, 1);
    ME_TRY(me_problem_hidden(e->problem, delta, 1, &bare, 1, hidden, err));
    return me_problem_score(e->problem, hidden, 1, score, err);
}

/* How much of delta the bare prompt gets. */
static mobiedit_status find_share(const edit *e, float *share, mobiedit_error *err) {
    float t;
    *share = share_at(e, e->result->keys, &t);
    if (*share >= LEAST_SHARE && isfinite(*share)) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_NOT_SOLVED,
                   "the subject cannot be told apart from what must stay (response %.2f)", (double)t);
}

/* What the neuron gives to the bare prompt is not exactly delta: where that costs the answer, a longer delta
 * makes up for it. Takes the first length that says the target with margin, else the one with the largest
 * margin; E_NOT_SOLVED where that does not say it either. */
static mobiedit_status set_strength(edit *e, int attempt, mobiedit_error *err) {
    static const float strengths[] = {1.0F, 1.15F, 1.3F, 1.5F, 1.75F, 2.0F};
    const size_t d = (size_t)e->problem->model->d_model;
    float share, best = 1;
    ME_TRY(find_share(e, &share, err));
    float *delta = me_calloc((1 + (size_t)e->problem->n_read) * d, sizeof *delta);
    if (!delta) return me_fail_memory(err, "a delta");
    me_score score, best_score = {.margin = -INFINITY};
    mobiedit_status status = MOBIEDIT_OK;
    for (size_t i = 0; i < sizeof strengths / sizeof strengths[0] && status == MOBIEDIT_OK; i++) {
        status = score_served(e, strengths[i] * share, delta, delta + d, &score, err);
        if (status != MOBIEDIT_OK || !(score.margin > best_score.margin)) continue;
        best = strengths[i];
        best_score = score;
        if (score.says && score.margin >= (float)(attempt + 1)) break;
    }
    cblas_sscal((int)d, best, e->result->delta, 1);
    me_free(delta);
    if (status == MOBIEDIT_OK && !best_score.says)
        status = me_fail(err, MOBIEDIT_E_NOT_SOLVED,
                         "no delta makes the model say the target (%s after %zu evaluations, loss %.2f)",
                         mobiedit_stop_name(e->result->solve.stop), e->problem->evaluations,
                         (double)e->result->solve.loss);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

/* Up to the search. */
static mobiedit_status begin(edit *e, const me_prompt *prompt, int attempt, mobiedit_error *err) {
    const me_model *model = e->session->engine->model;
    me_edit_result *r = e->result;
    ME_TRY(me_prompt_settle(e->session->vocab, prompt, &e->prompt, err));
    r->solve.at_answer = e->prompt.at_answer;
    r->solve.layer = choose_layer(e, attempt);
    if (r->solve.layer >= model->n_layer - 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "layer %d cannot be edited: it is the last, and layers 0 to %d can be", r->solve.layer,
                       model->n_layer - 2);
    r->left = me_calloc((size_t)model->d_model, sizeof *r->left);
    r->constant = me_calloc((size_t)model->d_model, sizeof *r->constant);
    r->delta = me_calloc((size_t)model->d_model, sizeof *r->delta);
    if (!r->left || !r->constant || !r->delta) return me_fail_memory(err, "the edit");
    e->progress.state.stage = MOBIEDIT_STAGE_PREPARE;
    e->progress.state.layer = r->solve.layer;
    e->progress.state.loss = NAN;
    ME_TRY(me_progress_tell(&e->progress, err));
    return open_problem(e, err);
}

static mobiedit_status run(edit *e, const me_prompt *prompt, int attempt, mobiedit_error *err) {
    ME_TRY(begin(e, prompt, attempt, err));
    ME_TRY(solve_value(e, attempt, err));
    ME_TRY(solve_key(e, err));
    return set_strength(e, attempt, err);
}

static void end(edit *e) {
    me_problem_close(e->problem);
    me_sequences_free(&e->carriers);
    me_sequences_free(&e->redrawn);
    me_free(e->subject);
}

static void drop_vectors(me_edit_result *result) {
    me_free(result->left);
    me_free(result->constant);
    me_free(result->delta);
    me_free(result->keys);
    result->left = result->constant = result->delta = result->keys = NULL;
}

mobiedit_status me_edit_solve(me_session *session, const me_prompt *prompt, const mobiedit_request *request,
                              const mobiedit_edit_options *options, const float *offset, int attempt,
                              me_edit_result *result, mobiedit_error *err) {
    const me_solver *solver = me_solver_of(options);
    if (!solver)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no solver named \"%.60s\"", options->solver);
    drop_vectors(result);
    result->solve.solver = solver->name;
    result->solve.seed = options->seed;
    edit e = {.session = session,
              .request = request,
              .options = options,
              .offset = offset,
              .solver = solver,
              .result = result,
              .progress = {.on_progress = options->on_progress,
                           .user = options->user,
                           .started = me_wall_seconds(),
                           .trace = result->trace,
                           .n_trace = result->n_trace,
                           .trace_capacity = result->n_trace}};
    mobiedit_status status = run(&e, prompt, attempt, err);
    if (e.problem) {
        result->solve.evaluations = e.problem->evaluations;
        result->solve.token_passes = e.problem->token_passes;
        if (result->delta)
            result->solve.delta_ratio =
                cblas_snrm2(e.problem->model->d_model, result->delta, 1) / e.problem->value_norm;
    }
    result->trace = e.progress.trace;
    result->n_trace = e.progress.n_trace;
    end(&e);
    return status;
}

/* As many deltas as a round of the probe solver tries at once, on all carriers; what they are does not matter. */
static mobiedit_status time_evaluation(const edit *e, double *seconds, mobiedit_error *err) {
    enum { DELTAS = 16 };
    const size_t d = (size_t)e->problem->model->d_model, rows = (size_t)(DELTAS * e->problem->n_carriers);
    float *deltas = me_calloc(DELTAS, d * sizeof *deltas);
    float *hidden = me_calloc(rows * (size_t)e->problem->n_read, d * sizeof *hidden);
    me_score *scores = me_calloc(rows, sizeof *scores);
    mobiedit_status status = deltas && hidden && scores ? MOBIEDIT_OK : me_fail_memory(err, "deltas");
    const double started = me_wall_seconds();
    if (status == MOBIEDIT_OK) status = me_problem_hidden(e->problem, deltas, DELTAS, NULL, 0, hidden, err);
    if (status == MOBIEDIT_OK) status = me_problem_score(e->problem, hidden, (int)rows, scores, err);
    *seconds = (me_wall_seconds() - started) / (double)rows;
    me_free(deltas);
    me_free(hidden);
    me_free(scores);
    return status;
}

static mobiedit_status time_parts(edit *e, const me_prompt *prompt, me_edit_seconds *out,
                                  mobiedit_error *err) {
    const double started = me_wall_seconds();
    me_basis basis = {0};
    ME_TRY(begin(e, prompt, 0, err));
    ME_TRY(find_basis(e, &basis, err));
    me_basis_free(&basis);
    const double begun = me_wall_seconds();
    ME_TRY(time_evaluation(e, &out->evaluation, err));
    const double searched = me_wall_seconds();
    mobiedit_error why = {0};
    const mobiedit_status status = solve_key(e, &why); /* that there is no key takes as long to see */
    if (status != MOBIEDIT_OK && status != MOBIEDIT_E_NOT_SOLVED)
        return me_fail(err, status, "%s", why.message);
    out->fixed = begun - started + me_wall_seconds() - searched;
    return MOBIEDIT_OK;
}

mobiedit_status me_edit_time(me_session *session, const me_prompt *prompt, const mobiedit_request *request,
                             const mobiedit_edit_options *options, me_edit_seconds *out,
                             mobiedit_error *err) {
    me_edit_result result = {0};
    edit e = {.session = session,
              .request = request,
              .options = options,
              .solver = me_solver_of(options),
              .result = &result,
              .progress = {
                  .on_progress = options->on_progress, .user = options->user, .started = me_wall_seconds()}};
    const mobiedit_status status = time_parts(&e, prompt, out, err);
    result.trace = e.progress.trace;
    end(&e);
    me_edit_result_free(&result);
    return status;
}

void me_edit_result_free(me_edit_result *result) {
    drop_vectors(result);
    me_free(result->trace);
    *result = (me_edit_result){0};
}
