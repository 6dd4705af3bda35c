/* Makes neurons of an MLP out of keys and deltas. */
#include "edit/neuron.h"

#include "base/hash.h"
#include "base/memory.h"
#include "edit/session.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* Half of what other text answers lies below .1, hardly any of it above THRESHOLD; subjects in other words
 * answer .7 to 1.1. STEEPNESS: how narrow the passage from silent to firing is. */
static const float THRESHOLD = 0.45F, PEAK = 0.95F, STEEPNESS = 40;
/* Where a gate's reading is held below a limit, it reaches that at the end of the flat top. */
static const float END = 1.06F;
/* The ramp of neurons without a gate ends at FULL. GELU is no sharp bend: the less steep, the more it gives
 * below THRESHOLD, and less than nothing: at most 3 % of an edit. */
static const float FULL = 0.8F, UNGATED_STEEPNESS = 16, VETO_WEIGHT = 0.5F;
/* Neurons of a layer that edits may take: that many of the least used ones carry some hundredths of the
 * output's square. */
enum { LARGEST_SHARE = 4 };

static float top_square(void) {
    return (PEAK - THRESHOLD) * (PEAK - THRESHOLD);
}

float me_neuron_ceiling(void) {
    return 2 * PEAK - THRESHOLD;
}

/* Of neurons with a gate. */
static float steepness_of(me_activation activation) {
    return fminf(STEEPNESS, me_reading_limit(activation) / (END - THRESHOLD));
}

/* ---- without a gate ---------------------------------------------------------------------------------- */

/* One of an edit's neurons: weight * act(steepness * (s - threshold c)) of delta. */
typedef struct {
    float threshold, steepness, weight;
} ramp_part;

enum { MOST_PARTS = 3 };

/* parts [MOST_PARTS]; their number */
static int ramp_of(me_activation activation, ramp_part *parts) {
    const float step = (FULL - THRESHOLD) / 2, width = FULL - THRESHOLD, a = UNGATED_STEEPNESS;
    if (activation == ME_ACTIVATION_UP_RELU_SQUARED) {
        const float weight = 1 / (2 * step * step);
        parts[0] = (ramp_part){THRESHOLD, 1, weight};
        parts[1] = (ramp_part){THRESHOLD + step, 1, -2 * weight};
        parts[2] = (ramp_part){FULL, 1, weight};
        return 3;
    }
    parts[0] = (ramp_part){THRESHOLD, a, 1 / (a * width)};
    parts[1] = (ramp_part){FULL, a, -1 / (a * width)};
    return 2;
}

static float ramp_share(me_activation activation, float t, float c, float v) {
    ramp_part parts[MOST_PARTS];
    const int n = ramp_of(activation, parts);
    float share = 0;
    for (int i = 0; i < n; i++) {
        const float x = t - VETO_WEIGHT * v - parts[i].threshold * c;
        share += parts[i].weight * me_activate(activation, parts[i].steepness * x);
    }
    return share;
}

/* Neurons that an edit takes. */
static int neurons_an_edit(me_activation activation) {
    ramp_part parts[MOST_PARTS];
    return me_has_gate(activation) ? 1 : ramp_of(activation, parts);
}

/* ---- an edit's share --------------------------------------------------------------------------------- */

float me_neuron_share(me_activation activation, float t, float c, float v) {
    if (!me_has_gate(activation)) return ramp_share(activation, t, c, v);
    const float steepness = steepness_of(activation);
    const float open = me_activate(activation, steepness * (t - THRESHOLD * c)) / steepness;
    return open * (me_neuron_ceiling() * c - t - v) / top_square();
}

float me_neuron_share_at(me_activation activation, const me_edit_result *solved, const float *key, int d,
                         float *t) {
    *t = cblas_sdot(d, key, 1, solved->left, 1);
    return me_neuron_share(activation, *t, cblas_sdot(d, key, 1, solved->constant, 1), 0);
}

/* ---- neurons ------------------------------------------------------------------------------------------ */

static bool neurons_alloc(me_neurons *n, bool gated, size_t d) {
    const size_t count = (size_t)n->n;
    n->index = me_calloc(count, (size_t)n->n_experts * sizeof *n->index);
    n->constant = me_calloc(d, sizeof *n->constant);
    if (gated) n->gate = me_calloc(count * d, sizeof *n->gate);
    n->up = me_calloc(count * d, sizeof *n->up);
    n->down = me_calloc(count * d, sizeof *n->down);
    return n->index && n->constant && (n->gate || !gated) && n->up && n->down;
}

