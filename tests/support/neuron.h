/* An adapter that puts a made-up neuron in the place of one of the model's: a row of gate, a row of up, a
 * column of down. Include cmocka.h first. */
#ifndef ME_TESTS_NEURON_H
#define ME_TESTS_NEURON_H

#include "base/memory.h"
#include "store/adapter.h"

/* What the neuron is to be: gate and up [d_model] are its rows, down [d_model] its column. */
typedef struct {
    int layer, place;
    const float *gate, *up, *down;
} neuron;

static inline void neuron_write(const me_model *model, const neuron *n, const char *path) {
    const size_t d = (size_t)model->d_model, d_ff = (size_t)model->d_ff;
    const me_layer *layer = &model->layers[n->layer];
    float *unit = me_calloc(2 * d_ff + 3 * d, sizeof *unit);
    assert_non_null(unit);
    float *row = unit + d_ff, *gate = row + d_ff, *up = gate + d, *down = up + d;
    unit[n->place] = 1;
    me_tensor_row(&layer->gate, n->place, gate);
    me_tensor_row(&layer->up, n->place, up);
    for (size_t i = 0; i < d; i++) {
        me_tensor_row(&layer->down, (int64_t)i, row);
        gate[i] = n->gate[i] - gate[i];
        up[i] = n->up[i] - up[i];
        down[i] = n->down[i] - row[n->place];
    }
    const me_adapter_part parts[] = {
        {.layer = n->layer, .matrix = ME_MLP_GATE, .rank = 1, .a = gate, .b = unit},
        {.layer = n->layer, .matrix = ME_MLP_UP, .rank = 1, .a = up, .b = unit},
        {.layer = n->layer, .matrix = ME_MLP_DOWN, .rank = 1, .a = unit, .b = down},
    };
    const me_adapter adapter = {.parts = parts, .n_parts = ME_MLP_MATRICES};
    me_pending_file pending = {0};
    assert_int_equal(me_adapter_write(model, &adapter, path, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
    me_free(unit);
}

#endif
