/* The ggml engine's inside: the forward pass as ggml graphs.
 *
 * Weights lie on their devices from the start, in their quant types. A graph is built for the shape of a
 * batch and kept: the next batch of that shape only fills in its inputs. Rows of a batch are tokens, those of
 * one item side by side; items that have as many columns form a group, whose attention is one set of
 * operations. Tensor shapes in comments are ggml's, fastest dimension first. */
#ifndef ME_GGML_ENGINE_H
#define ME_GGML_ENGINE_H

#include "engine/engine.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>

enum {
    ME_GGML_DEVICES = 16, /* as many as ggml's scheduler takes */
    ME_GGML_GRAPHS = 4,   /* kept at a time: what a solver alternates between */
    ME_GGML_MASKS = 2     /* kinds of attention mask: all positions, and those in a window */
};

/* ---- layout.c: the rows of a batch ------------------------------------------------------------------- */

/* Neighbouring tokens of one sequence, behind `start` tokens whose K and V are known. */
typedef struct {
    int sequence;
    int n_columns;
    int start;    /* position of its first column */
    int edit_pos; /* positions in the sequence */
    int read_pos;
    int n_read;
    const int *more_pos; /* [n_more], borrowed: further edited positions among its columns */
    int n_more;
} me_ggml_span;

/* The span's column where delta comes in for the i-th time, i in 0 to n_more. */
int me_edited_column(const me_ggml_span *span, int i);

/* Items with as many columns each: every one of `n_sources` spans `n_repeats` times, span after span. */
typedef struct {
    int n_columns;
    int n_sources, n_repeats;
    int first_row, first_source; /* the latter into me_layout.sources */
} me_group;

typedef struct {
    const me_ggml_span *spans; /* [n_spans], borrowed */
    int n_spans;
    int n_base;    /* 1: every span is there once more, at the front, for the others to differ from */
    int n_repeats; /* candidates of each span */
    int past;      /* columns of K and V that are known, the longest span's; 0: none */
    int n_groups;
    me_group *groups;
    int *sources;   /* span of each source of each group */
    int *first_row; /* [(n_base + n_repeats)][n_spans] */
    int n_rows, n_base_rows;
    int n_reads, n_base_reads; /* read positions of all items */
    int n_edits;               /* edited positions of all spans, each counted once */
} me_layout;

mobiedit_status me_layout_open(const me_ggml_span *spans, int n_spans, int n_base, int n_repeats, int past,
                               me_layout *out, mobiedit_error *err);
void me_layout_close(me_layout *layout);
int me_group_items(const me_group *group);

/* The inputs of a graph that follow from the layout. Arrays have as many
 * elements as there are rows, reads ... */
void me_layout_positions(const me_layout *layout, int32_t *out); /* [n_rows] */
void me_layout_base_rows(const me_layout *layout, int32_t *out); /* [n_rows - n_base_rows] */
void me_layout_read_rows(const me_layout *layout, int32_t *out); /* [n_reads], bases, then repeat by repeat */
void me_layout_base_reads(const me_layout *layout, int32_t *out); /* [n_reads - n_base_reads] */
void me_layout_edit_rows(const me_layout *layout, int32_t *out);  /* [n_edits], of the first repeat */

/* mask [past + n_columns, n_columns, 1, items]: 0 where a column sees a position, else -infinity. window 0:
 * all positions before it. */
void me_layout_mask(const me_layout *layout, const me_group *group, int window, float *out);
/* select [n_columns, 1, 1, items]: 1 at the edited position. */
void me_layout_select(const me_layout *layout, const me_group *group, float *out);

/* ---- weights.c --------------------------------------------------------------------------------------- */

/* A layer's weights on its device; NULL: the model has no such tensor. */
typedef struct {
    struct ggml_tensor *attn_norm, *wq, *wk, *wv, *wo, *bq, *bk, *bv, *bo, *q_norm, *k_norm, *post_attn_norm,
        *ffn_norm, *gate, *up, *down, *gate_b, *up_b, *down_b, *post_ffn_norm;
    struct ggml_tensor *rope_factors; /* [dims / 2] */
    int device;                       /* that most of them are on */
} me_ggml_layer;

/* Tensors with memory of their own on one device. */
typedef struct {
    struct ggml_context *context;
    ggml_backend_buffer_t buffer;
} me_ggml_store;

