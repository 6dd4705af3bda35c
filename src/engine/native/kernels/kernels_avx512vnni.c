/* AVX512 with VNNI: tiles of 32 rows (two vectors) by up to 4 columns, so that activations are loaded once
 * for two vectors of weights.
 *
 * vpdpbusd adds the products of four unsigned weights and four activations of each row to an int32: exact
 * for 8-bit weights too. Offsets are taken off by starting the sum at -offset * sum(x).
 *
 * With ME_EMULATE_AVX512 the same source makes a table over portable intrinsics, which the includer brings:
 * so it is tested on any machine (tests/engine/native/kernels/kernels_emulated_avx512vnni.c). */
#define ME_PANEL_ROWS 32
#include "engine/native/kernels/panel.h"
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"

#ifndef ME_EMULATE_AVX512
#include <immintrin.h>
#endif

enum { LANES = 16, VECTORS = ME_ROWS / LANES };

static const int widths[] = {ME_GROUP, 3, 2, 1};

static bool supported(void) {
#ifdef ME_EMULATE_AVX512
    return true;
#else
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("fma");
#endif
}

/* Four bytes to all lanes. */
ME_INLINE __m512i broadcast4(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

/* A pair of int16 to all lanes. */
ME_INLINE __m512i pairs(int low, int high) {
    return _mm512_set1_epi32((int32_t)((uint16_t)low | (uint32_t)(uint16_t)high << 16));
}

ME_INLINE __m512 half_scale(const me_panel *panel, int b, int half, int v) {
    __m512i twice = _mm512_loadu_si512(panel->half_scales + ((b * 2 + half) * ME_ROWS + v * LANES) * 2);
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(twice, 16));
}

/* Integer sums += steps [step0, step1) of a block. */
ME_INLINE void dot_steps(const uint8_t *q, const int8_t *x, const int step0, const int step1,
                         __m512i (*sums)[VECTORS], const int columns) {
    ME_UNROLL(8)
    for (int step = step0; step < step1; step++) {
        __m512i w[VECTORS] = {_mm512_loadu_si512(q + step * ME_ROWS * 4),
                              _mm512_loadu_si512(q + (step * ME_ROWS + LANES) * 4)};
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            __m512i a = broadcast4(x + c * ME_BLOCK + 4 * step);
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++)
                sums[c][v] = _mm512_dpbusd_epi32(sums[c][v], w[v], a);
        }
    }
}

/* Pairs of int16 times a column's half sums. */
ME_INLINE __m512i times_half_sums(__m512i factors, const int16_t *half_sums) {
    return _mm512_dpwssd_epi32(_mm512_setzero_si512(), factors, broadcast4(half_sums));
}

/* sums = pairs of int16 times the half sums of the columns' blocks; 0 where there is a min instead. */
ME_INLINE void start_sums(const int16_t *half_sums, __m512i factors, __m512i (*sums)[VECTORS],
                          const bool has_min, const int columns) {
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++) {
        __m512i start = has_min ? _mm512_setzero_si512() : times_half_sums(factors, half_sums + 2 * c);
        ME_UNROLL(2)
        for (int v = 0; v < VECTORS; v++)
            sums[c][v] = start;
    }
}

/* The block's sums as floats: exact, since integers and their products are below 2^24. */
ME_INLINE void dot_block(const me_panel *panel, int b, const int8_t *x, const int16_t *half_sums,
                         __m512 (*dots)[VECTORS], const me_kind kind, const int columns) {
    const uint8_t *q = panel->q + b * ME_PANEL_BYTES;
    const int start = -panel->format->offset, half = ME_STEPS / 2;
    __m512i sums[ME_GROUP][VECTORS];
    start_sums(half_sums, pairs(start, kind.has_halves ? 0 : start), sums, kind.has_min, columns);
    dot_steps(q, x, 0, kind.has_halves ? half : ME_STEPS, sums, columns);
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++)
        for (int v = 0; v < VECTORS; v++)
            dots[c][v] = _mm512_cvtepi32_ps(sums[c][v]);
    if (!kind.has_halves) return;
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++)
        for (int v = 0; v < VECTORS; v++)
            dots[c][v] = _mm512_mul_ps(half_scale(panel, b, 0, v), dots[c][v]);
    start_sums(half_sums, pairs(0, start), sums, kind.has_min, columns);
    dot_steps(q, x, half, ME_STEPS, sums, columns);
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++)
        for (int v = 0; v < VECTORS; v++)
            dots[c][v] =
                _mm512_fmadd_ps(half_scale(panel, b, 1, v), _mm512_cvtepi32_ps(sums[c][v]), dots[c][v]);
}

/* The half mins of block b times a column's half sums. */
ME_INLINE __m512 half_min_sums(const me_panel *panel, int b, int v, const int16_t *half_sums) {
    __m512i mins = _mm512_loadu_si512(panel->half_mins + (b * ME_ROWS + v * LANES) * 2);
    return _mm512_cvtepi32_ps(times_half_sums(mins, half_sums));
}

