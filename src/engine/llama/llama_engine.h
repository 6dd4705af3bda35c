/* The llama engine's inside: libllama's own forward pass, watched and changed between its operations.
 *
 * libllama calls back before and after each operation of its graph (llama_context_params.cb_eval). There the
 * deltas are written into the output of the edited layer's down projection, of experts into each one's, and
 * keys, activations and final hidden vectors are read. Operations are known by their kind and their weight's
 * name. A pass cannot begin in the middle: it begins at layer 0, behind tokens whose K and V (or recurrent
 * state) are in the context. */
#ifndef ME_LLAMA_ENGINE_H
#define ME_LLAMA_ENGINE_H

#include "engine/engine.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <llama.h>

enum {
    ME_LLAMA_SEQUENCES = 64, /* stems, and as many items of a batch, in the context at once */
    ME_LLAMA_STATES = 16,    /* the same where a sequence has a recurrent state, which may be large */
    ME_LLAMA_BATCH = 512,    /* tokens of a batch, at most */
    ME_LLAMA_CELLS = 4096    /* of the context: libllama scales some models' rope by the context's size */
};

/* ---- context.c: tokens whose state is kept ------------------------------------------------------------- */

/* The first n tokens of a sequence. Their state is in the context while there is room, and computed anew when
 * it is needed again. */
typedef struct {
    int32_t *tokens; /* [n], owned */
    int n;
    int slot;      /* its sequence in the context; -1: it is not there */
    uint64_t used; /* the engine's clock at its last use */
} me_stem;

typedef struct me_llama me_llama;

mobiedit_status me_stem_open(const int32_t *tokens, int n, me_stem *out, mobiedit_error *err);
void me_stem_close(me_llama *engine, me_stem *stem);

/* The model and a context with room for `cells` tokens at least. What is in the context may be lost. */
mobiedit_status me_llama_ready(me_llama *engine, int cells, mobiedit_error *err);
void me_llama_unload(me_llama *engine);

/* Puts the stem's state into the context; stems that are used at the same clock stay there. */
mobiedit_status me_stem_load(me_llama *engine, me_stem *stem, mobiedit_error *err);
/* Room for n more tokens beside those stems. E_MEMORY where there is none. */
mobiedit_status me_llama_make_room(me_llama *engine, int n, mobiedit_error *err);

/* ---- hook.c: what is done between operations ----------------------------------------------------------- */

typedef enum { ME_LLAMA_HIDDEN, ME_LLAMA_KEYS, ME_LLAMA_ACTIVATIONS } me_llama_read;

/* A token of a batch, and where in the batch's outputs it is; -1: its output is not asked for. */
typedef struct {
    int token, output;
} me_row;

typedef struct {
    me_row row;
    const float *delta; /* [d]; NULL: nothing is added */
    float *value;       /* [d]: what is there before; NULL: not wanted */
} me_llama_edit;

typedef struct {
    me_row row;
    float *out;       /* [width] */
    int32_t *experts; /* [n_experts_used]: of the activations of experts */
    int edit;         /* token of its sequence's first edited position; -1: none */
    float share;      /* of the mean over all reads of a prefix; 0: does not count */
} me_llama_reader;

/* What a prefix measures in later layers, summed over its sequences: see me_prefix. */
typedef struct {
    float *attention; /* [later][n_head] */
    float *rms;       /* [later] */
    float share;      /* of one sequence */
} me_llama_focus;

typedef struct {
    /* the pass: set by me_llama_pass */
    bool active;
    me_llama_read read;
    int layer;
    const me_llama_focus *focus; /* NULL: not wanted */
    int n_tokens, n_outputs, n_edits, n_readers;
    me_llama_edit *edits;     /* [ME_LLAMA_BATCH] */
    me_llama_reader *readers; /* [ME_LLAMA_BATCH] */
    char down[GGML_MAX_NAME], input[GGML_MAX_NAME];
    /* what happened */
    bool edited, found;
    bool moved;        /* the final hidden vectors are another operation's than was thought */
    char trouble[160]; /* why the pass failed; empty: it did not */
    int block;         /* layer of the last weight that was seen */
    int64_t *cells;    /* [ME_LLAMA_BATCH]: where the batch's tokens are in the last layer's K */
    bool has_cells;
    /* the graph */
    struct ggml_tensor **asked; /* [n_asked]: the pass's operations in order */
    size_t n_asked, capacity;
    size_t hidden_at; /* which of them gives the final hidden vectors */
    struct ggml_tensor *hidden;
    const me_model *model;
    float *scratch; /* [d] */
} me_llama_hook;

