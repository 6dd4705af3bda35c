/* NEON of any aarch64 processor: tiles of 16 rows (four vectors of 4)
 * by up to 4 columns, 6 for float weights.
 *
 * smlal adds the products of single weights and activations to int16. With signed b-bit weights, several of
 * them fit before they are widened: 8 for 4 bits (15 * 127 each) and 5 bits (31 * 127), 4 for the halves
 * of 2, 3 and 6 bits (32 * 127), 2 for 8 bits (128 * 127). */
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"
#include "engine/native/kernels/vectors_neon.h"

static const me_panel_form panel_form = ME_SIGNED_FOURS;

static bool supported(void) {
    return true;
}

/* Four rows' sums, of vectors of pairs of rows that hold four partial sums each. */
ME_INLINE ints add_partial(int16x8_t low, int16x8_t high) {
    return vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}

ME_INLINE void dot_steps(const uint8_t *q, const int8_t *x, const int steps, ints (*sums)[VECTORS],
                         const int bits, const int columns) {
    const int narrow = bits == 8 ? 2 : steps, parts = steps / narrow;
    ME_UNROLL(4)
    for (int v = 0; v < VECTORS; v++) {
        ME_UNROLL(4)
        for (int part = 0; part < parts; part++) {
            int16x8_t low[ME_GROUP], high[ME_GROUP];
            ME_UNROLL(8)
            for (int i = 0; i < narrow; i++) {
                const int step = part * narrow + i;
                int8x16_t w = load_bytes(q + (step * ME_ROWS + v * LANES) * 4);
                ME_UNROLL(4)
                for (int c = 0; c < columns; c++) {
                    int32_t four;
                    memcpy(&four, x + c * ME_BLOCK + 4 * step, sizeof four);
                    int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(four));
                    low[c] = i ? vmlal_s8(low[c], vget_low_s8(w), vget_low_s8(a))
                               : vmull_s8(vget_low_s8(w), vget_low_s8(a));
                    high[c] = i ? vmlal_high_s8(high[c], w, a) : vmull_high_s8(w, a);
                }
            }
            ME_UNROLL(4)
            for (int c = 0; c < columns; c++) {
                ints wide = add_partial(low[c], high[c]);
                sums[c][v] = part ? vaddq_s32(sums[c][v], wide) : wide;
            }
        }
    }
}

#include "engine/native/kernels/tiles.h"

const me_kernels me_kernels_neon = {
    .name = "neon",
    .supported = supported,
    .panel_rows = ME_ROWS,
    .quantize = me_quantize_columns,
    .scratch_bytes = me_panel_scratch_bytes,
    .matmul = matmul,
};