ME_INLINE void tile_blocks(const me_panel *panel, const me_activations *act, int first, float *out,
                           const me_kind kind, const int columns) {
    const size_t start = me_act_at(act, first, panel->first_block),
                 next = me_act_group_stride(act, panel->first_block);
    const float *d = act->d + start, *s = act->s + start, *scale = panel->scale, *min = panel->min;
    const int16_t *half_sums = act->half_sums + 2 * start;
    const int8_t *x = act->q + start * ME_BLOCK;
    __m512 dots[ME_GROUP][VECTORS], sums[ME_GROUP][VECTORS];
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++)
        for (int v = 0; v < VECTORS; v++)
            sums[c][v] = _mm512_loadu_ps(out + c * ME_ROWS + v * LANES);
    for (int b = 0; b < panel->n_blocks; b++) {
        dot_block(panel, b, x, half_sums, dots, kind, columns);
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            __m512 column_d = _mm512_set1_ps(d[c]), column_s = _mm512_set1_ps(s[c]);
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++) {
                __m512 factor = _mm512_mul_ps(_mm512_loadu_ps(scale + v * LANES), column_d);
                sums[c][v] = _mm512_fmadd_ps(factor, dots[c][v], sums[c][v]);
                if (kind.has_min && kind.has_halves)
                    sums[c][v] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_loadu_ps(min + v * LANES), column_d),
                                                 half_min_sums(panel, b, v, half_sums + 2 * c), sums[c][v]);
                else if (kind.has_min)
                    sums[c][v] = _mm512_fmadd_ps(_mm512_loadu_ps(min + v * LANES), column_s, sums[c][v]);
            }
        }
        /* Activations of the next group: they lie in the second-level cache. */
        __builtin_prefetch(x + next * ME_BLOCK);
        __builtin_prefetch(x + next * ME_BLOCK + 64);
        if (b % 4 == 0) {
            __builtin_prefetch(d + next);
            __builtin_prefetch(kind.has_min && !kind.has_halves ? (const void *)(s + next)
                                                                : half_sums + 2 * next);
        }
        x += ME_GROUP * ME_BLOCK, d += ME_GROUP, s += ME_GROUP, half_sums += 2 * ME_GROUP;
        scale += ME_ROWS, min += ME_ROWS;
    }
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++)
        for (int v = 0; v < VECTORS; v++)
            _mm512_storeu_ps(out + c * ME_ROWS + v * LANES, sums[c][v]);
}

ME_INLINE void tile_floats(const me_panel *panel, const me_activations *act, int first, float *out,
                           const int columns) {
    const float *x = act->x + (size_t)first * act->n_in + (size_t)panel->first_block * ME_BLOCK;
    __m512 sums[ME_GROUP][VECTORS];
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++)
        for (int v = 0; v < VECTORS; v++)
            sums[c][v] = _mm512_loadu_ps(out + c * ME_ROWS + v * LANES);
    for (int i = 0; i < panel->n_values; i++) {
        __m512 w[VECTORS] = {_mm512_loadu_ps(panel->w + i * ME_ROWS),
                             _mm512_loadu_ps(panel->w + i * ME_ROWS + LANES)};
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            __m512 a = _mm512_set1_ps(x[(size_t)c * act->n_in + i]);
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++)
                sums[c][v] = _mm512_fmadd_ps(w[v], a, sums[c][v]);
        }
    }
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++)
        for (int v = 0; v < VECTORS; v++)
            _mm512_storeu_ps(out + c * ME_ROWS + v * LANES, sums[c][v]);
}

/* One instance of the tile for each kind of weight... */
ME_INLINE void tile_of_width(const me_panel *panel, const me_activations *act, int first, float *sums,
                             const int columns) {
    if (!panel->format)
        tile_floats(panel, act, first, sums, columns);
    else if (panel->format->kind.has_min && panel->format->kind.has_halves)
        tile_blocks(panel, act, first, sums, (me_kind){.has_min = true, .has_halves = true}, columns);
    else if (panel->format->kind.has_min)
        tile_blocks(panel, act, first, sums, (me_kind){.has_min = true}, columns);
    else if (panel->format->kind.has_halves)
        tile_blocks(panel, act, first, sums, (me_kind){.has_halves = true}, columns);
    else
        tile_blocks(panel, act, first, sums, (me_kind){0}, columns);
}

/* ... and each number of columns. */
static void tile(const me_panel *panel, const me_activations *act, int first, int columns, float *sums) {
    switch (columns) {
    case ME_GROUP:
        tile_of_width(panel, act, first, sums, ME_GROUP);
        break;
    case 3:
        tile_of_width(panel, act, first, sums, 3);
        break;
    case 2:
        tile_of_width(panel, act, first, sums, 2);
        break;
    default:
        tile_of_width(panel, act, first, sums, 1);
    }
}

static void matmul(const me_tensor *weight, const me_activations *act, int64_t row0, int64_t row1, float *y,
                   size_t ldy, void *scratch) {
    static const me_tiler tiler = {tile, widths, ME_UNSIGNED_FOURS};
    me_panel_matmul(weight, act, row0, row1, y, ldy, scratch, &tiler, &tiler);
}

#ifdef ME_EMULATE_AVX512
extern const me_kernels me_kernels_avx512vnni_emulated;
const me_kernels me_kernels_avx512vnni_emulated = {
    .name = "avx512vnni (emulated)",
#else
const me_kernels me_kernels_avx512vnni = {
    .name = "avx512vnni",
#endif
    .supported = supported,
    .panel_rows = ME_ROWS,
    .quantize = me_quantize_columns,
    .scratch_bytes = me_panel_scratch_bytes,
    .matmul = matmul,
};
