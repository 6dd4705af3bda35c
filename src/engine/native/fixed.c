/* Fixed-point matrices: rounding to int8 and int16, and exact products. */
#include "engine/native/fixed.h"

#include "base/memory.h"
#include "engine/native/clones.h"

#include <math.h>

enum {
    WEIGHT_LIMIT = 127,
    RUN = 512 /* products of 32767 and 127 whose sum an int32 holds */
};

mobiedit_status me_fixed_alloc(int64_t n_in, int64_t n_out, me_fixed_matrix *out, mobiedit_error *err) {
    *out = (me_fixed_matrix){.n_in = n_in, .n_out = n_out};
    out->q = me_calloc((size_t)n_in * (size_t)n_out, sizeof *out->q);
    out->scale = me_calloc((size_t)n_out, sizeof *out->scale);
    return out->q && out->scale ? MOBIEDIT_OK : me_fail_memory(err, "weights in fixed point");
}

void me_fixed_free(me_fixed_matrix *matrix) {
    me_free(matrix->q);
    me_free(matrix->scale);
    *matrix = (me_fixed_matrix){0};
}

/* Rounded to the nearest, saturated; NaN counts as beyond. */
static inline int steps(float value, float most) {
    value = value < most ? value : most;
    value = value > -most ? value : -most;
    return (int)lrintf(value);
}

void me_fixed_set_row(me_fixed_matrix *matrix, int64_t i, const float *w) {
    int8_t *q = matrix->q + i * matrix->n_in;
    float largest = 0;
    for (int64_t j = 0; j < matrix->n_in; j++)
        largest = fmaxf(largest, fabsf(w[j]));
    const float scale = largest / WEIGHT_LIMIT;
    matrix->scale[i] = scale;
    for (int64_t j = 0; j < matrix->n_in; j++)
        q[j] = (int8_t)(scale > 0 ? steps(w[j] / scale, WEIGHT_LIMIT) : 0);
}

void me_fixed_quantize(const float *x, size_t n, float step, int limit, int16_t *q) {
    for (size_t i = 0; i < n; i++)
        q[i] = (int16_t)(step > 0 ? steps(x[i] / step, (float)limit) : 0);
}

/* Runs are summed in int32, which vectors hold many of, and added up in int64. */
ME_CLONES static int64_t dot(const int16_t *a, const int16_t *b, int64_t n) {
    int64_t sum = 0;
    for (int64_t first = 0; first < n; first += RUN) {
        const int length = (int)(n - first < RUN ? n - first : RUN);
        int32_t run = 0;
        for (int i = 0; i < length; i++)
            run += a[first + i] * b[first + i];
        sum += run;
    }
    return sum;
}

void me_fixed_matmul(const me_fixed_matrix *matrix, const int16_t *x, int n_columns, float step,
                     int64_t first, int64_t last, float *y, size_t ldy, int16_t *scratch) {
    const int64_t n = matrix->n_in;
    for (int64_t i = first; i < last; i++) {
        const float scale = matrix->scale[i] * step;
        for (int64_t j = 0; j < n; j++)
            scratch[j] = matrix->q[i * n + j];
        for (int column = 0; column < n_columns; column++)
            y[(size_t)column * ldy + (size_t)i] = scale * (float)dot(scratch, x + column * n, n);
    }
}
