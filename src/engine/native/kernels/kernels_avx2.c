/* AVX2, FMA and F16C: tiles of 16 rows (two vectors of 8) by up to 4 columns, 6 for float weights.
 *
 * vpmaddubsw multiplies four unsigned weights of each of 8 rows with four activations and leaves two int16
 * sums a row. With b-bit weights, 2 * (2^b - 1) * 127 lets several of them be added in int16 before they
 * are widened: 8 for 4 bits, 4 for 5 and for the halves of 2 and 3, 2 for 6. 8-bit weights go as |w| times the activation with the sign
 * of w, two products to an int16 (2 * 128 * 127). */
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"
#include "engine/native/kernels/vectors_avx2.h"

static const me_panel_form panel_form = ME_UNSIGNED_FOURS;

/* Every processor with AVX2 has F16C, which clang 14 cannot ask for. */
static bool supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* Holds the compiler to the order of the source: left to itself, gcc turns a chain of additions into a tree
 * whose leaves do not fit in the registers, and keeps what is loaded twice on the stack in between. */
ME_INLINE void in_order(__m256i *sum) {
    __asm__ volatile("" : "+x"(*sum) : : "memory");
}

/* What widens a part in half `half` of a block to int32, vector v of the rows. */
ME_INLINE __m256i multipliers(const me_panel *panel, int b, int half, int v, const me_kind kind) {
    return kind.has_halves ? half_scale_pairs(panel, b, half, v) : _mm256_set1_epi16(1);
}

/* Integer sums of block b of the panel and of the columns' blocks at x [columns][ME_BLOCK]. */
ME_INLINE void dot_block_unsigned(const me_panel *panel, int b, const int8_t *x, ints (*sums)[VECTORS],
                                  const me_kind kind, const int columns) {
    const uint8_t *const q = panel->q + b * ME_PANEL_BYTES;
    const int parts = kind.bits == 4 ? 1 : kind.bits == 6 ? 4 : 2, steps = ME_STEPS / parts;
    ME_UNROLL(4)
    for (int part = 0; part < parts; part++) {
        __m256i acc[ME_GROUP][VECTORS];
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
                __m256i wide = _mm256_madd_epi16(acc[c][v], multipliers(panel, b, 2 * part / parts, v, kind));
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

ME_INLINE void dot_block(const me_panel *panel, int b, const int8_t *x, ints (*sums)[VECTORS],
                         const me_kind kind, const int columns) {
    if (kind.bits == 8)
        dot_block_signed(panel->q + b * ME_PANEL_BYTES, x, sums, columns);
    else
        dot_block_unsigned(panel, b, x, sums, kind, columns);
}

ME_INLINE ints less_offset(ints dot, const me_panel *panel, int b, int v, const int16_t *half_sums,
                           const me_kind kind) {
    return kind.bits == 8 ? dot : less_whole_offset(dot, panel, b, v, half_sums, kind);
}

#include "engine/native/kernels/tiles.h"

const me_kernels me_kernels_avx2 = {
    .name = "avx2",
    .supported = supported,
    .panel_rows = ME_ROWS,
    .quantize = me_quantize_columns,
    .scratch_bytes = me_panel_scratch_bytes,
    .matmul = matmul,
};
