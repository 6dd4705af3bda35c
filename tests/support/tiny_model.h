/* Small GGUF models with random weights and a real vocabulary, which libllama loads and runs: what the
 * engines, the runtime and the file checks are tested on. Link me_test_support and the module base. */
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include <ggml.h>
#include <gguf.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero: the defaults in brackets. Weights depend on the seed and the sizes only, not on `type`. */
typedef struct {
    enum ggml_type type;       /* of all matrices [F32] */
    int n_layer;               /* [2] */
    int d_model;               /* [64; 256 for K-quants], a multiple of the type's block */
    int d_ff;                  /* [2 d_model] */
    int n_head, n_head_kv;     /* [4, 2] */
    int head_dim;              /* [d_model / n_head; twice that for qwen3 and gemma3] */
    bool untied;               /* an output matrix of its own */
    bool biases;               /* every bias that the architecture may have (qwen2 has q, k, v always) */
    bool sentencepiece;        /* a SentencePiece vocabulary [byte-pair; gemma3: SentencePiece] */
    int window, window_period; /* gemma3: sliding window [none], every window_period-th layer sees all [6] */
    float softcap;             /* gemma3: final logits [none] */
    const char *rope_scaling;  /* "none", "linear", "yarn" [absent] */
    float rope_factor;         /* [absent] */
    int rope_original_context; /* [absent] */
    bool rope_freq_factors;    /* llama: rope_freqs.weight */
    uint64_t seed;
    /* Called on the finished file before it is written, to spoil it; may be NULL. */
    void (*change)(struct gguf_context *gguf, const void *user);
    const void *user;
    const char *leave_out; /* name of a tensor that is not written; may be NULL */
    const char *rename;    /* name of a tensor ... */
    const char *new_name;  /* ... that is written under this name */
} tiny_model_options;

enum { TINY_CONTEXT = 512 };

/* Writes a model of architecture `arch` to `path`; `options` may be NULL. False where that fails. */
/* Writes the vocabulary of such a model; its number of tokens, 0: out of memory. */
int tiny_vocab_write(struct gguf_context *gguf, bool sentencepiece);

bool tiny_model_write(const char *path, const char *arch, const tiny_model_options *options);

#endif
