/* Matrix products of quantized weights with int8 activations: one table
 * of functions for each instruction set.
 *
 * Arithmetic, the same for every table: a weight block of 32 values is w = scale * q + min with small
 * integers q (K-quants: scale and min of their sub-block; Q6_K and other 16-wide sub-blocks: two integer scales
 * a block, and two integer mins); an activation block of 32 is a = d * x with int8 x, d = amax / 127, x = round
 * to nearest. The product of a block is scale * d * sum(q * x) + min * d * sum(x), the sums exact in integers,
 * those of the halves times their integers, blocks added in float32. Weights in F32, F16 and BF16 are multiplied in float32. This is the arithmetic of llama.cpp's
 * CPU path with finer activation blocks for K-quants. */
#ifndef ME_KERNELS_H
#define ME_KERNELS_H

#include "model/model.h"

enum {
    ME_BLOCK = 32,
    ME_CHUNK =
        32, /* blocks of a row that are unpacked at a time: 16 rows of them stay in the first-level cache */
    ME_GROUP = 4 /* columns whose blocks lie side by side */
};

/* n columns of n_in activations (n_in a multiple of 32 or zero-padded up to n_blocks * 32). Owned by the
 * caller; q, d, s and half_sums have room for me_act_blocks(n, n_in) blocks, which lie in the order in which
 * products read them: [chunk][group of columns][block of the chunk][column of the group]. */
typedef struct {
    int n;              /* columns */
    int n_in;           /* values a column */
    int n_blocks;       /* ceil(n_in / 32) */
    const float *x;     /* [n][n_in], for float weights */
    int8_t *q;          /* [block][32] */
    float *d;           /* [block] */
    float *s;           /* [block]: d * sum of the block's q */
    int16_t *half_sums; /* [block][2]: sums of q over each half block, for weights with a scale per 16 */
} me_activations;

/* Blocks of n columns of n_in values, the last group filled up. */
static inline size_t me_act_blocks(size_t n, size_t n_in) {
    return (n + ME_GROUP - 1) / ME_GROUP * ME_GROUP * ((n_in + ME_BLOCK - 1) / ME_BLOCK);
}

/* Blocks between those of neighbouring groups in the chunk that `block` is in. */
static inline size_t me_act_group_stride(const me_activations *act, int block) {
    int left = act->n_blocks - block / ME_CHUNK * ME_CHUNK;
    return (size_t)ME_GROUP * (size_t)(left < ME_CHUNK ? left : ME_CHUNK);
}

/* Where a column's block is. */
static inline size_t me_act_at(const me_activations *act, int column, int block) {
    size_t chunk_begin = (size_t)(block / ME_CHUNK) * ME_CHUNK * me_act_blocks((size_t)act->n, 1);
    return chunk_begin + (size_t)(column / ME_GROUP) * me_act_group_stride(act, block) +
           (size_t)(block % ME_CHUNK) * ME_GROUP + (size_t)(column % ME_GROUP);
}

typedef struct me_kernels {
    const char *name;        /* "scalar", "avx2", "neon-i8mm" ... */
    bool (*supported)(void); /* this processor can run it */
    int panel_rows;          /* rows of a panel: how weights are split for threads */

    /* Quantises x [n][n_in] into act->q, d, s, half_sums for columns [first, last). */
    void (*quantize)(me_activations *act, int first, int last);

    /* Bytes of scratch a call to matmul needs for a weight of n_in values a row. */
    size_t (*scratch_bytes)(const me_tensor *weight);

    /* y[column * ldy + row] = weight row . activation column, for rows [row0, row1) of the weight (row0 a
     * multiple of panel_rows, row1 - row0 of any size) and all columns of act. scratch: 64-byte aligned,
     * scratch_bytes big. */
    void (*matmul)(const me_tensor *weight, const me_activations *act, int64_t row0, int64_t row1, float *y,
                   size_t ldy, void *scratch);
} me_kernels;

/* All tables that were compiled in, scalar (the reference) first, fastest last; ends with NULL. */
extern const me_kernels *const me_kernels_all[];

/* The table of that name, if this processor can run it; name NULL: the fastest that it can. NULL: none. */
const me_kernels *me_kernels_pick(const char *name);

/* The table to compute with: the one named; name NULL: the one that the environment's MOBIEDIT_KERNELS names,
 * for tests and measurements; without either the fastest. E_ARGUMENT if this processor has no such table. */
mobiedit_status me_kernels_choose(const char *name, const me_kernels **out, mobiedit_error *err);

/* Whether matmul takes weights of this type. */
bool me_kernels_type_supported(enum ggml_type type);

#endif
