/* Vectors of NEON for tiles.h, and what the tables that use them share: panels hold signed weights, so that
 * no offset is left in the sums. A table brings dot_steps(). */
#ifndef ME_KERNELS_VECTORS_NEON_H
#define ME_KERNELS_VECTORS_NEON_H

#include "engine/native/kernels/panel.h"

#include <arm_neon.h>

enum { VECTORS = 4, LANES = 4 };

typedef float32x4_t floats;
typedef int32x4_t ints;

ME_INLINE floats load_floats(const float *p) {
    return vld1q_f32(p);
}

ME_INLINE void store_floats(float *p, floats a) {
    vst1q_f32(p, a);
}

ME_INLINE floats to_all_lanes(const float *p) {
    return vld1q_dup_f32(p);
}

ME_INLINE floats multiply(floats a, floats b) {
    return vmulq_f32(a, b);
}

ME_INLINE floats multiply_add(floats a, floats b, floats c) {
    return vfmaq_f32(c, a, b);
}

ME_INLINE floats to_floats(ints a) {
    return vcvtq_f32_s32(a);
}

ME_INLINE int8x16_t load_bytes(const void *p) {
    return vld1q_s8(p);
}

/* Integer sums of `steps` steps, 4 or 8, weights at q and the columns' values at x, ME_BLOCK apart. */
ME_INLINE void dot_steps(const uint8_t *q, const int8_t *x, const int steps, ints (*sums)[VECTORS],
                         const int bits, const int columns);

ME_INLINE ints half_scale(const me_panel *panel, int b, int half, int v) {
    const int16_t *pairs = panel->half_scales + ((b * 2 + half) * ME_ROWS + v * LANES) * 2;
    return vshrq_n_s32(vreinterpretq_s32_s16(vld1q_s16(pairs)), 16);
}

ME_INLINE void dot_block(const me_panel *panel, int b, const int8_t *x, ints (*sums)[VECTORS],
                         const me_kind kind, const int columns) {
    enum { HALF = ME_STEPS / 2 };
    const uint8_t *const q = panel->q + b * ME_PANEL_BYTES;
    if (!kind.has_halves) {
        dot_steps(q, x, ME_STEPS, sums, kind.bits, columns);
        return;
    }
    ints first[ME_GROUP][VECTORS];
    dot_steps(q, x, HALF, first, kind.bits, columns);
    dot_steps(q + HALF * ME_ROWS * 4, x + HALF * 4, HALF, sums, kind.bits, columns);
    ME_UNROLL(4)
    for (int v = 0; v < VECTORS; v++) {
        ints scale0 = half_scale(panel, b, 0, v), scale1 = half_scale(panel, b, 1, v);
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++)
            sums[c][v] = vmlaq_s32(vmulq_s32(first[c][v], scale0), sums[c][v], scale1);
    }
}

ME_INLINE ints less_offset(ints dot, const me_panel *panel, int b, int v, const int16_t *half_sums,
                           const me_kind kind) {
    (void)panel, (void)b, (void)v, (void)half_sums, (void)kind;
    return dot;
}

ME_INLINE ints half_min_sums(const me_panel *panel, int b, int v, const int16_t *half_sums) {
    int32_t pair;
    memcpy(&pair, half_sums, sizeof pair);
    const int16x8_t sums = vreinterpretq_s16_s32(vdupq_n_s32(pair));
    const int16x8_t mins = vld1q_s16(panel->half_mins + (b * ME_ROWS + v * LANES) * 2);
    return vpaddq_s32(vmull_s16(vget_low_s16(mins), vget_low_s16(sums)), vmull_high_s16(mins, sums));
}

#endif
