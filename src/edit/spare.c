/* Neurons of an MLP that can be spared: those that plain text makes least of. */
#include "edit/session.h"

#include "base/memory.h"
#include "edit/texts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    float use;
    int index;
} used_neuron;

static int compare_use(const void *x, const void *y) {
    const used_neuron *a = x, *b = y;
    if (a->use != b->use) return a->use < b->use ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

static int compare_floats(const void *x, const void *y) {
    const float a = *(const float *)x, b = *(const float *)y;
    return (a > b) - (a < b);
}

/* What the neurons of an MLP, or of experts, give to text. */
typedef struct {
    int n, each;        /* tokens, and experts that each goes through; 1 without experts */
    float *activations; /* [n][each][d_ff] */
    int32_t *experts;   /* [n][each]: whose they are */
} sampled_neurons;

/* used [d_ff]: sum over the expert's tokens of activation^2, times the squared length of the neuron's column;
 * of an expert that has none, that length. The matrix is read by rows. */
static void weigh_neurons(const me_tensor *down, const sampled_neurons *text, int expert, float *scratch,
                          used_neuron *used) {
    const size_t d_ff = (size_t)down->n_in, rows = (size_t)text->n * (size_t)text->each;
    float *squares = scratch, *row = scratch + d_ff;
    bool is_seen = false;
    memset(squares, 0, d_ff * sizeof *squares);
    for (int64_t r = 0; r < down->n_out; r++) {
        me_tensor_row(down, r, row);
        for (size_t i = 0; i < d_ff; i++)
            squares[i] += row[i] * row[i];
    }
    for (size_t i = 0; i < d_ff; i++)
        used[i] = (used_neuron){.index = (int)i};
    for (size_t t = 0; t < rows; t++) {
        if (text->experts[t] != expert) continue;
        is_seen = true;
        for (size_t i = 0; i < d_ff; i++) {
            const float a = text->activations[t * d_ff + i];
            used[i].use += a * a * squares[i];
        }
    }
    for (size_t i = 0; i < d_ff && !is_seen; i++)
        used[i].use = squares[i];
    qsort(used, d_ff, sizeof *used, compare_use);
}

/* loudest [n] is scratch */
static float measure_loudness(const sampled_neurons *text, size_t d_ff, float *loudest) {
    const size_t width = (size_t)text->each * d_ff, n = (size_t)text->n;
    for (size_t t = 0; t < n; t++) {
        loudest[t] = 0;
        for (size_t i = 0; i < width; i++)
            loudest[t] = fmaxf(loudest[t], fabsf(text->activations[t * width + i]));
    }
    qsort(loudest, n, sizeof *loudest, compare_floats);
    return 2 * loudest[n / 2];
}

static mobiedit_status run_background(me_session *s, int layer, const sampled_neurons *out,
                                      mobiedit_error *err) {
    const struct me_engine_ops *ops = s->engine->ops;
    me_sequences texts = {0};
    mobiedit_status status = me_sequences_add_texts(&texts, s->vocab, me_texts_background,
                                                    me_texts_count(me_texts_background), err);
    if (status == MOBIEDIT_OK)
        status = s->engine->model->layers[layer].site == ME_SITE_EXPERTS
                     ? ops->expert_activations(s->engine, layer, texts.items, texts.n, out->activations,
                                               out->experts, err)
                     : ops->activations(s->engine, layer, texts.items, texts.n, out->activations, err);
    me_sequences_free(&texts);
    return status;
}

/* What is given at the background keys, out->n of them, which were read from the same texts. Free its arrays,
 * on failure too. */
static mobiedit_status sample_background(me_session *s, int layer, const me_key_set *background,
                                         sampled_neurons *out, mobiedit_error *err) {
    const struct me_engine_ops *ops = s->engine->ops;
    const me_model *model = s->engine->model;
    out->n = background->n;
    out->each = me_mlp_experts_used(model, layer);
    const size_t rows = (size_t)out->n * (size_t)out->each;
    out->activations = me_calloc(rows, (size_t)model->d_ff * sizeof *out->activations);
    out->experts = me_calloc(rows, sizeof *out->experts);
    if (!out->activations || !out->experts) return me_fail_memory(err, "the neurons' activations");
    if (!ops->activations_at) return run_background(s, layer, out, err);
    return ops->activations_at(s->engine, layer, background->keys, background->n, out->activations, err);
}

/* scratch [2 d_ff], used [d_ff] */
static void order_neurons(const me_model *model, int layer, const sampled_neurons *text, float *scratch,
                          used_neuron *used, int *order) {
    const size_t d_ff = (size_t)model->d_ff;
    for (int e = 0; e < me_mlp_experts(model, layer); e++) {
        const me_tensor down = me_expert_matrix(&model->layers[layer].down, e);
        weigh_neurons(&down, text, e, scratch, used);
        for (size_t i = 0; i < d_ff; i++)
            *order++ = used[i].index;
    }
}

static mobiedit_status find_spare(me_session *s, int layer, const me_key_set *background,
                                  me_spare_neurons *out, mobiedit_error *err) {
    const me_model *model = s->engine->model;
    const size_t d_ff = (size_t)model->d_ff;
    sampled_neurons text = {0};
    float *scratch = me_calloc(2 * d_ff + (size_t)background->n, sizeof *scratch);
    used_neuron *used = me_calloc(d_ff, sizeof *used);
    int *order = me_calloc((size_t)me_mlp_experts(model, layer), d_ff * sizeof *order);
    mobiedit_status status = scratch && used && order ? sample_background(s, layer, background, &text, err)
                                                      : me_fail_memory(err, "the neurons' order");
    if (status == MOBIEDIT_OK) {
        order_neurons(model, layer, &text, scratch, used, order);
        const float loudness = measure_loudness(&text, d_ff, scratch + 2 * d_ff);
        *out = (me_spare_neurons){.order = order, .loudness = loudness > 0 ? loudness : 1};
        order = NULL;
    }
    me_free(text.activations);
    me_free(text.experts);
    me_free(scratch);
    me_free(used);
    me_free(order);
    return status;
}

mobiedit_status me_session_spare(me_session *s, int layer, const me_spare_neurons **out,
                                 mobiedit_error *err) {
    me_spare_neurons *spare = &s->spare[layer];
    *out = spare;
    if (spare->order) return MOBIEDIT_OK;
    me_key_set background;
    ME_TRY(me_session_background(s, layer, &background, err));
    return find_spare(s, layer, &background, spare, err);
}
