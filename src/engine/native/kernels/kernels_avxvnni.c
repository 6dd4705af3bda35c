/* AVX-VNNI, the 256-bit form of VNNI for processors without AVX512: tiles of 16 rows (two vectors of 8) by up
 * to 4 columns, 6 for float weights.
 *
 * vpdpbusd adds the products of four unsigned weights and four activations of each row to an int32, exactly.
 *
 * With ME_EMULATE_AVXVNNI the same source makes a table over AVX2, for which the includer brings vpdpbusd: so
 * it is tested where no processor has it (tests/engine/native/kernels/kernels_emulated_avxvnni.c). */
#include "engine/native/kernels/quantize.h"
#include "engine/native/kernels/tables.h"
#include "engine/native/kernels/vectors_avx2.h"

#include <cpuid.h>

static const me_panel_form panel_form = ME_UNSIGNED_FOURS;

static bool supported(void) {
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#ifdef ME_EMULATE_AVXVNNI
    return avx2;
#else
    enum { FEATURES = 7, MORE = 1, AVX_VNNI = 1 << 4 };
    unsigned a, b, c, d;
    return avx2 && __get_cpuid_count(FEATURES, MORE, &a, &b, &c, &d) && a & AVX_VNNI;
#endif
}

/* Integer sums of `steps` steps, weights at q and the columns' values at x, ME_BLOCK apart. */
ME_INLINE void dot_steps(const uint8_t *q, const int8_t *x, const int steps, ints (*sums)[VECTORS],
                         const int columns) {
    ME_UNROLL(8)
    for (int step = 0; step < steps; step++) {
        ints w[VECTORS] = {load(q + step * ME_ROWS * 4), load(q + (step * ME_ROWS + LANES) * 4)};
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            ints a = broadcast4(x + c * ME_BLOCK + 4 * step);
            ME_UNROLL(2)
            for (int v = 0; v < VECTORS; v++)
                sums[c][v] = _mm256_dpbusd_avx_epi32(step ? sums[c][v] : _mm256_setzero_si256(), w[v], a);
        }
    }
}

/* sums = first * scale of the first half + sums * scale of the second */
ME_INLINE void scale_halves(const me_panel *panel, int b, ints (*first)[VECTORS], ints (*sums)[VECTORS],
                            const int columns) {
    ME_UNROLL(2)
    for (int v = 0; v < VECTORS; v++) {
        ints scale0 = _mm256_srai_epi32(half_scale_pairs(panel, b, 0, v), 16);
        ints scale1 = _mm256_srai_epi32(half_scale_pairs(panel, b, 1, v), 16);
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++)
            sums[c][v] = _mm256_add_epi32(_mm256_mullo_epi32(first[c][v], scale0),
                                          _mm256_mullo_epi32(sums[c][v], scale1));
    }
}

ME_INLINE void dot_block(const me_panel *panel, int b, const int8_t *x, ints (*sums)[VECTORS],
                         const me_kind kind, const int columns) {
    enum { HALF = ME_STEPS / 2 };
    const uint8_t *const q = panel->q + b * ME_PANEL_BYTES;
    if (!kind.has_halves) {
        dot_steps(q, x, ME_STEPS, sums, columns);
        return;
    }
    ints first[ME_GROUP][VECTORS];
    dot_steps(q, x, HALF, first, columns);
    dot_steps(q + HALF * ME_ROWS * 4, x + HALF * 4, HALF, sums, columns);
    scale_halves(panel, b, first, sums, columns);
}

#define less_offset less_whole_offset
#include "engine/native/kernels/tiles.h"

#ifdef ME_EMULATE_AVXVNNI
extern const me_kernels me_kernels_avxvnni_emulated;
const me_kernels me_kernels_avxvnni_emulated = {
    .name = "avxvnni (emulated)",
#else
const me_kernels me_kernels_avxvnni = {
    .name = "avxvnni",
#endif
    .supported = supported,
    .panel_rows = ME_ROWS,
    .quantize = me_quantize_columns,
    .scratch_bytes = me_panel_scratch_bytes,
    .matmul = matmul,
};
