/* Writes an edit's neurons as a LoRA adapter. */
#include "api/neuron_adapter.h"

#include "base/memory.h"

#include <stddef.h>

enum { PARTS_A_LAYER = 3 };

/* A layer's neurons, and the MLPs that they go into: one, or experts. */
typedef struct {
    const me_layer *layer;
    const me_neurons *n;
    size_t experts, rank, d, d_ff;
    float up_offset; /* see me_up_offset */
    float *scratch;  /* [d_ff] */
} layer_neurons;

static layer_neurons layer_of(const me_model *model, const me_neurons *n) {
    return (layer_neurons){.layer = &model->layers[n->layer],
                           .n = n,
                           .experts = (size_t)n->n_experts,
                           .rank = (size_t)n->n,
                           .d = (size_t)model->d_model,
                           .d_ff = (size_t)model->d_ff,
                           .up_offset = me_up_offset(model->activation)};
}

static size_t index_of(const layer_neurons *l, size_t expert, size_t r) {
    return (size_t)l->n->index[expert * l->rank + r];
}

/* Row r of an expert's rows [rank][width] is 1 at its neuron's place. */
static void mark(const layer_neurons *l, size_t expert, size_t width, float *rows) {
    for (size_t r = 0; r < l->rank; r++)
        rows[r * width + index_of(l, expert, r)] = 1;
}

/* change [rank][d]: from an expert's rows in the matrix to `rows`; what its biases add, and the offset, is
 * taken off. */
static void change_rows(const layer_neurons *l, const me_tensor *matrix, const me_tensor *bias, float offset,
                        const float *rows, size_t expert, float *change) {
    const me_tensor own = me_expert_matrix(matrix, (int)expert);
    if (bias->data) me_tensor_row(bias, (int64_t)expert, l->scratch);
    for (size_t r = 0; r < l->rank; r++) {
        const size_t index = index_of(l, expert, r);
        const float excess = offset + (bias->data ? l->scratch[index] : 0);
        float *row = change + r * l->d;
        me_tensor_row(&own, (int64_t)index, row);
        for (size_t i = 0; i < l->d; i++)
            row[i] = rows[r * l->d + i] - excess * l->n->constant[i] - row[i];
    }
}

/* change [rank][d]: from an expert's columns of down to the neurons'. */
static void change_columns(const layer_neurons *l, size_t expert, float *change) {
    const me_tensor own = me_expert_matrix(&l->layer->down, (int)expert);
    for (size_t i = 0; i < l->d; i++) {
        me_tensor_row(&own, (int64_t)i, l->scratch);
        for (size_t r = 0; r < l->rank; r++)
            change[r * l->d + i] = l->n->down[r * l->d + i] - l->scratch[index_of(l, expert, r)];
    }
}

/* Floats of a layer's parts and of the scratch row behind them. The changes of three matrices share marks; a
 * fused matrix has its own, as wide as gate and up together, for the rows of both. */
static size_t count_floats(const layer_neurons *l) {
    const size_t fused = l->layer->site == ME_SITE_FUSED ? 4 * l->rank * l->d_ff : 0;
    return l->experts * l->rank * (PARTS_A_LAYER * l->d + l->d_ff) + fused + l->d_ff;
}

/* parts [<= PARTS_A_LAYER], in `values`, count_floats that are 0; their number. */
static int make_parts(layer_neurons *l, float *values, me_adapter_part *parts) {
    const size_t one = l->rank * l->d, marked = l->rank * l->d_ff;
    float *gate = values, *up = gate + l->experts * one, *down = up + l->experts * one;
    float *marks = down + l->experts * one, *fused = marks + l->experts * marked;
    const int layer = l->n->layer, rank = l->n->n;
    int count = 0;
    l->scratch = values + count_floats(l) - l->d_ff;
    for (size_t e = 0; e < l->experts; e++) {
        if (l->n->gate) change_rows(l, &l->layer->gate, &l->layer->gate_b, 0, l->n->gate, e, gate + e * one);
        change_rows(l, &l->layer->up, &l->layer->up_b, l->up_offset, l->n->up, e, up + e * one);
        change_columns(l, e, down + e * one);
        mark(l, e, l->d_ff, marks + e * marked);
    }
    if (l->layer->site == ME_SITE_FUSED) { /* gate's rows, then up's */
        mark(l, 0, 2 * l->d_ff, fused);
        mark(l, 0, 2 * l->d_ff, fused + 2 * marked + l->d_ff);
        parts[count++] =
            (me_adapter_part){.layer = layer, .matrix = ME_MLP_UP, .rank = 2 * rank, .a = gate, .b = fused};
    } else {
        if (l->n->gate)
            parts[count++] =
                (me_adapter_part){.layer = layer, .matrix = ME_MLP_GATE, .rank = rank, .a = gate, .b = marks};
        parts[count++] =
            (me_adapter_part){.layer = layer, .matrix = ME_MLP_UP, .rank = rank, .a = up, .b = marks};
    }
    parts[count++] =
        (me_adapter_part){.layer = layer, .matrix = ME_MLP_DOWN, .rank = rank, .a = marks, .b = down};
    return count;
}

mobiedit_status me_neuron_adapter_write(const me_model *model, const me_neurons *layers, int n_layers,
                                        const char *description, const char *path, me_pending_file *out,
                                        mobiedit_error *err) {
    size_t n_floats = 0;
    for (int i = 0; i < n_layers; i++) {
        const layer_neurons l = layer_of(model, &layers[i]);
        n_floats += count_floats(&l);
    }
    float *values = me_calloc(n_floats, sizeof *values);
    me_adapter_part *parts = me_calloc(PARTS_A_LAYER * (size_t)n_layers, sizeof *parts);
    mobiedit_status status = values && parts ? MOBIEDIT_OK : me_fail_memory(err, "the adapter");
    float *at = values;
    int n_parts = 0;
    for (int i = 0; i < n_layers && status == MOBIEDIT_OK; i++) {
        layer_neurons l = layer_of(model, &layers[i]);
        n_parts += make_parts(&l, at, parts + n_parts);
        at += count_floats(&l);
    }
    const me_adapter adapter = {.parts = parts, .n_parts = n_parts, .description = description};
    if (status == MOBIEDIT_OK) status = me_adapter_write(model, &adapter, path, out, err);
    me_free(parts);
    me_free(values);
    return status;
}