typedef struct {
    ggml_backend_t backend;
    ggml_backend_dev_t device;
    me_ggml_store own;           /* norms, biases, and copied matrices */
    struct ggml_context *mapped; /* matrices where they are in the mapped files */
    ggml_backend_buffer_t *maps; /* [n_files of the model]: the mapped files, NULL where the device cannot use
                                    one; NULL: it can use none */
} me_ggml_device;

typedef struct me_graph me_graph;

typedef struct {
    me_engine base;
    /* The last one is the CPU: what others cannot do is done there. */
    me_ggml_device devices[ME_GGML_DEVICES];
    int n_devices;
    me_ggml_layer *layers; /* [n_layer] */
    struct ggml_tensor *output_norm, *output;
    int window;                       /* of the layers that have one, or 0 */
    size_t budget;                    /* bytes for the graphs together */
    me_graph *graphs[ME_GGML_GRAPHS]; /* the last used first */
    bool remote;                      /* the devices are RPC servers' */
    bool freed;                       /* some memory of the devices, since the last run */
} me_ggml;

mobiedit_status me_weights_open(me_ggml *engine, mobiedit_error *err);
void me_weights_close(me_ggml *engine);

/* Tensors may be made in store->context until me_store_allocate gives them memory on the device. */
mobiedit_status me_store_open(me_ggml_store *store, size_t n_tensors, mobiedit_error *err);
mobiedit_status me_store_allocate(me_ggml_store *store, const me_ggml_device *device, mobiedit_error *err);
void me_store_close(me_ggml_store *store);

/* The whole of a tensor, to and from its device. */
void me_tensor_put(struct ggml_tensor *tensor, const void *data);
void me_tensor_take(const struct ggml_tensor *tensor, void *data);

/* ---- prefix.c ---------------------------------------------------------------------------------------- */

/* K and V of a later layer before the edit, all sequences padded to `past` positions. */
typedef struct {
    struct ggml_tensor *k; /* [head_dim * past * n_head_kv, n_sequences] */
    /* [past * head_dim * n_head_kv, n_sequences]: transposed, as the product needs it. */
    struct ggml_tensor *v;
} me_past;

typedef struct {
    me_prefix base;
    me_ggml_span *spans; /* [n_sequences]: from edit_pos on */
    int *more_pos;       /* all sequences' */
    int *first_state;    /* [n_sequences]: rows of `states` before it */
    int *first_value;    /* [n_sequences]: rows of `values` before it */
    int n_values;
    int past;
    me_ggml_store stores[ME_GGML_DEVICES];
    struct ggml_tensor *states; /* [d, suffix_tokens]: the residual after `layer`; at edited positions without
                                   that layer's MLP output */
    struct ggml_tensor *values; /* [d, n_values]: that output, at each sequence's edited positions */
    me_past *pasts;             /* [n_layer - layer - 1] */
} me_ggml_prefix;

mobiedit_status me_ggml_prefix_run(me_engine *base, int layer, const me_sequence *sequences, int n,
                                   me_prefix **out, mobiedit_error *err);
void me_ggml_prefix_free(me_engine *base, me_prefix *prefix);

/* ---- graph.c ----------------------------------------------------------------------------------------- */

typedef enum {
    ME_GRAPH_PREFIX,
    ME_GRAPH_SUFFIX,
    ME_GRAPH_KEYS,
    ME_GRAPH_ACTIVATIONS,
    ME_GRAPH_FORWARD,
    ME_GRAPH_LOGITS,
} me_graph_kind;

/* What a graph is built for; two that are equal share it. */
typedef struct {
    me_graph_kind kind;
    int layer;                    /* PREFIX, SUFFIX, KEYS; FORWARD: the edited one, or -1 */
    const me_ggml_prefix *prefix; /* SUFFIX */
    const me_layout *layout;      /* all but LOGITS */
    int n_rows;                   /* LOGITS */
} me_graph_shape;

/* What a prefix keeps of a later layer. */
typedef struct {
    struct ggml_tensor *entering; /* [d, n_edits]: the residual at edited positions */
    struct ggml_tensor *k, *v;    /* [n_head_kv * head_dim, n_rows] */
    struct ggml_tensor **focus;   /* [n_groups] of [1, n_columns, n_head, items]: attention to edit_pos */
} me_later;

