/* A GGUF model: hyperparameters, and tensors left where they lie in the mapped file, or in the mapped parts of a
 * split model.
 *
 * Everything read from a file is checked before use (counts, dimensions, types, offsets against the file's
 * size): the file is untrusted. Our own engines run the architectures llama, qwen2, qwen3, gemma3 and smollm3. Of
 * others, and of variants of these, which only libllama runs, what an edit needs is read (sites.h). */
#ifndef ME_MODEL_MODEL_H
#define ME_MODEL_MODEL_H

#include "base/error.h"

#include <ggml.h>
#include <stdint.h>

/* ME_ARCH_FOREIGN: only libllama runs it. */
typedef enum {
    ME_ARCH_LLAMA,
    ME_ARCH_QWEN2,
    ME_ARCH_QWEN3,
    ME_ARCH_GEMMA3,
    ME_ARCH_SMOLLM3,
    ME_ARCH_FOREIGN
} me_arch;

/* What a neuron makes of its readings of the MLP's input: the first four of its gate, which is multiplied by
 * up; the others of up alone, where there is no gate. */
typedef enum {
    ME_ACTIVATION_SILU,
    ME_ACTIVATION_GELU_TANH,
    ME_ACTIVATION_RELU,
    ME_ACTIVATION_CLAMPED_SWISH, /* of gate and up held within a limit, and 1 is added to up: gpt-oss */
    ME_ACTIVATION_UP_GELU_TANH,
    ME_ACTIVATION_UP_RELU_SQUARED
} me_activation;

/* Of ME_ACTIVATION_CLAMPED_SWISH: x sigmoid(slope x), x the gate's reading or the limit. */
#define ME_SWISH_SLOPE 1.702F
#define ME_SWISH_LIMIT 7.0F

/* A weight matrix of n_out rows with n_in values each, row_bytes apart, in the quant type `type`;
 * a vector (norm weight, bias) has n_out = 1. data == NULL: the model has no such tensor. */
typedef struct {
    const void *data;
    enum ggml_type type;
    int64_t n_in;
    int64_t n_out;
    size_t row_bytes;
} me_tensor;

/* Rotary embedding of one layer, as ggml's rope defines it. freq_factors: [rope_dims / 2] or NULL. */
typedef struct {
    bool neox; /* pairs (i, i + rope_dims / 2) instead of (2i, 2i + 1) */
    int dims;  /* leading dimensions of a head that are rotated; 0: the layer has no rotation */
    float freq_base;
    float freq_scale;
    float ext_factor, attn_factor, beta_fast, beta_slow; /* YaRN; ext_factor 0 = off */
    int n_ctx_orig;
    const float *freq_factors;
} me_rope;

/* Where in a layer an edit can take a neuron over: see sites.h. */
typedef enum {
    ME_SITE_DENSE,   /* an MLP of gate, up and down, or of up and down */
    ME_SITE_FUSED,   /* the same, gate and up in one tensor, gate's rows first */
    ME_SITE_SHARED,  /* the expert that every token goes through, of the same form */
    ME_SITE_EXPERTS, /* experts of which a token goes through some, each of the same form */
    ME_SITE_NONE,
} me_site;

typedef struct {
    me_site site;
    me_tensor gate_up;        /* of a fused one: the tensor whose rows gate and up are */
    me_tensor attn_norm;      /* [d_model] */
    me_tensor wq, wk, wv, wo; /* wq: n_head*head_dim x d_model ... wo: d_model x n_head*head_dim */
    me_tensor bq, bk, bv, bo; /* optional */
    me_tensor q_norm, k_norm; /* optional, [head_dim]: RMS norm of each head */
    me_tensor post_attn_norm; /* optional, [d_model]: between wo and the residual */
    me_tensor ffn_norm;       /* [d_model] */
    me_tensor gate, up, down; /* d_ff x d_model (gate: see me_has_gate), d_ff x d_model, d_model x d_ff */
    me_tensor gate_b, up_b, down_b; /* optional; a row for each expert */
    int n_experts; /* where the site is experts: gate, up and down are the first's, see me_expert_matrix */
    me_tensor post_ffn_norm; /* optional, [d_model]: between down and the residual */
    me_rope rope;
    int window; /* sliding window: a token sees positions > pos - window; 0 = all */
} me_layer;

/* A file of a model, mapped read-only. */
typedef struct {
    char *path;
    const void *map;
    size_t size;
} me_model_file;

