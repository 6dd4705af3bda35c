/* AVX512 with VNNI: tiles of 16 rows (one vector) by up to 12 columns.
 *
 * vpdpbusd adds the products of four unsigned weights and four activations of each row to an int32: exact
 * for 8-bit weights too. Offsets are taken off by starting the sum at -offset * sum(x).
 *
 * With ME_EMULATE_AVX512 the same source makes a table over portable intrinsics, which the includer brings:
 * so it is tested on any machine (tests/kernels_emulated.c). */
#include "engine/native/kernels/panel.h"
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"

#ifdef ME_EMULATE_AVX512
/* Speed does not matter, and portable intrinsics unrolled a hundredfold take minutes to compile. */
#define INLINE static __attribute__((noinline))
#define UNROLL(n)
#else
#include <immintrin.h>
#define INLINE static inline __attribute__((always_inline))
#define UNROLL(n) PRAGMA(GCC unroll n)
#define PRAGMA(text) _Pragma(#text)
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
INLINE __m512i broadcast4(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

INLINE __m512 half_scale(const me_panel *panel, int b, int half) {
    __m512i pairs = _mm512_loadu_si512(panel->half_scales + (b * 2 + half) * ME_ROWS * 2);
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(pairs, 16));
}

/* Integer sums of steps [step0, step1) of one block. x: the block of the tile's first column; starts:
 * int16 pairs that are multiplied with its half sums; stride: values between columns. */
INLINE void dot_steps(const uint8_t *q, const int8_t *x, const int16_t *half_sums, size_t stride,
                      __m512i starts, const int step0, const int step1, __m512i *sums, const int columns) {
    UNROLL(12)
    for (int c = 0; c < columns; c++)
        sums[c] =
            _mm512_dpwssd_epi32(_mm512_setzero_si512(), starts, broadcast4(half_sums + c * (stride / 16)));
    UNROLL(8)
    for (int step = step0; step < step1; step++) {
        __m512i w = _mm512_loadu_si512(q + step * ME_ROWS * 4);
        UNROLL(12)
        for (int c = 0; c < columns; c++)
            sums[c] = _mm512_dpbusd_epi32(sums[c], w, broadcast4(x + c * stride + 4 * step));
    }
}

/* The block's sums as floats: exact, since both are below 2^24. */
INLINE void dot_block(const me_panel *panel, int b, const int8_t *x, const int16_t *half_sums, size_t stride,
                      __m512 *dots, const bool has_halves, const int columns) {
    const uint8_t *q = panel->q + b * ME_PANEL_BYTES;
    const int offset = -panel->format->offset & 0xffff;
    __m512i sums[MAX_COLUMNS];
    if (!has_halves) {
        dot_steps(q, x, half_sums, stride, _mm512_set1_epi32(offset | offset << 16), 0, ME_STEPS, sums,
                  columns);
        UNROLL(12)
        for (int c = 0; c < columns; c++)
            dots[c] = _mm512_cvtepi32_ps(sums[c]);
        return;
    }
    dot_steps(q, x, half_sums, stride, _mm512_set1_epi32(offset), 0, ME_STEPS / 2, sums, columns);
    UNROLL(12)
    for (int c = 0; c < columns; c++)
        dots[c] = _mm512_mul_ps(half_scale(panel, b, 0), _mm512_cvtepi32_ps(sums[c]));
    dot_steps(q, x, half_sums, stride, _mm512_set1_epi32(offset << 16), ME_STEPS / 2, ME_STEPS, sums,
              columns);
    UNROLL(12)
    for (int c = 0; c < columns; c++)
        dots[c] = _mm512_fmadd_ps(half_scale(panel, b, 1), _mm512_cvtepi32_ps(sums[c]), dots[c]);
}

INLINE void tile_blocks(const me_panel *panel, const me_activations *act, int first, float *out,
                        const bool has_min, const bool has_halves, const int columns) {
    for (int b = 0; b < panel->n_blocks; b++) {
        size_t at = (size_t)first * act->n_blocks + panel->first_block + b;
        __m512 dots[MAX_COLUMNS], scale = _mm512_loadu_ps(panel->scale + b * ME_ROWS), min = scale;
        if (has_min) min = _mm512_loadu_ps(panel->min + b * ME_ROWS);
        dot_block(panel, b, act->q + at * ME_BLOCK, act->half_sums + 2 * at, (size_t)act->n_blocks * ME_BLOCK,
                  dots, has_halves, columns);
        UNROLL(12)
        for (int c = 0; c < columns; c++, at += act->n_blocks) {
            __m512 sum = _mm512_loadu_ps(out + c * ME_ROWS);
            sum = _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(act->d[at])), dots[c], sum);
            if (has_min) sum = _mm512_fmadd_ps(min, _mm512_set1_ps(act->s[at]), sum);
            _mm512_storeu_ps(out + c * ME_ROWS, sum);
        }
    }
}

INLINE void tile_floats(const me_panel *panel, const me_activations *act, int first, float *out,
                        const int columns) {
    const float *x = act->x + (size_t)first * act->n_in + (size_t)panel->first_block * ME_BLOCK;
    __m512 sums[MAX_COLUMNS];
    UNROLL(12)
    for (int c = 0; c < columns; c++)
        sums[c] = _mm512_loadu_ps(out + c * ME_ROWS);
    for (int i = 0; i < panel->n_values; i++) {
        __m512 w = _mm512_loadu_ps(panel->w + i * ME_ROWS);
        UNROLL(12)
        for (int c = 0; c < columns; c++)
            sums[c] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[(size_t)c * act->n_in + i]), sums[c]);
    }
    UNROLL(12)
    for (int c = 0; c < columns; c++)
        _mm512_storeu_ps(out + c * ME_ROWS, sums[c]);
}

/* One instance of the tile for each kind of weight... */
INLINE void tile_of_width(const me_panel *panel, const me_activations *act, int first, float *sums,
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
    static const me_tiler tiler = {tile, widths};
    me_panel_matmul(weight, act, row0, row1, y, ldy, scratch, &tiler);
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
