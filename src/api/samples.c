/* Collects the inputs that a merged matrix is judged on, by running facts and background text. */
#include "api/samples.h"

#include "base/memory.h"
#include "edit/key.h"
#include "edit/session.h"
#include "edit/texts.h"
#include "store/fold.h"

#include <cblas.h>
#include <math.h>

/* ---- what is read ------------------------------------------------------------------------------------ */

/* So many of the background texts say what a matrix meets: time and memory of a fold go with its samples. */
enum { MOST_TEXTS = 24 };

/* Background texts, every token of them, then the facts, at their subjects and where the answer begins. */
typedef struct {
    me_sequences sequences;
    size_t n_background, n; /* positions read: of the background, of all */
} sample_texts;

static size_t count_reads(const me_sequences *sequences) {
    size_t n = 0;
    for (int i = 0; i < sequences->n; i++)
        n += (size_t)sequences->items[i].n_read;
    return n;
}

/* Both places that an edit may be at: an adapter does not say which. */
static mobiedit_status add_fact(const me_session *session, me_prompt fact, me_sequences *out,
                                mobiedit_error *err) {
    for (int i = 0; i < 2; i++) {
        fact.at_answer = i > 0;
        ME_TRY(me_session_add_prompt(session, &fact, NULL, out, err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status add_texts(const me_session *session, const me_prompt *facts, size_t n_facts,
                                 sample_texts *out, mobiedit_error *err) {
    const size_t n_texts = me_texts_count(me_texts_background);
    ME_TRY(me_sequences_add_texts(&out->sequences, session->vocab, me_texts_background,
                                  n_texts < MOST_TEXTS ? n_texts : MOST_TEXTS, err));
    out->n_background = count_reads(&out->sequences);
    for (size_t i = 0; i < n_facts && out->n_background + 2 * i + 1 < ME_SAMPLES_MAX; i++)
        ME_TRY(add_fact(session, facts[i], &out->sequences, err));
    out->n = count_reads(&out->sequences);
    return MOBIEDIT_OK;
}

/* Inputs of the MLP at `layer`, [n][d_model], or with `activations` of its down projection, [n][d_ff]. */
static mobiedit_status run_texts(me_session *session, int layer, const sample_texts *texts, bool activations,
                                 float **out, mobiedit_error *err) {
    me_engine *engine = session->engine;
    const size_t width = (size_t)(activations ? engine->model->d_ff : engine->model->d_model);
    const me_sequences *s = &texts->sequences;
    float *rows = me_calloc(texts->n, width * sizeof *rows);
    if (!rows) return me_fail_memory(err, "the samples");
    const mobiedit_status status = activations
                                       ? engine->ops->activations(engine, layer, s->items, s->n, rows, err)
                                       : engine->ops->keys(engine, layer, s->items, s->n, rows, err);
    if (status == MOBIEDIT_OK)
        *out = rows;
    else
        me_free(rows);
    return status;
}

/* ---- neurons that the adapter changes ---------------------------------------------------------------- */

/* The MLP of a layer with its gate and up projections changed. */
typedef struct {
    const me_model *model;
    const me_sample_place *place;
    size_t n;
    const float *inputs; /* [n][d_model] */
    float *activations;  /* [n][d_ff] */
    float *scratch;      /* all of the following */
    float *row;          /* [d_model] of gate or up */
    float *gate, *up;    /* [n]: a neuron's, before the activation function */
    float *bias[2];      /* [d_ff]: gate's and up's, 0 where there is none */
} changed_mlp;

static bool changed_open(changed_mlp *c) {
    const size_t d = (size_t)c->model->d_model, d_ff = (size_t)c->model->d_ff;
    const me_layer *layer = &c->model->layers[c->place->layer];
    const me_tensor *biases[] = {&layer->gate_b, &layer->up_b};
    c->scratch = me_calloc(d + 2 * c->n + 2 * d_ff, sizeof *c->scratch);
    if (!c->scratch) return false;
    c->row = c->scratch;
    c->gate = c->row + d;
    c->up = c->gate + c->n;
    for (size_t i = 0; i < 2; i++) {
        c->bias[i] = c->up + c->n + i * d_ff;
        if (biases[i]->data) me_tensor_row(biases[i], 0, c->bias[i]);
    }
    return true;
}

/* values [n] = the changed row's products with the inputs, and its bias */
static void project(const changed_mlp *c, me_mlp_matrix matrix, size_t neuron, float *values) {
    const int d = c->model->d_model;
    const me_tensor *tensor = me_mlp_tensor(c->model, c->place->layer, matrix);
    const me_adapter_part *part = matrix == ME_MLP_GATE ? c->place->gate : c->place->up;
    (void)me_edited_row(tensor, part, (int64_t)neuron, c->row);
    const float bias = c->bias[matrix == ME_MLP_UP][neuron];
    for (size_t k = 0; k < c->n; k++)
        values[k] = cblas_sdot(d, c->row, 1, c->inputs + k * (size_t)d, 1) + bias;
}

static bool part_touches(const me_adapter_part *part, size_t row, size_t n_out) {
    for (int r = 0; part && r < part->rank; r++)
        if (part->b[(size_t)r * n_out + row] != 0) return true;
    return false;
}

/* All other neurons' activations stay those that the engine has found. */
static void change_neurons(const changed_mlp *c) {
    const size_t d_ff = (size_t)c->model->d_ff;
    const bool gated = me_has_gate(c->model->activation);
    for (size_t i = 0; i < d_ff; i++) {
        if (!part_touches(c->place->gate, i, d_ff) && !part_touches(c->place->up, i, d_ff)) continue;
        project(c, ME_MLP_UP, i, c->up);
        if (gated) project(c, ME_MLP_GATE, i, c->gate);
        for (size_t k = 0; k < c->n; k++)
            c->activations[k * d_ff + i] = gated ? me_activate(c->model->activation, c->gate[k]) * c->up[k]
                                                 : me_activate(c->model->activation, c->up[k]);
    }
}

static mobiedit_status apply_gate_and_up(me_session *session, const me_sample_place *place,
                                         const sample_texts *texts, float *activations, mobiedit_error *err) {
    changed_mlp c = {
        .model = session->engine->model, .place = place, .n = texts->n, .activations = activations};
    float *inputs = NULL;
    if (!place->gate && !place->up) return MOBIEDIT_OK;
    ME_TRY(run_texts(session, place->layer, texts, false, &inputs, err));
    c.inputs = inputs;
    const bool opened = changed_open(&c);
    if (opened) change_neurons(&c);
    me_free(c.scratch);
    me_free(inputs);
    return opened ? MOBIEDIT_OK : me_fail_memory(err, "the samples");
}

/* ---- samples ----------------------------------------------------------------------------------------- */

/* columns [width][n] = the rows [n][width], scaled by the square roots of their weights */
static void turn_over(const sample_texts *texts, const float *rows, size_t width, float *columns) {
    const float background = 1 / sqrtf((float)texts->n_background);
    for (size_t k = 0; k < texts->n; k++)
        for (size_t i = 0; i < width; i++)
            columns[i * texts->n + k] = (k < texts->n_background ? background : 1) * rows[k * width + i];
}

static mobiedit_status collect(me_session *session, const me_sample_place *place, const sample_texts *texts,
                               float **columns, mobiedit_error *err) {
    const bool down = place->matrix == ME_MLP_DOWN;
    const size_t width = (size_t)me_mlp_tensor(session->engine->model, place->layer, place->matrix)->n_in;
    float *rows = NULL;
    ME_TRY(run_texts(session, place->layer, texts, down, &rows, err));
    mobiedit_status status = down ? apply_gate_and_up(session, place, texts, rows, err) : MOBIEDIT_OK;
    float *turned = status == MOBIEDIT_OK ? me_calloc(texts->n, width * sizeof *turned) : NULL;
    if (turned)
        turn_over(texts, rows, width, turned);
    else if (status == MOBIEDIT_OK)
        status = me_fail_memory(err, "the samples");
    me_free(rows);
    *columns = turned;
    return status;
}

mobiedit_status me_samples_collect(me_session *session, const me_sample_place *place, const me_prompt *facts,
                                   size_t n_facts, float **columns, int *n, mobiedit_error *err) {
    sample_texts texts = {0};
    mobiedit_status status = add_texts(session, facts, n_facts, &texts, err);
    if (status == MOBIEDIT_OK) status = collect(session, place, &texts, columns, err);
    *n = status == MOBIEDIT_OK ? (int)texts.n : 0;
    me_sequences_free(&texts.sequences);
    return status;
}
