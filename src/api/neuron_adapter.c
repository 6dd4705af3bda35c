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

/* Floats of a layer's parts, and of the scratch row behind them. */
static size_t count_floats(const me_model *model, const me_neurons *n) {
    return PARTS_A_LAYER * (size_t)n->n * (size_t)(model->d_model + model->d_ff) + (size_t)model->d_ff;
}

/* parts [PARTS_A_LAYER], in `values`, which are 0. */
static void make_parts(const me_model *model, const me_neurons *n, float *values, me_adapter_part *parts) {
    static const me_mlp_matrix matrices[PARTS_A_LAYER] = {ME_MLP_GATE, ME_MLP_UP, ME_MLP_DOWN};
    const size_t rank = (size_t)n->n, d = (size_t)model->d_model, d_ff = (size_t)model->d_ff;
    for (int i = 0; i < PARTS_A_LAYER; i++, values += rank * (d + d_ff)) {
        const me_tensor *matrix = me_mlp_tensor(model, n->layer, matrices[i]);
        const bool is_down = matrices[i] == ME_MLP_DOWN;
        float *a = values, *b = values + rank * (is_down ? d_ff : d);
        if (is_down)
            change_columns(matrix, n, n->down, values + rank * (d + d_ff), b);
        else
            change_rows(matrix, n, matrices[i] == ME_MLP_GATE ? n->gate : n->up, a);
        mark(n->index, n->n, d_ff, is_down ? a : b);
        parts[i] = (me_adapter_part){.layer = n->layer, .matrix = matrices[i], .rank = n->n, .a = a, .b = b};
    }
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
    for (int i = 0; i < n_layers && status == MOBIEDIT_OK; i++) {
        make_parts(model, &layers[i], at, parts + (size_t)i * PARTS_A_LAYER);
        at += count_floats(model, &layers[i]);
    }
    const me_adapter adapter = {
        .parts = parts, .n_parts = PARTS_A_LAYER * n_layers, .description = description};
    if (status == MOBIEDIT_OK) status = me_adapter_write(model, &adapter, path, out, err);
    me_free(parts);
    me_free(values);
    return status;
}
