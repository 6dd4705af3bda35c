/* Neurons of an MLP that can be spared: those that plain text makes least of. */
#include "edit/session.h"

#include "base/memory.h"
#include "edit/texts.h"

#include <math.h>
#include <stdlib.h>

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

/* used [d_ff]: sum over n tokens of activation^2, times the squared length of the neuron's column; the
 * matrix is read by rows. */
static void weigh_neurons(const me_tensor *down, const float *activations, int n, float *scratch,
                          used_neuron *used) {
    const size_t d_ff = (size_t)down->n_in;
    float *squares = scratch, *row = scratch + d_ff;
    for (int64_t r = 0; r < down->n_out; r++) {
        me_tensor_row(down, r, row);
        for (size_t i = 0; i < d_ff; i++)
            squares[i] += row[i] * row[i];
    }
    for (size_t i = 0; i < d_ff; i++)
        used[i] = (used_neuron){.index = (int)i};
    for (int t = 0; t < n; t++)
        for (size_t i = 0; i < d_ff; i++) {
            const float a = activations[(size_t)t * d_ff + i];
            used[i].use += a * a * squares[i];
        }
    qsort(used, d_ff, sizeof *used, compare_use);
}

/* loudest [n] is scratch */
static float measure_loudness(const float *activations, int n, size_t d_ff, float *loudest) {
    for (int t = 0; t < n; t++) {
        loudest[t] = 0;
        for (size_t i = 0; i < d_ff; i++)
            loudest[t] = fmaxf(loudest[t], fabsf(activations[(size_t)t * d_ff + i]));
    }
    qsort(loudest, (size_t)n, sizeof *loudest, compare_floats);
    return 2 * loudest[n / 2];
}

/* activations [n][d_ff] at the background keys, n of them, which were read from the same texts */
static mobiedit_status background_activations(me_session *s, int layer, const me_key_set *background,
                                              float *activations, mobiedit_error *err) {
    const struct me_engine_ops *ops = s->engine->ops;
    if (ops->activations_at)
        return ops->activations_at(s->engine, layer, background->keys, background->n, activations, err);
    me_sequences texts = {0};
    mobiedit_status status = me_sequences_add_texts(&texts, s->vocab, me_texts_background,
                                                    me_texts_count(me_texts_background), err);
    if (status == MOBIEDIT_OK)
        status = ops->activations(s->engine, layer, texts.items, texts.n, activations, err);
    me_sequences_free(&texts);
    return status;
}

static mobiedit_status find_spare(me_session *s, int layer, const me_key_set *background,
                                  me_spare_neurons *out, mobiedit_error *err) {
    const me_tensor *down = &s->engine->model->layers[layer].down;
    const size_t d_ff = (size_t)down->n_in;
    const int n = background->n;
    float *activations = me_calloc((size_t)n * d_ff, sizeof *activations);
    float *scratch = me_calloc(2 * d_ff + (size_t)n, sizeof *scratch);
    used_neuron *used = me_calloc(d_ff, sizeof *used);
    int *order = me_calloc(d_ff, sizeof *order);
    mobiedit_status status = activations && scratch && used && order
                                 ? background_activations(s, layer, background, activations, err)
                                 : me_fail_memory(err, "the neurons' activations");
    if (status == MOBIEDIT_OK) {
        weigh_neurons(down, activations, n, scratch, used);
        for (size_t i = 0; i < d_ff; i++)
            order[i] = used[i].index;
        const float loudness = measure_loudness(activations, n, d_ff, scratch + 2 * d_ff);
        *out = (me_spare_neurons){.order = order, .loudness = loudness > 0 ? loudness : 1};
        order = NULL;
    }
    me_free(activations);
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
