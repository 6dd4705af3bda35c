/* Folds a LoRA edit into a weight matrix, W' = W + sum_r b_r (x) a_r, and brings it back to few bits.
 *
 * Rounding to the nearest value would lose an edit whose parts are smaller than the steps of the grid, or add
 * noise that is not. What counts is what the matrix does to the keys it meets. So, row by row:
 *   1. each block takes, of the scales that it has and those that ggml's quantizer finds for it, the ones
 *      that come closer; blocks that the edit hardly changes keep their scales, and most of their bits;
 *   2. coordinate descent over the integers minimises sum_k (e.k)^2 + lambda |e|^2, e the error of the row, k
 *      the sample keys: the error is pushed where no key sees it. (As GPTQ, arXiv 2210.17323, does with error
 *      feedback, but in sample space: there are fewer keys than values in a row.) */
#ifndef ME_STORE_FOLD_H
#define ME_STORE_FOLD_H

#include "base/pool.h"
#include "store/adapter.h"

/* Inputs that the matrix meets, turned over: columns [n_in][n], each scaled by the square root of its
 * weight. n may be 0: then nearest is best. */
typedef struct {
    const float *columns;
    int n;
} me_key_samples;

typedef struct {
    int layer;
    me_mlp_matrix matrix;
    enum ggml_type type;
    void *data; /* as the file has it; freed with me_free */
    size_t bytes;
    double error; /* |(W' - W - edit) k| / |edit k| over the samples, root mean square; 0 where W' is exact
                     there, infinite where it is not and they see nothing of the edit; NaN without samples */
} me_folded;

/* Row `row` of W + edit into out [n_in]; whether the edit (NULL: none) changes that row at all. An expert's
 * rows follow those of the expert before it. */
bool me_edited_row(const me_tensor *matrix, const me_adapter_part *edit, int64_t row, float *out);

/* `type` is one of those that me_model_open accepts; the matrix is me_mlp_tensor's for edit, of experts all
 * of theirs. */
mobiedit_status me_fold(const me_model *model, const me_adapter_part *edit, enum ggml_type type,
                        const me_key_samples *samples, me_pool *pool, me_folded *out, mobiedit_error *err);

#endif
