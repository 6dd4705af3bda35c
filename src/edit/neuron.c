/* Makes neurons of an MLP out of keys and deltas. */
#include "edit/neuron.h"

#include "base/hash.h"
#include "base/memory.h"
#include "edit/session.h"

#include <cblas.h>
#include <string.h>

/* Half of what other text answers lies below .1, hardly any of it above THRESHOLD; subjects in other words
 * answer .7 to 1.1. STEEPNESS: how narrow the passage from silent to firing is. */
static const float THRESHOLD = 0.45F, PEAK = 0.95F, STEEPNESS = 40;
/* Neurons of a layer that edits may take: that many of the least used ones carry some hundredths of the
 * output's square. */
enum { LARGEST_SHARE = 4 };

static float top_square(void) {
    return (PEAK - THRESHOLD) * (PEAK - THRESHOLD);
}

float me_neuron_ceiling(void) {
    return 2 * PEAK - THRESHOLD;
}

float me_neuron_share(me_activation activation, float t, float c, float v) {
    const float open = me_activate(activation, STEEPNESS * (t - THRESHOLD * c)) / STEEPNESS;
    return open * (me_neuron_ceiling() * c - t - v) / top_square();
}

float me_neuron_share_at(me_activation activation, const me_edit_result *solved, const float *key, int d,
                         float *t) {
    *t = cblas_sdot(d, key, 1, solved->left, 1);
    return me_neuron_share(activation, *t, cblas_sdot(d, key, 1, solved->constant, 1), 0);
}

static bool neurons_alloc(me_neurons *n, size_t d) {
    const size_t count = (size_t)n->n;
    n->index = me_calloc(count, sizeof *n->index);
    n->gate = me_calloc(count * d, sizeof *n->gate);
    n->up = me_calloc(count * d, sizeof *n->up);
    n->down = me_calloc(count * d, sizeof *n->down);
    return n->index && n->gate && n->up && n->down;
}

void me_neurons_free(me_neurons *n) {
    me_free(n->index);
    me_free(n->gate);
    me_free(n->up);
    me_free(n->down);
    *n = (me_neurons){0};
}

/* Element i of an optional vector. */
static float bias_at(const me_tensor *bias, int i, float *scratch) {
    if (!bias->data) return 0;
    me_tensor_row(bias, 0, scratch);
    return scratch[i];
}

/* x += by y */
static void add(float *x, float by, const float *y, size_t d) {
    cblas_saxpy((int)d, by, y, 1, x, 1);
}

/* Neuron i: what a bias adds is taken off again through the constant. */
static void fill(me_neurons *n, int i, const me_neuron_plan *plan, const me_layer *layer, float loudness,
                 float *scratch) {
    const size_t d = (size_t)layer->gate.n_in, at = (size_t)i * d;
    const float height = loudness / (STEEPNESS * top_square());
    const float gate_bias = bias_at(&layer->gate_b, n->index[i], scratch);
    const float up_bias = bias_at(&layer->up_b, n->index[i], scratch);
    add(n->gate + at, STEEPNESS, plan->left + at, d);
    add(n->gate + at, -STEEPNESS * THRESHOLD - gate_bias, plan->constant, d);
    add(n->up + at, -height, plan->left + at, d);
    if (plan->veto) add(n->up + at, -height, plan->veto + at, d);
    add(n->up + at, height * me_neuron_ceiling() - up_bias, plan->constant, d);
    add(n->down + at, 1 / loudness, plan->delta + at, d);
}

mobiedit_status me_neurons_make(me_session *session, const me_neuron_plan *plan, int first, me_neurons *out,
                                mobiedit_error *err) {
    const me_model *model = session->engine->model;
    const size_t d = (size_t)model->d_model;
    const int most = model->d_ff / LARGEST_SHARE, layer = plan->layer;
    if (first + plan->n > most)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%d edits at layer %d are too many: it has %d neurons, of which %d may be taken",
                       plan->n, layer, model->d_ff, most);
    const me_spare_neurons *spare;
    ME_TRY(me_session_spare(session, layer, &spare, err));
    me_neurons neurons = {.layer = layer, .n = plan->n};
    float *scratch = me_calloc((size_t)model->d_ff, sizeof *scratch);
    const bool ok = neurons_alloc(&neurons, d) && scratch;
    for (int i = 0; i < plan->n && ok; i++) {
        neurons.index[i] = spare->order[first + i];
        fill(&neurons, i, plan, &model->layers[layer], spare->loudness, scratch);
    }
    me_free(scratch);
    if (ok)
        *out = neurons;
    else
        me_neurons_free(&neurons);
    return ok ? MOBIEDIT_OK : me_fail_memory(err, "the edit's neurons");
}

int me_neuron_of(const me_model *model, const char *prompt) {
    return (int)(me_hash(prompt, strlen(prompt)) % (uint64_t)(model->d_ff / LARGEST_SHARE));
}
