/* Tiles of 16 rows by a few columns for tables whose processor has few vector registers: integer sums stay in
 * them for a block, float sums in memory.
 *
 * Static, like panel.h. A table's source includes its vectors first and brings what differs:
 *   enum { VECTORS, LANES }           16 rows as vectors of 32-bit values
 *   floats, ints                      these vectors; load_floats(), store_floats(), to_all_lanes(),
 *                                     multiply(), multiply_add() with one rounding, to_floats()
 *   panel_form                        how its panels hold integers
 *   dot_block()                       integer sums of a block
 *   less_offset()                     such a sum without the offset of the weights that are still in it
 *   half_min_sums()                   the half mins of a block times a column's half sums */
#ifndef ME_KERNELS_TILES_H
#define ME_KERNELS_TILES_H

#include "engine/native/kernels/panel.h"

enum { FLOAT_COLUMNS = 6 };

ME_INLINE void tile_blocks(const me_panel *panel, const me_activations *act, int first, float *restrict out,
                           const me_kind kind, const int columns) {
    const size_t start = me_act_at(act, first, panel->first_block);
    const int8_t *x = act->q + start * ME_BLOCK;
    const int16_t *half_sums = act->half_sums + 2 * start;
    const float *d = act->d + start, *s = act->s + start, *scale = panel->scale, *min = panel->min;
    for (int b = 0; b < panel->n_blocks; b++) {
        ints sums[ME_GROUP][VECTORS];
        dot_block(panel, b, x, sums, kind, columns);
        ME_UNROLL(4)
        for (int c = 0; c < columns; c++) {
            const floats column_d = to_all_lanes(d + c);
            ME_UNROLL(4)
            for (int v = 0; v < VECTORS; v++) {
                floats total = load_floats(out + c * ME_ROWS + v * LANES);
                ints dot = sums[c][v];
                if (!kind.has_min) dot = less_offset(dot, panel, b, v, half_sums + 2 * c, kind);
                total =
                    multiply_add(multiply(load_floats(scale + v * LANES), column_d), to_floats(dot), total);
                if (kind.has_min && kind.has_halves)
                    total = multiply_add(multiply(load_floats(min + v * LANES), column_d),
                                         to_floats(half_min_sums(panel, b, v, half_sums + 2 * c)), total);
                else if (kind.has_min)
                    total = multiply_add(load_floats(min + v * LANES), to_all_lanes(s + c), total);
                store_floats(out + c * ME_ROWS + v * LANES, total);
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
    floats sums[FLOAT_COLUMNS][VECTORS];
    ME_UNROLL(6)
    for (int c = 0; c < columns; c++) {
        ME_UNROLL(4)
        for (int v = 0; v < VECTORS; v++)
            sums[c][v] = load_floats(out + c * ME_ROWS + v * LANES);
    }
    for (int i = 0; i < panel->n_values; i++, w += ME_ROWS, x++) {
        ME_UNROLL(6)
        for (int c = 0; c < columns; c++) {
            floats a = to_all_lanes(x + (size_t)c * act->n_in);
            ME_UNROLL(4)
            for (int v = 0; v < VECTORS; v++)
                sums[c][v] = multiply_add(load_floats(w + v * LANES), a, sums[c][v]);
        }
    }
    ME_UNROLL(6)
    for (int c = 0; c < columns; c++) {
        ME_UNROLL(4)
        for (int v = 0; v < VECTORS; v++)
            store_floats(out + c * ME_ROWS + v * LANES, sums[c][v]);
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
    const me_kind kind = panel->format->kind;
    if (kind.bits == 2)
        tile_blocks(panel, act, first, sums, (me_kind){2, true, true}, columns);
    else if (kind.bits == 3)
        tile_blocks(panel, act, first, sums, (me_kind){3, false, true}, columns);
    else if (kind.bits == 4 && kind.has_min)
        tile_blocks(panel, act, first, sums, (me_kind){4, true, false}, columns);
    else if (kind.bits == 4)
        tile_blocks(panel, act, first, sums, (me_kind){4, false, false}, columns);
    else if (kind.bits == 5 && kind.has_min)
        tile_blocks(panel, act, first, sums, (me_kind){5, true, false}, columns);
    else if (kind.bits == 5)
        tile_blocks(panel, act, first, sums, (me_kind){5, false, false}, columns);
    else if (kind.bits == 6)
        tile_blocks(panel, act, first, sums, (me_kind){6, false, true}, columns);
    else
        tile_blocks(panel, act, first, sums, (me_kind){8, false, false}, columns);
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
    static const int widths[] = {ME_GROUP, 3, 2, 1}, float_widths[] = {FLOAT_COLUMNS, 4, 2, 1};
    const me_tiler integers = {tile, widths, panel_form}, others = {tile_floats, float_widths, panel_form};
    me_panel_matmul(weight, act, row0, row1, y, ldy, scratch, &integers, &others);
}

#endif
