/* Panels: 16 rows of a weight (or as many as a table asks for, by ME_PANEL_ROWS), a run of blocks long,
 * unpacked into the order in which vector kernels read them, and the loop over panels and columns that all
 * such tables share. A table brings a tile function.
 *
 * Static, like unpack.h, and compiled into each table with its own instruction set. */
#ifndef ME_KERNELS_PANEL_H
#define ME_KERNELS_PANEL_H

#include "engine/native/kernels/unpack.h"

/* Tiles are written as loops over constants that must be unrolled to stay in registers. Not
 * so with ME_KERNELS_ROLLED, where speed does not matter: instrumented or emulated,
 * unrolled tiles take minutes to compile. */
#ifdef ME_KERNELS_ROLLED
#define ME_INLINE static __attribute__((noinline))
#define ME_UNROLL(n)
#else
#define ME_INLINE static inline __attribute__((always_inline))
#define ME_UNROLL(n) ME_PRAGMA(GCC unroll n)
#define ME_PRAGMA(text) _Pragma(#text)
#endif

#ifndef ME_PANEL_ROWS
#define ME_PANEL_ROWS 16
#endif

enum {
    ME_ROWS = ME_PANEL_ROWS,
    ME_PANEL_BLOCKS =
        ME_CHUNK * 16 / ME_ROWS,         /* unpacked at a time: a panel stays in the first-level cache */
    ME_STEPS = ME_BLOCK / 4,             /* a block in groups of 4 values */
    ME_PANEL_BYTES = ME_ROWS * ME_BLOCK, /* of a block of a panel */
    ME_FLOAT_BLOCKS = ME_PANEL_BLOCKS / sizeof(float), /* the same for float weights */
    ME_PART = ME_SUPER_BLOCKS,                         /* blocks unpacked before they are interleaved */
    ME_COLUMNS = 512                                   /* columns for which a panel is unpacked once */
};

/* How a table wants the integers of a panel. */
typedef enum {
    ME_UNSIGNED_FOURS, /* q: [n_blocks][ME_STEPS][ME_ROWS][4] */
    ME_SIGNED_FOURS,   /* q - offset, in the same order */
    ME_SIGNED_EIGHTS,  /* q - offset: [n_blocks][ME_STEPS / 2][ME_ROWS][8] */
} me_panel_form;

/* Rows of a panel as they are unpacked, not yet interleaved. */
typedef struct {
    _Alignas(64) uint8_t q[ME_ROWS][ME_PART * ME_BLOCK];
    float scale[ME_ROWS][ME_PART];
    float min[ME_ROWS][ME_PART];
    int8_t half_scales[ME_ROWS][ME_PART * 2];
    int8_t half_mins[ME_ROWS][ME_PART * 2];
    uint32_t half_pairs[ME_ROWS][ME_PART * 2];
    float values[ME_ROWS][ME_BLOCK]; /* of float weights */
} me_panel_input;

/* What a thread needs to multiply panels: its scratch. */
typedef struct {
    _Alignas(64) float w[ME_FLOAT_BLOCKS * ME_BLOCK * ME_ROWS];
    _Alignas(64) uint8_t q[ME_PANEL_BLOCKS * ME_PANEL_BYTES];
    _Alignas(64) float scale[ME_PANEL_BLOCKS * ME_ROWS];
    float min[ME_PANEL_BLOCKS * ME_ROWS];
    int16_t half_scales[ME_PANEL_BLOCKS * ME_ROWS * 4];
    int16_t half_mins[ME_PANEL_BLOCKS * ME_ROWS * 2];
    float sums[ME_COLUMNS * ME_ROWS];
    me_panel_input input;
} me_panel_scratch;

typedef struct {
    const me_format *format; /* NULL: float weights */
    int first_block, n_blocks;
    int n_values;         /* of float weights: the last block may be partial */
    uint8_t *q;           /* see me_panel_form */
    float *scale;         /* [n_blocks][ME_ROWS] */
    float *min;           /* [n_blocks][ME_ROWS], where the format has mins */
    int16_t *half_scales; /* [n_blocks][2][ME_ROWS][2], where it has them; the pair is twice the same */
    int16_t *half_mins;   /* [n_blocks][ME_ROWS][2], where it has both */
    float *w;             /* float weights: [n_values][ME_ROWS] */
    float *sums;          /* [ME_COLUMNS][ME_ROWS] of the panels before this one, and then of this one too */
    me_panel_input *input;
} me_panel;

/* sums [columns][ME_ROWS] += panel . columns [first, first + columns) of act */
typedef void (*me_tile_fn)(const me_panel *panel, const me_activations *act, int first, int columns,
                           float *sums);

typedef struct {
    me_tile_fn tile;
    const int *widths; /* numbers of columns that `tile` takes, descending, the last 1 */
    me_panel_form form;
} me_tiler;

static size_t me_panel_scratch_bytes(const me_tensor *weight) {
    (void)weight;
    return sizeof(me_panel_scratch);
}

