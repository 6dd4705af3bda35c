/* Activations to int8 in plain C that compilers vectorise: no libm call, no float comparison.
 *
 * Static, like unpack.h, and compiled into each table with its own instruction set. */
#ifndef ME_KERNELS_QUANTIZE_H
#define ME_KERNELS_QUANTIZE_H

#include "engine/native/kernels/kernels.h"

#include <string.h>

/* A block whose largest magnitude is not above this is zero: 127 / amax would overflow soon after, and d
 * would be subnormal. */
#define ME_TINY 1e-30f

/* Adding 1.5 * 2^23 to a float below 2^22 in magnitude leaves it rounded to the nearest integer (ties to
 * even, as lrintf) in the low bits of the sum, this constant being the rest. */
#define ME_ROUND 0x1.8p23f
enum { ME_ROUND_BITS = 0x4b400000 };

/* The bits of |x| order as the magnitudes do, NaN above all. */
static inline float me_block_amax(const float *x) {
    int32_t bits[ME_BLOCK], most = 0;
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < ME_BLOCK; i++) {
        int32_t magnitude = bits[i] & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    float amax;
    memcpy(&amax, &most, sizeof amax);
    return amax;
}

static inline int me_round_half_block(const float *x, float inverse, int8_t *q) {
    int sum = 0;
    for (int i = 0; i < ME_BLOCK / 2; i++) {
        float rounded = x[i] * inverse + ME_ROUND;
        int32_t bits;
        memcpy(&bits, &rounded, sizeof bits);
        q[i] = (int8_t)(bits - ME_ROUND_BITS);
        sum += q[i];
    }
    return sum;
}

/* me_kernels.quantize of every table but the reference. */
static inline void me_quantize_columns(me_activations *act, int first, int last) {
    for (int column = first; column < last; column++) {
        for (int b = 0; b < act->n_blocks; b++) {
            size_t i = (size_t)column * act->n_blocks + b;
            const float *x = act->x + (size_t)column * act->n_in + (size_t)b * ME_BLOCK;
            float padded[ME_BLOCK] = {0};
            int left = act->n_in - b * ME_BLOCK;
            if (left < ME_BLOCK) x = memcpy(padded, x, (size_t)left * sizeof *x);
            float amax = me_block_amax(x);
            float inverse = amax > ME_TINY ? 127 / amax : 0;
            int low = me_round_half_block(x, inverse, act->q + i * ME_BLOCK);
            int high = me_round_half_block(x + 16, inverse, act->q + i * ME_BLOCK + 16);
            act->d[i] = amax <= ME_TINY ? 0 : amax / 127;
            act->s[i] = act->d[i] * (float)(low + high);
            act->half_sums[2 * i] = (int16_t)low;
            act->half_sums[2 * i + 1] = (int16_t)high;
        }
    }
}

#endif