void me_neurons_free(me_neurons *n) {
    me_free(n->index);
    me_free(n->gate);
    me_free(n->up);
    me_free(n->down);
    me_free(n->constant);
    *n = (me_neurons){0};
}

/* x += by y */
static void add(float *x, float by, const float *y, size_t d) {
    cblas_saxpy((int)d, by, y, 1, x, 1);
}

/* Edit i's neuron. Where the gate is open, up stays within its limit: it is 1 / (PEAK - THRESHOLD) times its
 * value on the flat top at most. */
static void fill(me_neurons *n, int i, const me_neuron_plan *plan, const me_model *model, float loudness) {
    const size_t d = (size_t)model->d_model, at = (size_t)i * d;
    const float steepness = steepness_of(model->activation), scale = steepness * top_square();
    const float most = me_reading_limit(model->activation) * scale / (me_neuron_ceiling() - THRESHOLD);
    loudness = fminf(loudness, most);
    const float height = loudness / scale;
    add(n->gate + at, steepness, plan->left + at, d);
    add(n->gate + at, -steepness * THRESHOLD, plan->constant, d);
    add(n->up + at, -height, plan->left + at, d);
    if (plan->veto) add(n->up + at, -height, plan->veto + at, d);
    add(n->up + at, height * me_neuron_ceiling(), plan->constant, d);
    add(n->down + at, 1 / loudness, plan->delta + at, d);
}

/* Edit i's neurons where there is no gate. Of x^2 any loudness can be had; GELU is what it is. */
static void fill_ramp(me_neurons *n, int i, const me_neuron_plan *plan, me_activation activation, size_t d,
                      float loudness) {
    ramp_part parts[MOST_PARTS];
    const size_t of = (size_t)i * d;
    const int n_parts = ramp_of(activation, parts);
    const bool squares = activation == ME_ACTIVATION_UP_RELU_SQUARED;
    const float louder = squares ? sqrtf(loudness) / (1 - THRESHOLD) : 1;
    for (int j = 0; j < n_parts; j++) {
        const size_t at = (size_t)(i * n_parts + j) * d;
        const float steepness = louder * parts[j].steepness;
        add(n->up + at, steepness, plan->left + of, d);
        if (plan->veto) add(n->up + at, -VETO_WEIGHT * steepness, plan->veto + of, d);
        add(n->up + at, -steepness * parts[j].threshold, plan->constant, d);
        add(n->down + at, parts[j].weight / (louder * louder), plan->delta + of, d);
    }
}

static void fill_all(me_neurons *n, const me_neuron_plan *plan, const me_model *model, float loudness) {
    const size_t d = (size_t)model->d_model;
    memcpy(n->constant, plan->constant, d * sizeof *n->constant);
    for (int i = 0; i < plan->n; i++)
        if (n->gate)
            fill(n, i, plan, model, loudness);
        else
            fill_ramp(n, i, plan, model->activation, d, loudness);
}

mobiedit_status me_neurons_make(me_session *session, const me_neuron_plan *plan, int first, me_neurons *out,
                                mobiedit_error *err) {
    const me_model *model = session->engine->model;
    const size_t d = (size_t)model->d_model;
    const int most = model->d_ff / LARGEST_SHARE, layer = plan->layer;
    const int each = neurons_an_edit(model->activation);
    if (plan->n > (most - first) / each)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%d edits at layer %d are too many: it has %d neurons, of which %d may be taken, %d "
                       "for each edit",
                       plan->n, layer, model->d_ff, most, each);
    const me_spare_neurons *spare;
    ME_TRY(me_session_spare(session, layer, &spare, err));
    me_neurons neurons = {.layer = layer, .n = each * plan->n, .n_experts = me_mlp_experts(model, layer)};
    const bool ok = neurons_alloc(&neurons, me_has_gate(model->activation), d);
    for (int e = 0; e < neurons.n_experts && ok; e++)
        for (int i = 0; i < neurons.n; i++)
            neurons.index[e * neurons.n + i] = spare->order[e * model->d_ff + first + i];
    if (ok) fill_all(&neurons, plan, model, spare->loudness);
    if (ok)
        *out = neurons;
    else
        me_neurons_free(&neurons);
    return ok ? MOBIEDIT_OK : me_fail_memory(err, "the edit's neurons");
}

int me_neuron_of(const me_model *model, const char *prompt) {
    const int each = neurons_an_edit(model->activation), places = model->d_ff / LARGEST_SHARE / each;
    return places > 0 ? (int)(me_hash(prompt, strlen(prompt)) % (uint64_t)places) * each : 0;
}
