/* Chooses the layer that edits of a model are made at, by trial edits. */
#include "edit/trials.h"

#include "base/memory.h"
#include "edit/carriers.h"
#include "edit/neuron.h"
#include "edit/problem.h"
#include "edit/session.h"
#include "edit/texts.h"
#include "model/sites.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* Steps between candidates, as a share of the depth. */
enum { STEPS = 12 };
/* Evaluations of a trial at the usual layer: where half of an edit's way is done. Elsewhere as many as pass
 * through the same number of layers. */
enum { EVALUATIONS = 256 };
/* How many standard errors another layer must be better by. */
static const double SURE = 2;

void me_layer_trials_begin(const me_model *model, me_layer_trials *out) {
    const int usual = me_default_layer(model), step = model->n_layer / STEPS > 0 ? model->n_layer / STEPS : 1;
    *out = (me_layer_trials){0};
    for (int i = 0; i < ME_LAYER_CANDIDATES; i++) {
        const int layer = usual + (i - ME_LAYER_CANDIDATES / 2) * step;
        if (layer != usual && (layer < 0 || layer > model->n_layer - 2)) continue;
        if (layer != usual && !me_site_is_there(model, layer)) continue;
        if (layer == usual) out->usual = out->n_layers;
        out->layers[out->n_layers++] = layer;
    }
}

/* ---- one trial --------------------------------------------------------------------------------------- */

/* At least one. */
static size_t budget(const me_model *model, int usual, int layer) {
    return 1 + EVALUATIONS * (size_t)(model->n_layer - 1 - usual) / (size_t)(model->n_layer - 1 - layer);
}

/* delta [d] as the edit's neuron gives it where the MLP reads `key`. */
static void serve(const me_model *model, const me_edit_result *solved, const float *key, float *delta) {
    const int d = model->d_model;
    float t;
    const float share = me_neuron_share_at(model->activation, solved, key, d, &t);
    memcpy(delta, solved->delta, (size_t)d * sizeof *delta);
    cblas_sscal(d, share, delta, 1);
}

static mobiedit_status score(me_problem *problem, const float *delta, float *loss, mobiedit_error *err) {
    me_score found;
    float *hidden = me_calloc((size_t)problem->n_read * (size_t)problem->model->d_model, sizeof *hidden);
    if (!hidden) return me_fail_memory(err, "a hidden vector");
    mobiedit_status status = me_problem_hidden(problem, delta, 1, NULL, 1, hidden, err);
    if (status == MOBIEDIT_OK) status = me_problem_score(problem, hidden, 1, &found, err);
    if (status == MOBIEDIT_OK) *loss = found.nll;
    me_free(hidden);
    return status;
}

/* The loss of the prompt with the edit. */
static mobiedit_status score_served(me_session *s, const me_edit_result *solved, const me_sequences *prompt,
                                    float *loss, mobiedit_error *err) {
    const me_model *model = s->engine->model;
    me_problem *problem = NULL;
    me_key_set key = {0};
    float *delta = me_calloc((size_t)model->d_model, sizeof *delta);
    mobiedit_status status = delta ? me_session_keys_at_subjects(s, solved->solve.layer, prompt, &key, err)
                                   : me_fail_memory(err, "a delta");
    if (status == MOBIEDIT_OK)
        status = me_problem_open(s->engine, solved->solve.layer, prompt->items, 1, NULL,
                                 me_sequence_target(prompt->items), prompt->items->n_read, &problem, err);
    if (status == MOBIEDIT_OK) {
        serve(model, solved, key.keys, delta);
        status = score(problem, delta, loss, err);
    }
    me_problem_close(problem);
    me_free(key.keys);
    me_free(delta);
    return status;
}

static mobiedit_status score_reworded(me_session *s, const mobiedit_request *reworded,
                                      const me_edit_result *solved, float *loss, mobiedit_error *err) {
    me_prompt parsed;
    me_sequences prompt = {0};
    ME_TRY(me_prompt_parse(reworded, &parsed, err));
    mobiedit_status status = me_session_add_prompt(s, &parsed, parsed.target, &prompt, err);
    if (status == MOBIEDIT_OK) status = score_served(s, solved, &prompt, loss, err);
    me_sequences_free(&prompt);
    me_prompt_free(&parsed);
    return status;
}

static mobiedit_status try_fact(me_session *s, const me_trial_fact *fact, int usual, int layer, float *loss,
                                size_t *evaluations, mobiedit_error *err) {
    const mobiedit_request request = {.prompt = fact->prompt, .target = fact->target};
    const mobiedit_request reworded = {.prompt = fact->reworded, .target = fact->target};
    const mobiedit_edit_options options = {
        .fix_layer = true, .layer = layer, .max_evaluations = budget(s->engine->model, usual, layer)};
    me_edit_result solved = {0};
    me_prompt prompt;
    ME_TRY(me_prompt_parse(&request, &prompt, err));
    mobiedit_status status = me_edit_solve(s, &prompt, &request, &options, NULL, 0, &solved, err);
    *evaluations += solved.solve.evaluations;
    /* Not solved within so few evaluations, as many are: the delta there is counts all the same. */
    if (status == MOBIEDIT_OK || status == MOBIEDIT_E_NOT_SOLVED)
        status = score_reworded(s, &reworded, &solved, loss, err);
    /* A vocabulary may cut the fact so that it cannot be edited, at any layer. */
    if (status == MOBIEDIT_E_ARGUMENT) status = MOBIEDIT_OK;
    me_edit_result_free(&solved);
    me_prompt_free(&prompt);
    return status;
}

mobiedit_status me_layer_trials_step(me_session *session, me_layer_trials *t, size_t *evaluations,
                                     mobiedit_error *err) {
    const me_trial_fact *fact = &me_texts_trials[t->n_done / t->n_layers];
    float loss = 0;
    ME_TRY(try_fact(session, fact, t->layers[t->usual], t->layers[t->n_done % t->n_layers], &loss,
                    evaluations, err));
    t->losses[t->n_done++] = loss;
    return MOBIEDIT_OK;
}

/* ---- choosing ---------------------------------------------------------------------------------------- */

double me_layer_trials_loss(const me_layer_trials *t, int candidate) {
    double sum = 0;
    int n = 0;
    for (int i = candidate; i < t->n_done; i += t->n_layers, n++)
        sum += (double)t->losses[i];
    return n ? sum / n : NAN;
}

/* By how many standard errors the candidate's mean loss is below the usual layer's. */
static double advantage(const me_layer_trials *t, int candidate) {
    double sum = 0, squares = 0;
    for (int f = 0; f < ME_TRIAL_FACTS; f++) {
        const float *losses = t->losses + (size_t)f * (size_t)t->n_layers;
        const double gain = (double)losses[t->usual] - (double)losses[candidate];
        sum += gain;
        squares += gain * gain;
    }
    const double mean = sum / ME_TRIAL_FACTS;
    const double variance = (squares / ME_TRIAL_FACTS - mean * mean) / (ME_TRIAL_FACTS - 1);
    return mean / sqrt(fmax(variance, 1e-12));
}

int me_layer_trials_choose(const me_layer_trials *t) {
    int best = t->usual;
    for (int i = 0; i < t->n_layers && t->n_done; i++)
        if (advantage(t, i) > SURE && me_layer_trials_loss(t, i) < me_layer_trials_loss(t, best)) best = i;
    return t->layers[best];
}
