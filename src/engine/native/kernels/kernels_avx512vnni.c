/* AVX512 with VNNI: tiles of 16 rows (one vector) by up to 12 columns.
 *
 * vpdpbusd adds the products of four unsigned weights and four activations of each row to an int32: exact
 * for 8-bit weights too. Offsets are taken off by starting the sum at -offset * sum(x).
 *
 * With ME_EMULATE_AVX512 the same source makes a table over portable intrinsics, which the includer brings:
 * so it is tested on any machine (tests/kernels_emulated_avx512vnni.c). */
#include "engine/native/kernels/panel.h"
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"

#ifndef ME_EMULATE_AVX512
#include <immintrin.h>
#endif

enum { MAX_COLUMNS = 12 };

static const int widths[] = {12, 8, 4, 2, 1};

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

ME_INLINE __m512 half_scale(const me_panel *panel, int b, int half) {
    __m512i twice = _mm512_loadu_si512(panel->half_scales + (b * 2 + half) * ME_ROWS * 2);
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(twice, 16));
}

/* Column c of a tile is at c / ME_GROUP group strides and c % ME_GROUP blocks: a pointer a group. */
enum { GROUPS = MAX_COLUMNS / ME_GROUP };

ME_INLINE size_t place(int c, size_t stride) {
    return (size_t)(c / ME_GROUP) * stride + (size_t)(c % ME_GROUP);
}

/* Integer sums += steps [step0, step1) of a block. */
ME_INLINE void dot_steps(const uint8_t *q, const int8_t *const *x, const int step0, const int step1,
                         __m512i *sums, const int columns) {
    ME_UNROLL(8)
    for (int step = step0; step < step1; step++) {
        __m512i w = _mm512_loadu_si512(q + step * ME_ROWS * 4);
        ME_UNROLL(12)
        for (int c = 0; c < columns; c++)
            sums[c] = _mm512_dpbusd_epi32(sums[c], w,
                                          broadcast4(x[c / ME_GROUP] + c % ME_GROUP * ME_BLOCK + 4 * step));
    }
}

/* sums = pairs of int16 times the half sums of the columns' blocks. */
ME_INLINE void start_sums(const int16_t *half_sums, size_t stride, __m512i factors, __m512i *sums,
                          const int columns) {
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        sums[c] = _mm512_dpwssd_epi32(_mm512_setzero_si512(), factors,
                                      broadcast4(half_sums + 2 * place(c, stride)));
}

/* The block's sums as floats: exact, since integers and their products are below 2^24. */
ME_INLINE void dot_block(const me_panel *panel, int b, const int8_t *const *x, const int16_t *half_sums,
                         size_t stride, __m512 *dots, const bool has_min, const bool has_halves,
                         const int columns) {
    const uint8_t *q = panel->q + b * ME_PANEL_BYTES;
    const int start = -panel->format->offset, half = ME_STEPS / 2;
    __m512i sums[MAX_COLUMNS];
    ME_UNROLL(12)
    for (int c = 0; c < columns && has_min; c++)
        sums[c] = _mm512_setzero_si512();
    if (!has_min) start_sums(half_sums, stride, pairs(start, has_halves ? 0 : start), sums, columns);
    dot_steps(q, x, 0, has_halves ? half : ME_STEPS, sums, columns);
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        dots[c] = _mm512_cvtepi32_ps(sums[c]);
    if (!has_halves) return;
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        dots[c] = _mm512_mul_ps(half_scale(panel, b, 0), dots[c]);
    start_sums(half_sums, stride, pairs(0, start), sums, columns);
    dot_steps(q, x, half, ME_STEPS, sums, columns);
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        dots[c] = _mm512_fmadd_ps(half_scale(panel, b, 1), _mm512_cvtepi32_ps(sums[c]), dots[c]);
}

ME_INLINE void tile_blocks(const me_panel *panel, const me_activations *act, int first, float *out,
                           const bool has_min, const bool has_halves, const int columns) {
    const size_t stride = me_act_group_stride(act, panel->first_block),
                 start = me_act_at(act, first, panel->first_block);
    const float *d = act->d + start, *s = act->s + start, *scale = panel->scale, *min = panel->min;
    const int16_t *half_sums = act->half_sums + 2 * start;
    const int8_t *x[GROUPS];
    __m512 dots[MAX_COLUMNS], sums[MAX_COLUMNS];
    ME_UNROLL(3)
    for (int g = 0; g * ME_GROUP < columns; g++)
        x[g] = act->q + (start + g * stride) * ME_BLOCK;
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        sums[c] = _mm512_loadu_ps(out + c * ME_ROWS);
    for (int b = 0; b < panel->n_blocks; b++) {
        dot_block(panel, b, x, half_sums + 2 * b * ME_GROUP, stride, dots, has_min, has_halves, columns);
        ME_UNROLL(12)
        for (int c = 0; c < columns; c++) {
            __m512 factor = _mm512_mul_ps(_mm512_loadu_ps(scale + b * ME_ROWS),
                                          _mm512_set1_ps(d[place(c, stride) + b * ME_GROUP]));
            sums[c] = _mm512_fmadd_ps(factor, dots[c], sums[c]);
            if (has_min)
                sums[c] = _mm512_fmadd_ps(_mm512_loadu_ps(min + b * ME_ROWS),
                                          _mm512_set1_ps(s[place(c, stride) + b * ME_GROUP]), sums[c]);
        }
        ME_UNROLL(3)
        for (int g = 0; g * ME_GROUP < columns; g++)
            x[g] += ME_GROUP * ME_BLOCK;
    }
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        _mm512_storeu_ps(out + c * ME_ROWS, sums[c]);
}

ME_INLINE void tile_floats(const me_panel *panel, const me_activations *act, int first, float *out,
                           const int columns) {
    const float *x = act->x + (size_t)first * act->n_in + (size_t)panel->first_block * ME_BLOCK;
    __m512 sums[MAX_COLUMNS];
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        sums[c] = _mm512_loadu_ps(out + c * ME_ROWS);
    for (int i = 0; i < panel->n_values; i++) {
        __m512 w = _mm512_loadu_ps(panel->w + i * ME_ROWS);
        ME_UNROLL(12)
        for (int c = 0; c < columns; c++)
            sums[c] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[(size_t)c * act->n_in + i]), sums[c]);
    }
    ME_UNROLL(12)
    for (int c = 0; c < columns; c++)
        _mm512_storeu_ps(out + c * ME_ROWS, sums[c]);
}

/* One instance of the tile for each kind of weight... */
ME_INLINE void tile_of_width(const me_panel *panel, const me_activations *act, int first, float *sums,
                             const int columns) {
    if (!panel->format)
        tile_floats(panel, act, first, sums, columns);
    else if (panel->format->has_min)
        tile_blocks(panel, act, first, sums, true, false, columns);
    else if (panel->format->has_halves)
        tile_blocks(panel, act, first, sums, false, true, columns);
    else
        tile_blocks(panel, act, first, sums, false, false, columns);
}

/* ... and each number of columns. */
static void tile(const me_panel *panel, const me_activations *act, int first, int columns, float *sums) {
    switch (columns) {
    case 12:
        tile_of_width(panel, act, first, sums, 12);
        break;
    case 8:
        tile_of_width(panel, act, first, sums, 8);
        break;
    case 4:
        tile_of_width(panel, act, first, sums, 4);
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