typedef struct me_model {
    char *path; /* of the first file */
    char *name; /* as general.name says, else the file's */
    me_arch arch;
    const char *arch_name; /* as general.architecture says */
    int n_layer, d_model, d_ff, n_head, n_head_kv, head_dim, n_vocab, n_ctx_train;
    float norm_eps;
    float embedding_scale; /* multiplies token embeddings; 1 or sqrt(d_model) */
    float attn_scale;      /* multiplies q.k */
    float logit_softcap;   /* 0 = none, else cap * tanh(logit / cap) */
    bool layer_norm;       /* the final norm takes the mean off first */
    char *why_foreign;     /* why our own engines do not run it, one line; NULL: they do */
    me_activation activation;
    int n_experts_used;           /* of its experts, those that a token goes through */
    me_tensor tok_embd;           /* n_vocab x d_model */
    me_tensor output_norm;        /* [d_model] */
    const char *output_norm_name; /* in the file */
    me_tensor output;             /* n_vocab x d_model; tok_embd where tied */
    me_layer *layers;             /* [n_layer] */
    me_model_file *files;         /* [n_files]: one, or the parts of a split model in their order */
    int n_files;
} me_model;

/* Maps and checks the file, and the other parts of a split model whose first part it is: they are found by
 * their names (base/parts.h). *out is closed by the caller; it owns the mappings and every tensor.
 * E_UNSUPPORTED where our own engines do not run the model; E_ARGUMENT where the file is another part than the
 * first. */
mobiedit_status me_model_open(const char *path, me_model **out, mobiedit_error *err);

/* The same, also where only libllama runs it. Of a foreign model's tensors those of its sites are known, the
 * ends, and those of the attention that have the usual form. */
mobiedit_status me_model_open_any(const char *path, me_model **out, mobiedit_error *err);
void me_model_close(me_model *model);

/* Tells the system that the mapped pages are not needed for now (they are read again from the file on use),
 * so that another mapping of the same file does not count twice against the process. */
void me_model_release_pages(const me_model *model);

/* Of all its files. */
size_t me_model_bytes(const me_model *model);

/* Whether the path stands for one of its files. */
bool me_model_has_file(const me_model *model, const char *path);

/* The matrices of a layer, in the order in which they are used: wq, wk, wv, wo, gate, up, down; and their
 * names behind "blk.<layer>.". */
enum { ME_LAYER_MATRICES = 7 };
const me_tensor *me_layer_matrix(const me_layer *layer, int i);
const char *me_layer_matrix_name(int i);

/* Whether neurons have a gate beside up. */
bool me_has_gate(me_activation activation);

/* The activation function of the MLP's gate, or of up where there is none, by the C library's exponential
 * function. The engines have faster ones, which are tested against this. */
float me_activate(me_activation activation, float x);

/* What is added to the reading of up before the gate's activation is multiplied by it. */
float me_up_offset(me_activation activation);

/* How far from 0 gate and up may be: gate is cut off above it, up on both sides. Infinite where neither
 * is. */
float me_reading_limit(me_activation activation);

/* The matrices of an MLP: blk.L.ffn_gate, ffn_up, ffn_down. */
typedef enum { ME_MLP_GATE, ME_MLP_UP, ME_MLP_DOWN } me_mlp_matrix;
enum { ME_MLP_MATRICES = 3 };

/* As they are in the file: where gate and up are fused, up is both, and gate has no data; nor has it where there
 * is none. */
const me_tensor *me_mlp_tensor(const me_model *model, int layer, me_mlp_matrix matrix);

/* How many of each matrix the layer's site has: its experts, else 1. */
int me_mlp_experts(const me_model *model, int layer);

/* And how many of them a token goes through. */
int me_mlp_experts_used(const me_model *model, int layer);

/* The matrix of an expert: in the file it follows that of the expert before it. */
me_tensor me_expert_matrix(const me_tensor *first, int expert);

/* The matrix's name in the model's file, e.g. "blk.3.ffn_gate.weight". */
void me_mlp_tensor_name(const me_model *model, int layer, me_mlp_matrix matrix, char name[GGML_MAX_NAME]);

/* Row `row` of a tensor as n_in floats. The row must exist; every tensor of an open model has a type that
 * ggml can convert. */
void me_tensor_row(const me_tensor *tensor, int64_t row, float *out);

#endif
