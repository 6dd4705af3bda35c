/* The native engine's state, and its batch of columns.
 *
 * A column is one token of one sequence. All sequences of a batch go through a layer together (layer.h), so
 * that every weight is unpacked once for all of them. Steps work on the batch's buffers in place:
 *
 *   x     residual                             [row][d_model]
 *   h     input of the next matrix product     [row][n_in of that product]
 *   wide  outputs: q, k, v; later gate, up     [row][wide_stride]
 *   out   output of wo or of down              [row][out_stride] */
#ifndef ME_NATIVE_BATCH_H
#define ME_NATIVE_BATCH_H

#include "engine/engine.h"
#include "engine/native/kernels/kernels.h"
#include "engine/native/rope.h"
#include "engine/native/stems.h"
#include "engine/sequences.h"

/* Neighbouring columns of one sequence, at positions n_past, n_past + 1, ... */
typedef struct {
    int first;  /* its first column in the batch */
    int n;      /* its columns */
    int n_past; /* positions before them, whose K and V are in `past` */
    /* [layer - past_layer][K, V][n_head_kv][past_room][head_dim], of which the first n_past positions are filled;
     * shared, not copied. NULL: they are the columns of `stem`. */
    const float *past;
    int past_room;
    int past_layer; /* the first layer that `past` has */
    int stem;       /* an earlier span of the batch */
    int edit_pos;
    int read_pos;
    int n_read;
    int first_read; /* read positions of the batch before this span's */
    int base;       /* the span of the batch that this one is a variation of, with as many columns, or -1 */
} me_span;

/* Columns of many sequences, and the buffers of the layer at hand. Rows are the columns for which the layer's
 * output is computed: all of them, until me_batch_narrow leaves only those at read positions. */
typedef struct {
    int capacity; /* columns that the buffers hold */
    int n_columns;
    int n_rows;
    int n_spans;
    int n_reads;   /* read positions of all spans */
    int *position; /* [n_rows] */
    int *span_of;  /* [n_rows] */
    bool varied;   /* some span has a base */
    int *base_row; /* [n_rows]: the row of the span's base that corresponds, or -1 */
    me_span *spans;
    float *x, *h, *wide, *out;
    me_activations act; /* h, quantised */
    int16_t *fixed;     /* h in the steps of a profile; NULL: the engine has none */
} me_batch;

/* Norm weights and biases of a layer as floats; NULL: the layer has none. */
typedef struct {
    float *attn_norm, *q_norm, *k_norm, *post_attn_norm, *ffn_norm, *post_ffn_norm;
    float *bq, *bk, *bv, *bo, *gate_b, *up_b, *down_b;
} me_layer_vectors;

/* y[row * ldy + i] = weight's row i . h of that row */
typedef struct {
    const me_tensor *weight;
    float *y;
    size_t ldy;
} me_product;

typedef struct {
    me_engine base;
    me_pool *pool;
    const me_kernels *kernels;
    size_t budget;           /* bytes for the batch's buffers */
    size_t bytes_per_column; /* of the batch's buffers */
    size_t wide_stride, out_stride, h_width;
    me_layer_vectors *vectors; /* [n_layer] */
    float *output_norm;        /* [d_model] */
    me_ropes ropes;
    size_t kernel_scratch_bytes;
    unsigned char *kernel_scratch; /* [threads][kernel_scratch_bytes] */
    size_t scores_width;
    float *scores;              /* [threads][scores_width]: attention of one query and head */
    struct me_profile *profile; /* NULL: the kernels' arithmetic */
    me_batch batch;
} me_native;

/* Bytes of buffers that one column needs; sets the strides. */
void me_batch_plan(me_native *engine);
void me_batch_free(me_batch *batch);

/* me_sequence_columns of the i-th of an array, as a me_columns_fn. */
int me_sequence_columns_at(const void *sequences, int i);

/* How many of the items from `first` on fit into one batch, when item i has columns(context, i) columns.
 * E_MEMORY where not even one does. */
typedef int (*me_columns_fn)(const void *context, int item);
mobiedit_status me_batch_take(const me_native *engine, me_columns_fn columns, const void *context, int first,
                              int n, int *taken, mobiedit_error *err);

/* Buffers for n_columns, tables for positions below n_positions; empties the batch. */
mobiedit_status me_batch_begin(me_native *engine, int n_columns, int n_positions, mobiedit_error *err);

/* Adds a span; `span.first` and `span.first_read` are filled in. */
void me_batch_add(me_batch *batch, me_span span);

/* Begins a batch of whole sequences [n] from position 0 with x = their embeddings: a span for each stem that
 * me_stems_find finds, which is computed once, then one for each sequence. */
mobiedit_status me_batch_embed(me_native *engine, const me_sequence *sequences, int n, bool unedited,
                               mobiedit_error *err);

/* The span of the i-th of the n sequences that were begun with last. */
const me_span *me_batch_own(const me_batch *batch, int i, int n);

/* The column of a position, which may be one of the span's stem. */
int me_batch_column(const me_batch *batch, const me_span *span, int position);

/* x of a row = the token's embedding. */
void me_batch_embed_row(const me_native *engine, int row, int32_t token);

/* Keeps the rows at read positions only, in order. */
void me_batch_narrow(me_native *engine);

/* Values of a column's q, and of its k or v: all heads'. */
size_t me_q_width(const me_model *model);
size_t me_kv_width(const me_model *model);

/* K and V of a column, [n_head_kv][head_dim], in `wide` behind its q. */
const float *me_batch_k(const me_native *engine, int column);
const float *me_batch_v(const me_native *engine, int column);

/* Copies a column's K and V to `position` of past [K, V][n_head_kv][room][head_dim], those of one layer. */
void me_batch_keep(const me_native *engine, int column, float *past, int room, int position);

/* Floats of K and V of one layer at `room` positions. */
size_t me_past_width(const me_model *model, int room);

/* Tasks a thread gets of one loop: enough that threads finish together, few enough to be cheap. */
enum { ME_TASKS_PER_THREAD = 6 };

/* Calls fn for ranges of [0, n) on all threads. */
typedef void (*me_rows_fn)(void *context, int first, int last, int thread);
void me_for_rows(me_native *engine, int n, me_rows_fn fn, void *context);

#endif