static me_panel me_panel_at(me_panel_scratch *scratch, const me_format *format) {
    return (me_panel){.format = format,
                      .q = scratch->q,
                      .scale = scratch->scale,
                      .min = scratch->min,
                      .half_scales = scratch->half_scales,
                      .half_mins = scratch->half_mins,
                      .w = scratch->w,
                      .sums = scratch->sums,
                      .input = &scratch->input};
}

typedef uint32_t me_word4 __attribute__((vector_size(16), may_alias));

/* 32-bit words rows[ME_ROWS][row_words] -> out[words][ME_ROWS], words a multiple of 4. */
static inline void me_interleave(const void *rows, int row_words, int words, void *out) {
    for (int r = 0; r < ME_ROWS; r += 4) {
        const char *in = (const char *)rows + (size_t)r * row_words * 4;
        for (int i = 0; i < words; i += 4) {
            me_word4 a, b, c, d;
            memcpy(&a, in + 4 * (size_t)i, 16);
            memcpy(&b, in + 4 * (size_t)(i + row_words), 16);
            memcpy(&c, in + 4 * (size_t)(i + 2 * row_words), 16);
            memcpy(&d, in + 4 * (size_t)(i + 3 * row_words), 16);
            me_word4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                     cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            me_word4 *to = (me_word4 *)out + (i * ME_ROWS + r) / 4;
            to[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            to[ME_ROWS / 4] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            to[2 * ME_ROWS / 4] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            to[3 * ME_ROWS / 4] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        }
    }
}

typedef uint64_t me_long2 __attribute__((vector_size(16), may_alias));

/* The same for 64-bit words, `words` a multiple of 2. */
static inline void me_interleave_longs(const void *rows, int row_words, int words, void *out) {
    for (int r = 0; r < ME_ROWS; r += 2) {
        const char *in = (const char *)rows + (size_t)r * row_words * 8;
        for (int i = 0; i < words; i += 2) {
            me_long2 a, b;
            memcpy(&a, in + 8 * (size_t)i, 16);
            memcpy(&b, in + 8 * (size_t)(i + row_words), 16);
            me_long2 *to = (me_long2 *)out + (i * ME_ROWS + r) / 2;
            to[0] = __builtin_shufflevector(a, b, 0, 2);
            to[ME_ROWS / 2] = __builtin_shufflevector(a, b, 1, 3);
        }
    }
}

static inline void me_take_offset(uint8_t *q, int n, int offset) {
    for (int i = 0; i < n; i++)
        q[i] = (uint8_t)(q[i] - offset);
}

/* Half scales of ME_PART blocks to pairs of int16. */
static void me_panel_spread_scales(me_panel_input *input, int16_t *out) {
    for (int r = 0; r < ME_ROWS; r++)
        for (int i = 0; i < 2 * ME_PART; i++)
            input->half_pairs[r][i] = (uint16_t)input->half_scales[r][i] * 0x10001u;
    me_interleave(input->half_pairs, 2 * ME_PART, 2 * ME_PART, out);
}

/* Half mins of ME_PART blocks to int16, a block's two beside each other. */
static void me_panel_pair_mins(me_panel_input *input, int16_t *out) {
    for (int r = 0; r < ME_ROWS; r++)
        for (int b = 0; b < ME_PART; b++)
            input->half_pairs[r][b] = (uint16_t)input->half_mins[r][2 * b] |
                                      (uint32_t)(uint16_t)input->half_mins[r][2 * b + 1] << 16;
    me_interleave(input->half_pairs, 2 * ME_PART, ME_PART, out);
}

/* Asks for the blocks after the n from `block` on of a row, or for the first ones of the row that takes its
 * place in the next panel: 16 rows far apart are more streams than processors follow by themselves. */
static inline void me_panel_prefetch(const me_tensor *weight, int64_t row, int block, int n) {
    size_t n_blocks = (size_t)weight->n_in / ME_BLOCK, next = (size_t)(block + n), end = next + ME_PART;
    if (next >= n_blocks) {
        next = 0, end = ME_PART, row += ME_ROWS;
        if (row >= weight->n_out) return;
    }
    if (end > n_blocks) end = n_blocks;
    const char *data = me_weight_row(weight, row);
    for (size_t at = next * weight->row_bytes / n_blocks; at < end * weight->row_bytes / n_blocks; at += 64)
        __builtin_prefetch(data + at);
}

/* Rows [row, row + n_rows) of the weight; the last one again in lanes beyond them. */
static void me_panel_load(me_panel *panel, const me_tensor *weight, int64_t row, int n_rows,
                          me_panel_form form) {
    me_panel_input *input = panel->input;
    const me_kind kind = panel->format->kind;
    for (int b = 0; b < panel->n_blocks; b += ME_PART) {
        int n = panel->n_blocks - b < ME_PART ? panel->n_blocks - b : ME_PART;
        for (int r = 0; r < ME_ROWS; r++) {
            const me_row out = {input->q[r], input->scale[r], input->min[r], input->half_scales[r],
                                input->half_mins[r]};
            const void *data = me_weight_row(weight, row + (r < n_rows ? r : n_rows - 1));
            panel->format->unpack(data, panel->first_block + b, n, &out);
            if (form != ME_UNSIGNED_FOURS && panel->format->offset)
                me_take_offset(out.q, n * ME_BLOCK, panel->format->offset);
            me_panel_prefetch(weight, row + r, panel->first_block + b, n);
        }
        uint8_t *q = panel->q + b * ME_PANEL_BYTES;
        if (form == ME_SIGNED_EIGHTS)
            me_interleave_longs(input->q, ME_PART * ME_STEPS / 2, n * ME_STEPS / 2, q);
        else
            me_interleave(input->q, ME_PART * ME_STEPS, n * ME_STEPS, q);
        me_interleave(input->scale, ME_PART, ME_PART, panel->scale + b * ME_ROWS);
        if (kind.has_min) me_interleave(input->min, ME_PART, ME_PART, panel->min + b * ME_ROWS);
        if (kind.has_halves) me_panel_spread_scales(input, panel->half_scales + (size_t)b * ME_ROWS * 4);
        if (kind.has_halves && kind.has_min)
            me_panel_pair_mins(input, panel->half_mins + (size_t)b * ME_ROWS * 2);
    }
}

static void me_panel_load_floats(me_panel *panel, const me_tensor *weight, int64_t row, int n_rows) {
    for (int i = 0; i < panel->n_values; i += ME_BLOCK) {
        int n = panel->n_values - i < ME_BLOCK ? panel->n_values - i : ME_BLOCK;
        for (int r = 0; r < ME_ROWS; r++) {
            const void *data = me_weight_row(weight, row + (r < n_rows ? r : n_rows - 1));
            me_unpack_floats(weight->type, data, panel->first_block * ME_BLOCK + i, n,
                             panel->input->values[r]);
        }
        me_interleave(panel->input->values, ME_BLOCK, (n + 3) / 4 * 4, panel->w + i * ME_ROWS);
    }
}

/* sums of columns [first, last) += the panel. */
static void me_panel_columns(const me_panel *panel, const me_activations *act, const me_tiler *tiler,
                             int first, int last) {
    const int *width = tiler->widths;
    for (int column = first; column < last; column += *width) {
        while (*width > last - column)
            width++;
        tiler->tile(panel, act, column, *width, panel->sums + (column - first) * ME_ROWS);
    }
}

/* The panel's chunks over rows [row, row + n_rows) and columns [first, last), into panel->sums. */
static void me_panel_rows(me_panel *panel, const me_tensor *weight, const me_activations *act,
                          const me_tiler *tiler, int64_t row, int n_rows, int first, int last) {
    int most = panel->format ? ME_PANEL_BLOCKS : ME_FLOAT_BLOCKS;
    memset(panel->sums, 0, (size_t)(last - first) * ME_ROWS * sizeof *panel->sums);
    for (int b = 0; b < act->n_blocks; b += most) {
        int left = act->n_in - b * ME_BLOCK;
        panel->first_block = b;
        panel->n_blocks = act->n_blocks - b < most ? act->n_blocks - b : most;
        panel->n_values = left < panel->n_blocks * ME_BLOCK ? left : panel->n_blocks * ME_BLOCK;
        if (panel->format)
            me_panel_load(panel, weight, row, n_rows, tiler->form);
        else
            me_panel_load_floats(panel, weight, row, n_rows);
        me_panel_columns(panel, act, tiler, first, last);
    }
}

/* A panel's sums of one column to its place: whole panels without a call. */
static inline void me_panel_store(const float *sums, int n_rows, float *y) {
    if (n_rows == ME_ROWS)
        memcpy(y, sums, ME_ROWS * sizeof *y);
    else
        memcpy(y, sums, (size_t)n_rows * sizeof *y);
}

/* me_kernels.matmul for a table with these tiles for integer and float weights. */
static void me_panel_matmul(const me_tensor *weight, const me_activations *act, int64_t row0, int64_t row1,
                            float *y, size_t ldy, void *scratch, const me_tiler *integers,
                            const me_tiler *floats) {
    me_panel panel = me_panel_at(scratch, me_format_of(weight->type));
    const me_tiler *tiler = panel.format ? integers : floats;
    for (int64_t row = row0; row < row1; row += ME_ROWS) {
        int n_rows = row1 - row < ME_ROWS ? (int)(row1 - row) : ME_ROWS;
        for (int first = 0; first < act->n; first += ME_COLUMNS) {
            int last = act->n - first < ME_COLUMNS ? act->n : first + ME_COLUMNS;
            me_panel_rows(&panel, weight, act, tiler, row, n_rows, first, last);
            for (int column = first; column < last; column++)
                me_panel_store(panel.sums + (column - first) * ME_ROWS, n_rows,
                               y + (size_t)column * ldy + row);
        }
    }
}

#endif
