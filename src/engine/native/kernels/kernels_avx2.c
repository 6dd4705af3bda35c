/* AVX2, FMA and F16C: tiles of 16 rows (two vectors of 8) by up to 4 columns, 6 for float weights.
 *
 * vpmaddubsw multiplies four unsigned weights of each of 8 rows with four activations and leaves two int16
 * sums a row. With b-bit weights, 2 * (2^b - 1) * 127 lets several of them be added in int16 before they
 * are widened: 8 for 4 bits, 4 for 5, 2 for 6. 8-bit weights go as |w| times the activation with the sign
 * of w, two products to an int16 (2 * 128 * 127). */
#include "engine/native/kernels/panel.h"
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"

#include <immintrin.h>

enum { VECTORS = 2, LANES = 8, COLUMNS = ME_GROUP, FLOAT_COLUMNS = 6 };

/* Every processor with AVX2 has F16C, which clang 14 cannot ask for. */
static bool supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

ME_INLINE __m256i load(const void *p) {
    return _mm256_load_si256(p);
}

/* Four bytes to all lanes. */
ME_INLINE __m256i broadcast4(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
}

/* Holds the compiler to the order of the source: left to itself, gcc turns a chain of additions into a tree
 * whose leaves do not fit in the registers, and keeps what is loaded twice on the stack in between. */
ME_INLINE void in_order(__m256i *sum) {
    __asm__ volatile("" : "+x"(*sum) : : "memory");
}

/* What widens part `part` of a block to int32, vector v of the rows. */
ME_INLINE __m256i multipliers(const me_panel *panel, int b, int part, int v, const int bits) {
    if (bits == 6) return load(panel->half_scales + ((b * 2 + part / 2) * ME_ROWS + v * LANES) * 2);
    return _mm256_set1_epi16(1);
}

/* -offset * (half scale) of each half, to be multiplied with the half sums of a column. */
ME_INLINE __m256i negative_offsets(const me_panel *panel, int b, int v, const int bits) {
    __m256i offset = _mm256_set1_epi16((short)-panel->format->offset);
    if (bits != 6) return offset;
    __m256i pairs =
        _mm256_blend_epi16(multipliers(panel, b, 0, v, bits), multipliers(panel, b, 2, v, bits), 0xaa);
    return _mm256_mullo_epi16(pairs, offset);
}

/* Integer sums of block b of the panel and of the columns' blocks at x [columns][ME_BLOCK]. */
ME_INLINE void dot_block(const me_panel *panel, int b, const int8_t *x, __m256i (*sums)[VECTORS],
                         const int bits, const int columns) {
    const uint8_t *const q = panel->q + b * ME_PANEL_BYTES;
    const int parts = bits == 4 ? 1 : bits == 5 ? 2 : 4, steps = ME_STEPS / parts;
    ME_UNROLL(4)
    for (int part = 0; part < parts; part++) {
        __m256i acc[COLUMNS][VECTORS];
        ME_UNROLL(8)
        for (int i = 0; i < steps; i++) {
            int step = part * steps + i;
            __m256i w[VECTORS] = {load(q + step * ME_ROWS * 4), load(q + (step * ME_ROWS + LANES) * 4)};
            ME_UNROLL(4)
            for (int c = 0; c < columns; c++) {
                __m256i a = broadcast4(x + c * ME_BLOCK + 4 * step);
                ME_UNROLL(2)
                for (int v = 0; v < VECTORS; v++) {
                    __m256i product = _mm256_maddubs_epi16(w[v], a);
                    acc[c][v] = i ? _mm256_add_epi16(acc[c][v], product) : product;
                    in_order(&acc[c][v]);
                }
            }
        }
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++) {
                __m256i wide = _mm256_madd_epi16(acc[c][v], multipliers(panel, b, part, v, bits));
                sums[c][v] = part ? _mm256_add_epi32(sums[c][v], wide) : wide;
            }
        }
    }
}

/* The same for 8-bit weights, whose offset is taken off before. */
ME_INLINE void dot_block_signed(const uint8_t *q, const int8_t *x, __m256i (*sums)[VECTORS],
                                const int columns) {
    const __m256i ones = _mm256_set1_epi16(1), offset = _mm256_set1_epi8(-128);
    ME_UNROLL(8)
    for (int step = 0; step < ME_STEPS; step++) {
        __m256i w[VECTORS], magnitude[VECTORS];
        ME_UNROLL(2)
        for (int v = 0; v < VECTORS; v++) {
            w[v] = _mm256_xor_si256(load(q + (step * ME_ROWS + v * LANES) * 4), offset);
            magnitude[v] = _mm256_abs_epi8(w[v]);
        }
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            __m256i a = broadcast4(x + c * ME_BLOCK + 4 * step);
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++) {
                __m256i pairs = _mm256_maddubs_epi16(magnitude[v], _mm256_sign_epi8(a, w[v]));
                __m256i product = _mm256_madd_epi16(pairs, ones);
                sums[c][v] = step ? _mm256_add_epi32(sums[c][v], product) : product;
                in_order(&sums[c][v]);
            }
        }
    }
}

