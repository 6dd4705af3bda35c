/* Vectors of 256 bits for tiles.h, and what the tables that use them share. */
#ifndef ME_KERNELS_VECTORS_AVX2_H
#define ME_KERNELS_VECTORS_AVX2_H

#include "engine/native/kernels/panel.h"

#include <immintrin.h>

enum { VECTORS = 2, LANES = 8 };

typedef __m256 floats;
typedef __m256i ints;

ME_INLINE floats load_floats(const float *p) {
    return _mm256_load_ps(p);
}

ME_INLINE void store_floats(float *p, floats a) {
    _mm256_store_ps(p, a);
}

ME_INLINE floats to_all_lanes(const float *p) {
    return _mm256_broadcast_ss(p);
}

ME_INLINE floats multiply(floats a, floats b) {
    return _mm256_mul_ps(a, b);
}

ME_INLINE floats multiply_add(floats a, floats b, floats c) {
    return _mm256_fmadd_ps(a, b, c);
}

ME_INLINE floats to_floats(ints a) {
    return _mm256_cvtepi32_ps(a);
}

ME_INLINE ints load(const void *p) {
    return _mm256_load_si256(p);
}

/* Four bytes to all lanes. */
ME_INLINE ints broadcast4(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
}

/* The scales of a half block, each twice as int16. */
ME_INLINE ints half_scale_pairs(const me_panel *panel, int b, int half, int v) {
    return load(panel->half_scales + ((b * 2 + half) * ME_ROWS + v * LANES) * 2);
}

/* dot - offset * sum(x): the offset, times the scale of each half where
 * there are such, times the half sums. */
ME_INLINE ints less_whole_offset(ints dot, const me_panel *panel, int b, int v, const int16_t *half_sums,
                                 const me_kind kind) {
    ints offset = _mm256_set1_epi16((short)-panel->format->offset);
    if (kind.has_halves)
        offset = _mm256_mullo_epi16(
            _mm256_blend_epi16(half_scale_pairs(panel, b, 0, v), half_scale_pairs(panel, b, 1, v), 0xaa),
            offset);
    return _mm256_add_epi32(dot, _mm256_madd_epi16(broadcast4(half_sums), offset));
}

ME_INLINE ints half_min_sums(const me_panel *panel, int b, int v, const int16_t *half_sums) {
    return _mm256_madd_epi16(broadcast4(half_sums), load(panel->half_mins + (b * ME_ROWS + v * LANES) * 2));
}

#endif
