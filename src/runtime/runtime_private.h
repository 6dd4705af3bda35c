/* What the parts of the runtime share. */
#ifndef ME_RUNTIME_RUNTIME_PRIVATE_H
#define ME_RUNTIME_RUNTIME_PRIVATE_H

#include "runtime/runtime.h"
#include "runtime/text.h"
#include "runtime/threads.h"

#include <llama.h>

/* libllama keeps room for the logits of MAX_OUTPUTS positions twice (its result, and its copy of it), each
 * n_vocab floats: more positions are asked for in several batches. */
enum { ME_RUNTIME_MAX_BATCH = 512, ME_RUNTIME_MAX_OUTPUTS = 32 };

struct me_runtime {
    struct llama_model *model;
    struct llama_context *context;
    struct llama_adapter_lora *adapter; /* attached; NULL where none is */
    me_vocab *vocab;
    me_threads threads;
    int n_vocab;
    int n_context;
    int n_batch;
    int n_sequences;                      /* that may be in the KV cache at once */
    int n_past;                           /* tokens of sequence 0 in the KV cache */
    int8_t outputs[ME_RUNTIME_MAX_BATCH]; /* scratch: which tokens of a batch give logits */
};

/* Empties the KV cache. */
void me_runtime_forget(me_runtime *runtime);

/* One llama_decode of at most n_batch tokens, with its failures told apart. */
mobiedit_status me_runtime_decode(me_runtime *runtime, struct llama_batch batch, mobiedit_error *err);

/* Logits [n_vocab] after token i of the last batch. */
mobiedit_status me_runtime_row(me_runtime *runtime, int i, const float **logits, mobiedit_error *err);

/* Adds what the token reads as. */
mobiedit_status me_runtime_add_piece(const me_runtime *runtime, me_token token, me_text *text,
                                     mobiedit_error *err);

#endif
