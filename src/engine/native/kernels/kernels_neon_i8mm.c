/* NEON with i8mm: tiles of 16 rows by up to 4 columns, 6 for float weights.
 *
 * smmla multiplies eight signed weights of 2 rows with eight activations of 2 columns: twice the products of
 * sdot. Its sums are 2 x 2 matrices, which are taken apart once a block. */
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"
#include "engine/native/kernels/vectors_neon.h"

#include <sys/auxv.h>

enum { PAIRS = ME_GROUP / 2, ROW_PAIRS = ME_ROWS / 2 };

static const me_panel_form panel_form = ME_SIGNED_EIGHTS;

static bool supported(void) {
    return getauxval(AT_HWCAP2) & HWCAP2_I8MM;
}

/* Eight values each of two columns, from `half` of 16: the columns' values beside each other. */
ME_INLINE int8x16_t beside(int8x16_t a, int8x16_t b, const int half) {
    int64x2_t x = vreinterpretq_s64_s8(a), y = vreinterpretq_s64_s8(b);
    return vreinterpretq_s8_s64(half ? vzip2q_s64(x, y) : vzip1q_s64(x, y));
}

/* products [pair][row pair] = rows x columns, each a 2 x 2 matrix; of an odd number of columns the last one
 * is taken twice. */
ME_INLINE void multiply_pairs(const uint8_t *q, const int8_t *x, const int steps, ints (*products)[ROW_PAIRS],
                              const int columns) {
    ME_UNROLL(4)
    for (int eight = 0; eight < steps / 2; eight++) {
        int8x16_t a[PAIRS];
        ME_UNROLL(2)
        for (int c = 0; c < columns; c += 2) {
            const int8_t *values = x + c * ME_BLOCK + eight / 2 * 16;
            a[c / 2] =
                beside(load_bytes(values), load_bytes(values + (c + 1 < columns ? ME_BLOCK : 0)), eight % 2);
        }
        ME_UNROLL(8)
        for (int r = 0; r < ROW_PAIRS; r++) {
            int8x16_t w = load_bytes(q + (eight * ME_ROWS + 2 * r) * 8);
            ME_UNROLL(2)
            for (int pair = 0; 2 * pair < columns; pair++)
                products[pair][r] = vmmlaq_s32(eight ? products[pair][r] : vdupq_n_s32(0), w, a[pair]);
        }
    }
}

ME_INLINE void dot_steps(const uint8_t *q, const int8_t *x, const int steps, ints (*sums)[VECTORS],
                         const int bits, const int columns) {
    (void)bits;
    ints products[PAIRS][ROW_PAIRS];
    multiply_pairs(q, x, steps, products, columns);
    ME_UNROLL(4)
    for (int c = 0; c < columns; c++) {
        ME_UNROLL(4)
        for (int v = 0; v < VECTORS; v++) {
            ints a = products[c / 2][2 * v], b = products[c / 2][2 * v + 1];
            sums[c][v] = c % 2 ? vuzp2q_s32(a, b) : vuzp1q_s32(a, b);
        }
    }
}

#include "engine/native/kernels/tiles.h"

const me_kernels me_kernels_neon_i8mm = {
    .name = "neon-i8mm",
    .supported = supported,
    .panel_rows = ME_ROWS,
    .quantize = me_quantize_columns,
    .scratch_bytes = me_panel_scratch_bytes,
    .matmul = matmul,
};
