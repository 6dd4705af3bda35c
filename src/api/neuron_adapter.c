/* Writes an edit's neurons as a LoRA adapter. */
#include "api/neuron_adapter.h"

#include "base/memory.h"

#include <stddef.h>

enum { PARTS_A_LAYER = 3 };

/* Row r of rows [n][width] is 1 at index[r]. */
static void mark(const int *index, int n, size_t width, float *rows) {
    for (int r = 0; r < n; r++)
        rows[(size_t)r * width + (size_t)index[r]] = 1;
}

/* change [n][n_in]: from the matrix's rows index[n] to `rows`. */
static void change_rows(const me_tensor *matrix, const me_neurons *n, const float *rows, float *change) {
    const size_t n_in = (size_t)matrix->n_in;
    for (int r = 0; r < n->n; r++) {
        float *row = change + (size_t)r * n_in;
        me_tensor_row(matrix, n->index[r], row);
        for (size_t i = 0; i < n_in; i++)
            row[i] = rows[(size_t)r * n_in + i] - row[i];
    }
}

/* change [n][n_out]: from the matrix's columns index[n] to `columns`; scratch [n_in]. */
static void change_columns(const me_tensor *matrix, const me_neurons *n, const float *columns, float *scratch,
                           float *change) {
    const size_t n_out = (size_t)matrix->n_out;
    for (size_t i = 0; i < n_out; i++) {
        me_tensor_row(matrix, (int64_t)i, scratch);
        for (int r = 0; r < n->n; r++)
            change[(size_t)r * n_out + i] = columns[(size_t)r * n_out + i] - scratch[n->index[r]];
    }
}

/* Floats of a layer's parts, and of the scratch row behind them. What marks rows of a fused matrix is as wide
 * as gate and up together. */
static size_t count_floats(const me_model *model, const me_neurons *n) {
    const size_t rank = (size_t)n->n, d_ff = (size_t)model->d_ff;
    const size_t fused = model->layers[n->layer].site == ME_SITE_FUSED ? 2 * rank * d_ff : 0;
    return PARTS_A_LAYER * rank * ((size_t)model->d_model + d_ff) + fused + d_ff;
}

/* Of gate or up, in `values`. */
static me_adapter_part row_part(const me_model *model, const me_neurons *n, me_mlp_matrix matrix,
                                float *values) {
    const me_layer *layer = &model->layers[n->layer];
    const bool is_gate = matrix == ME_MLP_GATE;
    float *a = values, *b = values + (size_t)n->n * (size_t)model->d_model;
    change_rows(is_gate ? &layer->gate : &layer->up, n, is_gate ? n->gate : n->up, a);
    mark(n->index, n->n, (size_t)model->d_ff, b);
    return (me_adapter_part){.layer = n->layer, .matrix = matrix, .rank = n->n, .a = a, .b = b};
}

/* Of the matrix that both are parts of: gate's rows, then up's. */
static me_adapter_part fused_part(const me_model *model, const me_neurons *n, float *values) {
    const me_layer *layer = &model->layers[n->layer];
    const size_t rank = (size_t)n->n, d = (size_t)model->d_model, d_ff = (size_t)model->d_ff;
    float *a = values, *b = values + 2 * rank * d;
    change_rows(&layer->gate, n, n->gate, a);
    change_rows(&layer->up, n, n->up, a + rank * d);
    mark(n->index, n->n, 2 * d_ff, b);
    mark(n->index, n->n, 2 * d_ff, b + rank * 2 * d_ff + d_ff);
    return (me_adapter_part){.layer = n->layer, .matrix = ME_MLP_UP, .rank = 2 * n->n, .a = a, .b = b};
}

/* scratch [d_ff] */
static me_adapter_part down_part(const me_model *model, const me_neurons *n, float *values, float *scratch) {
    const size_t d_ff = (size_t)model->d_ff;
    float *a = values, *b = values + (size_t)n->n * d_ff;
    change_columns(&model->layers[n->layer].down, n, n->down, scratch, b);
    mark(n->index, n->n, d_ff, a);
    return (me_adapter_part){.layer = n->layer, .matrix = ME_MLP_DOWN, .rank = n->n, .a = a, .b = b};
}

/* parts [<= PARTS_A_LAYER], in `values`, which are 0; their number. */
static int make_parts(const me_model *model, const me_neurons *n, float *values, me_adapter_part *parts) {
    const size_t one = (size_t)n->n * (size_t)(model->d_model + model->d_ff);
    int count = 0;
    if (model->layers[n->layer].site == ME_SITE_FUSED) {
        parts[count++] = fused_part(model, n, values);
        values += 2 * one + 2 * (size_t)n->n * (size_t)model->d_ff;
    } else {
        if (n->gate) {
            parts[count++] = row_part(model, n, ME_MLP_GATE, values);
            values += one;
        }
        parts[count++] = row_part(model, n, ME_MLP_UP, values);
        values += one;
    }
    parts[count++] = down_part(model, n, values, values + one);
    return count;
}

mobiedit_status me_neuron_adapter_write(const me_model *model, const me_neurons *layers, int n_layers,
                                        const char *description, const char *path, me_pending_file *out,
                                        mobiedit_error *err) {
    size_t n_floats = 0;
    for (int i = 0; i < n_layers; i++)
        n_floats += count_floats(model, &layers[i]);
    float *values = me_calloc(n_floats, sizeof *values);
    me_adapter_part *parts = me_calloc(PARTS_A_LAYER * (size_t)n_layers, sizeof *parts);
    mobiedit_status status = values && parts ? MOBIEDIT_OK : me_fail_memory(err, "the adapter");
    float *at = values;
    int n_parts = 0;
    for (int i = 0; i < n_layers && status == MOBIEDIT_OK; i++) {
        n_parts += make_parts(model, &layers[i], at, parts + n_parts);
        at += count_floats(model, &layers[i]);
    }
    const me_adapter adapter = {.parts = parts, .n_parts = n_parts, .description = description};
    if (status == MOBIEDIT_OK) status = me_adapter_write(model, &adapter, path, out, err);
    me_free(parts);
    me_free(values);
    return status;
}