ME_INLINE void tile_blocks(const me_panel *panel, const me_activations *act, int first, float *restrict out,
                           const int bits, const bool has_min, const int columns) {
    const size_t start = me_act_at(act, first, panel->first_block);
    const bool has_offset = !has_min && bits != 8;
    const int8_t *x = act->q + start * ME_BLOCK;
    const int16_t *half_sums = act->half_sums + 2 * start;
    const float *d = act->d + start, *s = act->s + start, *scale = panel->scale, *min = panel->min;
    for (int b = 0; b < panel->n_blocks; b++) {
        __m256i sums[COLUMNS][VECTORS];
        if (bits == 8)
            dot_block_signed(panel->q + b * ME_PANEL_BYTES, x, sums, columns);
        else
            dot_block(panel, b, x, sums, bits, columns);
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            const __m256 column_d = _mm256_broadcast_ss(d + c);
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++) {
                __m256 total = _mm256_load_ps(out + c * ME_ROWS + v * LANES);
                __m256i dot = sums[c][v];
                if (has_offset)
                    dot = _mm256_add_epi32(dot, _mm256_madd_epi16(broadcast4(half_sums + 2 * c),
                                                                  negative_offsets(panel, b, v, bits)));
                total = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_load_ps(scale + v * LANES), column_d),
                                        _mm256_cvtepi32_ps(dot), total);
                if (has_min)
                    total =
                        _mm256_fmadd_ps(_mm256_load_ps(min + v * LANES), _mm256_broadcast_ss(s + c), total);
                _mm256_store_ps(out + c * ME_ROWS + v * LANES, total);
            }
        }
        x += ME_GROUP * ME_BLOCK, d += ME_GROUP, s += ME_GROUP, half_sums += 2 * ME_GROUP;
        scale += ME_ROWS, min += ME_ROWS;
    }
}

ME_INLINE void tile_floats_of_width(const me_panel *panel, const me_activations *act, int first,
                                    float *restrict out, const int columns) {
    const float *x = act->x + (size_t)first * act->n_in + (size_t)panel->first_block * ME_BLOCK;
    const float *w = panel->w;
    __m256 sums[FLOAT_COLUMNS][VECTORS];
    ME_UNROLL(6)
    for (int c = 0; c < columns; c++) {
        ME_UNROLL(2)
        for (int v = 0; v < VECTORS; v++)
            sums[c][v] = _mm256_load_ps(out + c * ME_ROWS + v * LANES);
    }
    for (int i = 0; i < panel->n_values; i++, w += ME_ROWS, x++) {
        ME_UNROLL(6)
        for (int c = 0; c < columns; c++) {
            __m256 a = _mm256_broadcast_ss(x + (size_t)c * act->n_in);
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++)
                sums[c][v] = _mm256_fmadd_ps(_mm256_load_ps(w + v * LANES), a, sums[c][v]);
        }
    }
    ME_UNROLL(6)
    for (int c = 0; c < columns; c++) {
        ME_UNROLL(2)
        for (int v = 0; v < VECTORS; v++)
            _mm256_store_ps(out + c * ME_ROWS + v * LANES, sums[c][v]);
    }
}

static void tile_floats(const me_panel *panel, const me_activations *act, int first, int columns,
                        float *sums) {
    switch (columns) {
    case 6:
        tile_floats_of_width(panel, act, first, sums, 6);
        break;
    case 4:
        tile_floats_of_width(panel, act, first, sums, 4);
        break;
    case 2:
        tile_floats_of_width(panel, act, first, sums, 2);
        break;
    default:
        tile_floats_of_width(panel, act, first, sums, 1);
    }
}

/* One instance of the tile for each kind of integer weight... */
ME_INLINE void tile_of_width(const me_panel *panel, const me_activations *act, int first, float *sums,
                             const int columns) {
    const int bits = panel->format->bits;
    const bool has_min = panel->format->has_min;
    if (bits == 4 && has_min)
        tile_blocks(panel, act, first, sums, 4, true, columns);
    else if (bits == 4)
        tile_blocks(panel, act, first, sums, 4, false, columns);
    else if (bits == 5 && has_min)
        tile_blocks(panel, act, first, sums, 5, true, columns);
    else if (bits == 5)
        tile_blocks(panel, act, first, sums, 5, false, columns);
    else if (bits == 6)
        tile_blocks(panel, act, first, sums, 6, false, columns);
    else
        tile_blocks(panel, act, first, sums, 8, false, columns);
}

/* ... and each number of columns. */
static void tile(const me_panel *panel, const me_activations *act, int first, int columns, float *sums) {
    switch (columns) {
    case 4:
        tile_of_width(panel, act, first, sums, 4);
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
    static const int widths[] = {COLUMNS, 3, 2, 1}, float_widths[] = {FLOAT_COLUMNS, 4, 2, 1};
    static const me_tiler integers = {tile, widths}, floats = {tile_floats, float_widths};
    me_panel_matmul(weight, act, row0, row1, y, ldy, scratch, &integers, &floats);
}

const me_kernels me_kernels_avx2 = {
    .name = "avx2",
    .supported = supported,
    .panel_rows = ME_ROWS,
    .quantize = me_quantize_columns,
    .scratch_bytes = me_panel_scratch_bytes,
    .matmul = matmul,
};