/* Before a pass. */
void me_hook_reset(me_llama_hook *hook);
/* llama_context_params.cb_eval; user: the hook. */
bool me_hook_call(struct ggml_tensor *t, bool ask, void *user);
/* The name of an operation's weight without the device that it is on, into name; "" where it has none. */
void me_weight_name(const struct ggml_tensor *weight, char name[GGML_MAX_NAME]);
/* A product with a weight, or with some of the experts' that a weight holds. */
bool me_is_product(const struct ggml_tensor *t);
/* Whether t multiplies by the final norm's weight; the operation whose result goes into that norm. */
struct ggml_tensor *me_final_hidden(const me_model *model, const struct ggml_tensor *t);

/* ---- head.c: from final hidden vectors to logits ------------------------------------------------------- */

enum { ME_HEAD_NODES = 16 };

/* An operation of libllama's graph behind the final hidden vectors: its tensor, and its operands as numbers of
 * nodes; -1: the tensor's own, a weight; -2: the hidden vectors. */
typedef struct {
    struct ggml_tensor tensor;
    int src[GGML_MAX_SRC];
} me_head_node;

typedef struct {
    me_head_node nodes[ME_HEAD_NODES];
    int n_nodes;
    ggml_backend_t backend;
    int n_rows; /* of the graph below; 0: there is none */
    struct ggml_context *context;
    struct ggml_cgraph *graph;
    ggml_gallocr_t allocator;
    struct ggml_tensor *in, *out;
} me_llama_head;

/* Takes the operations from the hook's last pass, a whole one of n_rows tokens, all of them outputs. */
mobiedit_status me_head_learn(me_llama_head *head, const me_llama_hook *hook, int n_rows,
                              mobiedit_error *err);
void me_head_close(me_llama_head *head);
/* The factor of the logits before any cap. */
float me_head_scale(const me_llama_head *head);
mobiedit_status me_head_run(me_llama_head *head, const float *hidden, int n, float *logits,
                            mobiedit_error *err);

/* ---- pass.c -------------------------------------------------------------------------------------------- */

/* A sequence of a batch: columns behind a stem. */
typedef struct {
    me_stem *stem;         /* NULL: the columns begin at position 0 */
    const int32_t *tokens; /* [n_columns] */
    int n_columns;
    int read, n_read; /* columns */
    const int *edits; /* [n_edits]: columns, ascending */
    int n_edits;
    const float *delta; /* [d]; NULL: nothing is added */
    float *value;       /* [d]: of the first edited column, before; NULL: not wanted */
    float *out;         /* [n_read][d], or [n_experts_used][d_ff] for activations, [d_ff] without experts */
    int32_t *experts;   /* [n_read][n_experts_used]: whose these are; NULL: not wanted */
} me_llama_item;

typedef struct {
    me_llama_read read;
    int layer; /* of edits, keys, activations */
    const me_llama_focus *focus;
    float reader_share; /* with focus: of one read position behind its edit */
} me_llama_job;

/* Floats that a job reads of a token. */
size_t me_llama_width(const me_model *model, const me_llama_job *job);

/* All items, in as many batches as they need. */
mobiedit_status me_llama_pass(me_llama *engine, const me_llama_job *job, const me_llama_item *items, int n,
                              mobiedit_error *err);

/* ---- the engine ---------------------------------------------------------------------------------------- */

struct me_llama {
    me_engine base;
    int threads;
    size_t budget;
    struct llama_model *model;
    struct llama_context *context;
    int n_cells, n_used;                /* of the context: tokens it holds, and those of stems */
    int n_batch, n_outputs;             /* tokens of a batch, and those whose output is asked for */
    bool recurrent;                     /* sequences of a batch have equal lengths */
    int n_sequences;                    /* stems, and items of a batch */
    me_stem *stems[ME_LLAMA_SEQUENCES]; /* by slot */
    uint64_t clock;
    me_llama_hook hook;
    me_llama_head head;
    struct llama_batch batch;
};

/* ---- prefix.c ------------------------------------------------------------------------------------------ */

mobiedit_status me_llama_prefix_run(me_engine *base, int layer, const me_sequence *sequences, int n,
                                    me_prefix **out, mobiedit_error *err);
void me_llama_prefix_free(me_engine *base, me_prefix *prefix);
mobiedit_status me_llama_suffix(me_engine *base, const me_prefix *prefix, const float *deltas, int n_deltas,
                                const int *which, int n_which, float *hidden, mobiedit_error *err);
mobiedit_status me_llama_responses(me_engine *base, const me_prefix *prefix, const float *from,
                                   const float *deltas, int n_deltas, const int *which, int n_which,
                                   float *responses, mobiedit_error *err);

#endif
