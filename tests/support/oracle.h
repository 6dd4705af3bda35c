/* libllama's logits of a token sequence, K and V kept in float32: what our engine is compared with. */
#ifndef ME_TESTS_ORACLE_H
#define ME_TESTS_ORACLE_H

#include "model/llama_init.h"

#include <llama.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    struct llama_model *model;
    struct llama_context *context;
} oracle;

static inline void oracle_close(oracle *o) {
    llama_free(o->context);
    llama_model_free(o->model);
    *o = (oracle){0};
}

/* On the CPU alone, also where ggml has other devices. Weights stay as they are in the file (no repacking),
 * sequences up to `n_context` tokens. */
static inline bool oracle_open(const char *path, int n_context, int threads, oracle *o) {
    me_llama_init();
    struct llama_model_params model_params = llama_model_default_params();
    model_params.use_extra_bufts = false;
    ggml_backend_dev_t no_devices[] = {NULL};
    model_params.devices = no_devices;
    model_params.n_gpu_layers = 0;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = (uint32_t)n_context;
    params.n_threads = params.n_threads_batch = threads;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.offload_kqv = params.op_offload = false;
    o->model = llama_model_load_from_file(path, model_params);
    o->context = o->model ? llama_init_from_model(o->model, params) : NULL;
    if (!o->context) oracle_close(o);
    return o->context != NULL;
}

static inline int oracle_vocab_size(const oracle *o) {
    return llama_vocab_n_tokens(llama_model_get_vocab(o->model));
}

/* Whether ggml has a device of that name that is no CPU. */
static inline bool is_gpu(const char *name) {
    me_llama_init();
    ggml_backend_dev_t device = ggml_backend_dev_by_name(name);
    return device && ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_CPU;
}

/* logits [n][n_vocab] after each token. */
static inline bool oracle_logits(oracle *o, const int32_t *tokens, int n, float *logits) {
    size_t n_vocab = (size_t)oracle_vocab_size(o);
    llama_memory_clear(llama_get_memory(o->context), true);
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    batch.n_tokens = n;
    for (int i = 0; i < n; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    bool ok = llama_decode(o->context, batch) == 0;
    for (int i = 0; ok && i < n; i++)
        memcpy(logits + (size_t)i * n_vocab, llama_get_logits_ith(o->context, i), n_vocab * sizeof *logits);
    llama_batch_free(batch);
    return ok;
}

#endif