struct me_graph {
    me_graph_shape shape;
    me_group *groups; /* [n_groups]: the shape's own copy */
    int n_groups, n_spans, n_base, n_edits, past;
    size_t bytes; /* of its batch, as me_item_bytes estimates */
    struct ggml_context *context;
    struct ggml_cgraph *graph;
    ggml_backend_sched_t scheduler;
    /* inputs; NULL where the kind has no such */
    struct ggml_tensor *x;         /* [d, n_rows]: embeddings, or hidden vectors */
    struct ggml_tensor *positions; /* I32 [n_rows] */
    struct ggml_tensor *base_rows, *base_reads, *read_rows, *edit_rows;
    struct ggml_tensor *states,
        *additions; /* I32 [n_rows]: rows of the prefix's states, and of what is added */
    struct ggml_tensor *edit_values, *edit_deltas; /* I32 [(n_base + n_repeats) * n_edits] */
    struct ggml_tensor *deltas;                    /* [d, n_base + n_repeats] */
    struct ggml_tensor **sources;                  /* [n_groups] of I32 [n_sources] */
    struct ggml_tensor **select;                   /* [n_groups] */
    struct ggml_tensor **masks;                    /* [n_groups][ME_GGML_MASKS] */
    /* outputs */
    struct ggml_tensor *hidden;                 /* keys, logits likewise */
    struct ggml_tensor *value, *before, *after; /* prefix, at its layer: [d, n_edits]; after: [d, n_rows] */
    me_later *later;
};

/* Bytes that a graph needs for an item of n_columns that sees n_past more, and for a row of logits. */
size_t me_item_bytes(const me_ggml *engine, int n_columns, int n_past);
size_t me_logits_bytes(const me_ggml *engine);

/* The graph for this shape, built or found. It belongs to the engine. */
mobiedit_status me_graph_get(me_ggml *engine, const me_graph_shape *shape, me_graph **out,
                             mobiedit_error *err);
void me_graphs_drop(me_ggml *engine, const me_ggml_prefix *prefix); /* those of a prefix; NULL: all */

/* Fills in positions, masks and rows. */
mobiedit_status me_graph_set_layout(const me_ggml *engine, me_graph *graph, const me_layout *layout,
                                    mobiedit_error *err);
mobiedit_status me_graph_run(me_ggml *engine, me_graph *graph, mobiedit_error *err);

/* ---- build.c ----------------------------------------------------------------------------------------- */

/* Makes the tensors and the graph in graph->context. */
void me_graph_build(const me_ggml *engine, me_graph *graph, const me_layout *layout);
/* At least as many tensors as that makes. */
size_t me_graph_tensors(const me_ggml *engine, const me_graph_shape *shape);

/* ---- batch.c, suffix.c ------------------------------------------------------------------------------- */

/* Spans of whole sequences; those of a prefix have further edited positions. */
me_ggml_span me_whole_span(const me_sequence *sequence, int index);
me_ggml_span me_edited_span(const me_sequence *sequence, int index);

/* How many of the sequences from `first` on fit into one batch; E_MEMORY where not even one does. */
mobiedit_status me_sequences_take(const me_ggml *engine, const me_sequence *sequences, int first, int n,
                                  int *taken, mobiedit_error *err);

mobiedit_status me_fail_budget(const me_ggml *engine, int n_tokens, size_t bytes, mobiedit_error *err);

/* A run of whole sequences: spans and layout are the run's own, the
 * graph with its outputs is the engine's. */
typedef struct {
    me_ggml_span *spans;
    me_layout layout;
    me_graph *graph;
} me_batch_run;

/* Runs sequences [n] from position 0 as `shape` says, whose layout is filled in here. Close the run where
 * that succeeds. */
mobiedit_status me_run_sequences(me_ggml *engine, const me_graph_shape *shape, const me_sequence *sequences,
                                 int n, me_batch_run *run, mobiedit_error *err);
void me_batch_run_close(me_batch_run *run);

mobiedit_status me_ggml_suffix(me_engine *base, const me_prefix *prefix, const float *deltas, int n_deltas,
                               const int *which, int n_which, float *hidden, mobiedit_error *err);
mobiedit_status me_ggml_responses(me_engine *engine, const me_prefix *prefix, const float *base,
                                  const float *deltas, int n_deltas, const int *which, int n_which,
                                  float *responses, mobiedit_error *err);

#endif
