/* What an edit asks of a forward engine. Implemented by engine/native, engine/ggml and
 * engine/llama.
 *
 * Shapes are row-major; d = d_model. A sequence is a run of tokens from position 0. */
#ifndef ME_ENGINE_ENGINE_H
#define ME_ENGINE_ENGINE_H

#include "base/memory.h"
#include "base/pool.h"
#include "model/model.h"

#include <stdint.h>

typedef struct {
    const int32_t *tokens; /* [n_tokens] */
    int n_tokens;
    int edit_pos; /* p: where delta is added to the MLP output of the edited layer, to each expert's where the
                     MLP is experts */
    int read_pos; /* q: first position that is read */
    int n_read;   /* positions read: q .. q + n_read - 1 */
    /* [n_more], ascending, all > edit_pos and < n_tokens: where delta is added too, as at edit_pos. Those
     * behind the last read position change nothing that is read, and are ignored. Borrowed for the call. */
    const int *more_pos;
    int n_more;
} me_sequence;

/* What is kept of a set of sequences so that a delta at (layer, edit_pos), and at further positions behind
 * it, needs only layers > layer and positions >= edit_pos: the state after `layer` at those positions, and K
 * and V of later layers before edit_pos. Exact, since attention is causal, and since a delta, which enters
 * behind the MLP of `layer`, leaves that layer's inputs at all positions as they are. (MobiEdit, section on
 * prefix caching.) */
typedef struct me_prefix {
    int layer;
    int n_sequences;
    int n_read;       /* the same for all */
    float *values;    /* [n_sequences][d]: the down projection's output at edit_pos; of experts, their mean */
    float *hidden;    /* [n_sequences][n_read][d]: pre-norm final hidden vectors without a delta */
    float *attention; /* [n_layer - layer - 1][n_head]: attention weight that positions > edit_pos pay to it
                       * in each later layer, mean over the read positions and sequences (positions ==
                       * edit_pos left out) */
    float *rms; /* [n_layer - layer - 1]: root mean square of the residual at edit_pos that enters each later
                   layer, mean over the sequences */
    size_t suffix_tokens; /* token passes of one delta over all sequences */
} me_prefix;

/* What every engine's prefix begins with; the rest of it, and itself, are the engine's to free. */
static inline void me_prefix_free_arrays(me_prefix *prefix) {
    me_free(prefix->values);
    me_free(prefix->hidden);
    me_free(prefix->attention);
    me_free(prefix->rms);
}

typedef struct me_engine me_engine;

struct me_engine_ops {
    const char *name;
    void (*close)(me_engine *engine);

    /* Gives back working memory until the next call needs it again. NULL: there is none worth it. */
    void (*release)(me_engine *engine);

    /* Runs the sequences through all layers and keeps the prefix, which needs the sequences no longer. All
     * must have the same n_read. */
    mobiedit_status (*prefix)(me_engine *engine, int layer, const me_sequence *sequences, int n,
                              me_prefix **out, mobiedit_error *err);
    void (*prefix_free)(me_engine *engine, me_prefix *prefix);

    /* deltas [n_deltas][d] x sequences which[n_which] (indices into the prefix) ->
     * hidden [n_deltas][n_which][n_read][d], pre-norm final hidden vectors. Each delta is added at edit_pos
     * and at all of more_pos. */
    mobiedit_status (*suffix)(me_engine *engine, const me_prefix *prefix, const float *deltas, int n_deltas,
                              const int *which, int n_which, float *hidden, mobiedit_error *err);

    /* How hidden changes from base [d] to each of the deltas: responses
     * [n_deltas][n_which][n_read][d]. Like the difference of two suffix results, but with little of
     * their rounding noise, however small the step. */
    mobiedit_status (*responses)(me_engine *engine, const me_prefix *prefix, const float *base,
                                 const float *deltas, int n_deltas, const int *which, int n_which,
                                 float *responses, mobiedit_error *err);

    /* Inputs of the MLP of `layer`, what its gate and up projections read, at the read
     * positions, sequence after sequence: keys [sum n_read][d]. Layers above are not run;
     * edit_pos and more_pos are not used; n_read may differ. */
    mobiedit_status (*keys)(me_engine *engine, int layer, const me_sequence *sequences, int n, float *keys,
                            mobiedit_error *err);

