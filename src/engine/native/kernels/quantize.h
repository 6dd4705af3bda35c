/* Activations to int8, the same integers whichever way they are computed.
 *
 * Static, like unpack.h, and compiled into each table with its own instruction set. */
#ifndef ME_KERNELS_QUANTIZE_H
#define ME_KERNELS_QUANTIZE_H

#include "engine/native/kernels/kernels.h"

#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* A block whose largest magnitude is not above this is zero: 127 / amax would overflow soon after, and d
 * would be subnormal. */
#define ME_TINY 1e-30f

#ifdef __AVX2__

/* The largest |x| of a block. As integers, the bits of magnitudes order as they do, NaN above all. */
static inline float me_block_amax(const float *x) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_setzero_si256();
    for (int i = 0; i < ME_BLOCK; i += 8)
        most =
            _mm256_max_epi32(most, _mm256_and_si256(magnitude, _mm256_castps_si256(_mm256_loadu_ps(x + i))));
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(half));
}

static inline void me_round_block(const float *x, float inverse, int8_t *q, int16_t *half_sums) {
    __m256i part[4];
    for (int i = 0; i < 4; i++)
        part[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(inverse)));
    /* Packing works on 128-bit lanes: the groups of four come out as 0 2 4 6 1 3 5 7. */
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(part[0], part[1]), _mm256_packs_epi32(part[2], part[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)q, bytes);
    __m256i sums = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
    sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32(sums, 0x4e));
    sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32(sums, 0xb1));
    half_sums[0] = (int16_t)_mm256_extract_epi32(sums, 0);
    half_sums[1] = (int16_t)_mm256_extract_epi32(sums, 4);
}

#else

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

#ifdef __aarch64__

static inline void me_round_block(const float *x, float inverse, int8_t *q, int16_t *half_sums) {
    for (int half = 0; half < 2; half++, x += 16, q += 16) {
        int16x4_t part[4];
        for (int i = 0; i < 4; i++)
            part[i] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), inverse)));
        int8x16_t bytes =
            vcombine_s8(vmovn_s16(vcombine_s16(part[0], part[1])), vmovn_s16(vcombine_s16(part[2], part[3])));
        vst1q_s8(q, bytes);
        half_sums[half] = vaddlvq_s8(bytes);
    }
}

#else

/* Without a call of lrintf, so that compilers vectorise it: adding 1.5 * 2^23 leaves a small number rounded
 * to the nearest integer, ties to even, in the low bits of the sum. */
static inline void me_round_block(const float *x, float inverse, int8_t *q, int16_t *half_sums) {
    enum { ROUND_BITS = 0x4b400000 };
    float rounded[ME_BLOCK];
    int32_t bits[ME_BLOCK];
    for (int i = 0; i < ME_BLOCK; i++)
        rounded[i] = x[i] * inverse + 0x1.8p23f;
    memcpy(bits, rounded, sizeof bits);
    half_sums[0] = half_sums[1] = 0;
    for (int i = 0; i < ME_BLOCK; i++) {
        q[i] = (int8_t)(bits[i] - ROUND_BITS);
        half_sums[i / 16] = (int16_t)(half_sums[i / 16] + q[i]);
    }
}

#endif
#endif

/* me_kernels.quantize of every table but the reference. */
static inline void me_quantize_columns(me_activations *act, int first, int last) {
    for (int column = first; column < last; column++) {
        for (int b = 0; b < act->n_blocks; b++) {
            size_t i = me_act_at(act, column, b);
            const float *x = act->x + (size_t)column * act->n_in + (size_t)b * ME_BLOCK;
            int16_t *half_sums = act->half_sums + 2 * i;
            float padded[ME_BLOCK] = {0};
            int left = act->n_in - b * ME_BLOCK;
            if (left < ME_BLOCK) x = memcpy(padded, x, (size_t)left * sizeof *x);
            float amax = me_block_amax(x);
            me_round_block(x, amax > ME_TINY ? 127 / amax : 0, act->q + i * ME_BLOCK, half_sums);
            act->d[i] = amax <= ME_TINY ? 0 : amax / 127;
            act->s[i] = act->d[i] * (float)(half_sums[0] + half_sums[1]);
        }
    }
}

#endif
