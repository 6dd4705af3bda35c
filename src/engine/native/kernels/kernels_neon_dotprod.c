/* NEON with dotprod: tiles of 16 rows (four vectors of 4) by up to 4 columns, 6 for float weights.
 *
 * sdot adds the products of four signed weights of each of 4 rows and
 * four activations to an int32, exactly. */
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"
#include "engine/native/kernels/vectors_neon.h"

#include <sys/auxv.h>

static const me_panel_form panel_form = ME_SIGNED_FOURS;

static bool supported(void) {
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}

/* sum + four weights of each row times group `group` of four activations */
ME_INLINE ints dot_fours(ints sum, int8x16_t w, int8x16_t x, const int group) {
    switch (group) {
    case 0:
        return vdotq_laneq_s32(sum, w, x, 0);
    case 1:
        return vdotq_laneq_s32(sum, w, x, 1);
    case 2:
        return vdotq_laneq_s32(sum, w, x, 2);
    default:
        return vdotq_laneq_s32(sum, w, x, 3);
    }
}

ME_INLINE void dot_steps(const uint8_t *q, const int8_t *x, const int steps, ints (*sums)[VECTORS],
                         const int bits, const int columns) {
    (void)bits;
    ME_UNROLL(2)
    for (int step = 0; step < steps; step += 4) {
        int8x16_t a[ME_GROUP];
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++)
            a[c] = load_bytes(x + c * ME_BLOCK + 4 * step);
        ME_UNROLL(4)
        for (int group = 0; group < 4; group++) {
            ME_UNROLL(4)
            for (int v = 0; v < VECTORS; v++) {
                int8x16_t w = load_bytes(q + ((step + group) * ME_ROWS + v * LANES) * 4);
                ME_UNROLL(4)
                for (int c = 0; c < columns; c++)
                    sums[c][v] = dot_fours(step + group ? sums[c][v] : vdupq_n_s32(0), w, a[c], group);
            }
        }
    }
}

#include "engine/native/kernels/tiles.h"

const me_kernels me_kernels_neon_dotprod = {
    .name = "neon-dotprod",
    .supported = supported,
    .panel_rows = ME_ROWS,
    .quantize = me_quantize_columns,
    .scratch_bytes = me_panel_scratch_bytes,
    .matmul = matmul,
};