    /* What the MLP's neurons give there, the inputs of its down
     * projection: activations [sum n_read][d_ff]. Not of a site of experts. */
    mobiedit_status (*activations)(me_engine *engine, int layer, const me_sequence *sequences, int n,
                                   float *activations, mobiedit_error *err);

    /* The same for inputs of that MLP that `keys` handed out: keys [n][d] -> activations [n][d_ff]. NULL: the
     * engine has no shorter way than `activations`. */
    mobiedit_status (*activations_at)(me_engine *engine, int layer, const float *keys, int n,
                                      float *activations, mobiedit_error *err);

    /* activations where the site of `layer` is experts: of each read position the experts that it goes
     * through, experts [sum n_read][n_experts_used], and what their neurons give: activations [sum
     * n_read][n_experts_used][d_ff]. NULL: the engine runs no such models. */
    mobiedit_status (*expert_activations)(me_engine *engine, int layer, const me_sequence *sequences, int n,
                                          float *activations, int32_t *experts, mobiedit_error *err);

    /* The whole forward pass: hidden [sum n_read][d] at the read positions. n_read may differ. */
    mobiedit_status (*forward)(me_engine *engine, const me_sequence *sequences, int n, float *hidden,
                               mobiedit_error *err);

    /* What the model says behind each sequence, the likeliest token each time: tokens [n][n_tokens]. With keys
     * (else NULL), also what the MLP of `layer`, which is not the last, reads from each sequence's read_pos up to
     * its end, and at all tokens that are said but the last: keys [sum of (n_read + n_tokens - 1)][d], where the
     * read positions must end with the sequence; without, they are not used. NULL: the engine has no shorter way
     * than `forward`, `logits` and `keys`. */
    mobiedit_status (*generate)(me_engine *engine, const me_sequence *sequences, int n, int n_tokens,
                                int32_t *tokens, int layer, float *keys, mobiedit_error *err);

    /* Final norm and unembedding: hidden [n][d] -> logits [n][n_vocab]. */
    mobiedit_status (*logits)(me_engine *engine, const float *hidden, int n, float *logits,
                              mobiedit_error *err);
};

struct me_engine {
    const struct me_engine_ops *ops;
    const me_model *model;
    float logit_scale; /* factor of the logits before any cap; 0: 1 */
    float least_step;  /* shortest step of delta, in lengths of the value, that `responses` measures well */
};

typedef struct {
    size_t memory_bytes; /* budget for batches; 0 = the default. The batch shrinks to fit; E_MEMORY if one
                            column cannot */
    const char *kernels; /* table name for tests and benchmarks; NULL: as me_kernels_choose says */
    int activation_bits; /* 16 or 8: the arithmetic of a mobile NPU (native/profile.h); 0: the kernels' own */
    const me_sequence *calibration; /* [n_calibration], with activation_bits: texts whose activations are the
                                       largest that are represented; all their positions are read */
    int n_calibration;
} me_native_options;

/* model and pool must outlive the engine, the calibration need not. */
mobiedit_status me_native_open(const me_model *model, me_pool *pool, const me_native_options *options,
                               me_engine **out, mobiedit_error *err);

typedef struct {
    const char *backend; /* a device of ggml's by its name, or "rpc:HOST:PORT[,HOST:PORT...]" */
    size_t memory_bytes; /* budget for batches, as above */
    int threads;         /* on the CPU; 0: one per processor */
} me_ggml_options;

/* model must outlive the engine. E_ARGUMENT where there is no such backend. */
mobiedit_status me_ggml_open(const me_model *model, const me_ggml_options *options, me_engine **out,
                             mobiedit_error *err);

typedef struct {
    size_t memory_bytes; /* budget for batches, as above */
    int threads;         /* 0: one per processor */
} me_llama_options;

/* libllama's own forward pass, on the CPU: whatever it runs. model must outlive the engine. */
mobiedit_status me_llama_open(const me_model *model, const me_llama_options *options, me_engine **out,
                              mobiedit_error *err);

#endif
