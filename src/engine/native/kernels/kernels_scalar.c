/* The reference: what every other table must compute, bit for bit.
 *
 * One multiply-add with a single rounding (fmaf) per block, or per value for float weights, in the order of
 * the blocks: the fast tables do the same in vector registers, a row to a lane. */
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"
#include "engine/native/kernels/unpack.h"

#include <math.h>

enum { CHUNK = ME_SUPER_BLOCKS }; /* blocks that are unpacked at a time */

static bool supported(void) {
    return true;
}

static size_t scratch_bytes(const me_tensor *weight) {
    (void)weight;
    return 0;
}

bool me_kernels_type_supported(enum ggml_type type) {
    return me_type_is_float(type) || me_format_of(type);
}

static void quantize_block(const float *x, int n, int8_t *q, float *d, float *s, int16_t half_sums[2]) {
    float amax = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > amax || isnan(x[i])) amax = fabsf(x[i]);
    float inverse = amax > ME_TINY ? 127 / amax : 0;
    *d = amax > ME_TINY || isnan(amax) ? amax / 127 : 0;
    half_sums[0] = half_sums[1] = 0;
    for (int i = 0; i < ME_BLOCK; i++) {
        q[i] = (int8_t)(i < n ? lrintf(x[i] * inverse) : 0);
        half_sums[i / 16] = (int16_t)(half_sums[i / 16] + q[i]);
    }
    *s = *d * (float)(half_sums[0] + half_sums[1]);
}

static void quantize(me_activations *act, int first, int last) {
    for (int column = first; column < last; column++) {
        const float *x = act->x + (size_t)column * act->n_in;
        for (int b = 0; b < act->n_blocks; b++) {
            size_t i = me_act_at(act, column, b);
            int left = act->n_in - b * ME_BLOCK;
            quantize_block(x + b * ME_BLOCK, left < ME_BLOCK ? left : ME_BLOCK, act->q + i * ME_BLOCK,
                           act->d + i, act->s + i, act->half_sums + 2 * i);
        }
    }
}

/* sum + block b of the row times the activations' block i */
static float add_block(const me_format *format, const me_row *row, int b, const me_activations *act, size_t i,
                       float sum) {
    const int8_t *x = act->q + i * ME_BLOCK;
    const int16_t *half_sums = act->half_sums + 2 * i;
    int dots[2] = {0, 0}, mins = 0; /* of the block's halves */
    for (int k = 0; k < ME_BLOCK; k++)
        dots[k / 16] += (row->q[b * ME_BLOCK + k] - format->offset) * x[k];
    if (format->kind.has_halves)
        for (int half = 0; half < 2; half++)
            dots[half] *= row->half_scales[2 * b + half];
    sum = fmaf(row->scale[b] * act->d[i], (float)(dots[0] + dots[1]), sum);
    if (!format->kind.has_min) return sum;
    if (!format->kind.has_halves) return fmaf(row->min[b], act->s[i], sum);
    for (int half = 0; half < 2; half++)
        mins += row->half_mins[2 * b + half] * half_sums[half];
    return fmaf(row->min[b] * act->d[i], (float)mins, sum);
}

static void integer_row(const me_format *format, const void *data, const me_activations *act, float *y,
                        size_t ldy) {
    uint8_t q[CHUNK * ME_BLOCK];
    float scale[CHUNK], min[CHUNK];
    int8_t half_scales[2 * CHUNK], half_mins[2 * CHUNK];
    const me_row row = {q, scale, min, half_scales, half_mins};
    for (int first = 0; first < act->n_blocks; first += CHUNK) {
        int n = act->n_blocks - first < CHUNK ? act->n_blocks - first : CHUNK;
        format->unpack(data, first, n, &row);
        for (int column = 0; column < act->n; column++) {
            float sum = first ? y[column * ldy] : 0;
            for (int b = 0; b < n; b++)
                sum = add_block(format, &row, b, act, me_act_at(act, column, first + b), sum);
            y[column * ldy] = sum;
        }
    }
}

static void float_row(enum ggml_type type, const void *data, const me_activations *act, float *y,
                      size_t ldy) {
    float w[CHUNK * ME_BLOCK];
    for (int first = 0; first < act->n_in; first += CHUNK * ME_BLOCK) {
        int n = act->n_in - first < CHUNK * ME_BLOCK ? act->n_in - first : CHUNK * ME_BLOCK;
        me_unpack_floats(type, data, first, n, w);
        for (int column = 0; column < act->n; column++) {
            const float *x = act->x + (size_t)column * act->n_in + first;
            float sum = first ? y[column * ldy] : 0;
            for (int i = 0; i < n; i++)
                sum = fmaf(w[i], x[i], sum);
            y[column * ldy] = sum;
        }
    }
}

static void matmul(const me_tensor *weight, const me_activations *act, int64_t row0, int64_t row1, float *y,
                   size_t ldy, void *scratch) {
    (void)scratch;
    const me_format *format = me_format_of(weight->type);
    for (int64_t row = row0; row < row1; row++) {
        if (format)
            integer_row(format, me_weight_row(weight, row), act, y + row, ldy);
        else
            float_row(weight->type, me_weight_row(weight, row), act, y + row, ldy);
    }
}

const me_kernels me_kernels_scalar = {
    .name = "scalar",
    .supported = supported,
    .panel_rows = 16,
    .quantize = quantize,
    .scratch_bytes = scratch_bytes,
    .matmul = matmul,
};
