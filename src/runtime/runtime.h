/* libllama as the runtime that will serve the edit: generation and next-token
 * scores, with or without an adapter. */
#ifndef ME_RUNTIME_RUNTIME_H
#define ME_RUNTIME_RUNTIME_H

#include "model/vocab.h"

typedef struct me_runtime me_runtime;

enum { ME_RUNTIME_MAX_SEQUENCES = 32, ME_RUNTIME_CONTEXT = 1024 /* tokens, unless options say more */ };

typedef struct {
    int threads;     /* 0 = one per processor */
    int n_context;   /* 0 = ME_RUNTIME_CONTEXT */
    int n_sequences; /* side by side in the calls of batch.h; 0 = 1. Each costs n_vocab floats */
} me_runtime_options;

/* Weights stay mapped: no repacking, no copies. libllama's log is silenced. */
mobiedit_status me_runtime_open(const char *model_path, const me_runtime_options *options, me_runtime **out,
                                mobiedit_error *err);
void me_runtime_close(me_runtime *runtime);

/* Attaches the adapter file for what follows; NULL detaches. Check the file first (me_adapter_check). */
mobiedit_status me_runtime_set_adapter(me_runtime *runtime, const char *path, mobiedit_error *err);

/* Logits [n_last][n_vocab] after each of the last n_last tokens of the sequence, into `logits`. */
mobiedit_status me_runtime_logits(me_runtime *runtime, const me_token *tokens, int n, int n_last,
                                  float *logits, mobiedit_error *err);

/* The next greedy token of a prompt. */
mobiedit_status me_runtime_next_token(me_runtime *runtime, const char *prompt, me_token *out,
                                      mobiedit_error *err);

/* Called for each piece of text; false stops generation. */
typedef bool (*me_text_fn)(void *user, const char *piece);

/* Greedy continuation of at most max_tokens tokens, stopping at the model's end tokens or
 * where stop_at_newline or stop_at_sentence. *text (freed with me_free) is the
 * continuation; on_piece may be NULL. */
typedef struct {
    int max_tokens;
    bool stop_at_newline;
    bool stop_at_sentence; /* one that ends behind least_bytes bytes or more */
    size_t least_bytes;
    me_text_fn on_piece;
    void *user;
} me_generate_options;
mobiedit_status me_runtime_generate(me_runtime *runtime, const me_token *prompt, int n_prompt,
                                    const me_generate_options *options, char **text, mobiedit_error *err);

/* Tokens of the messages in the model's chat template, the assistant's turn
 * opened. E_UNSUPPORTED as me_vocab_chat. */
mobiedit_status me_runtime_chat_tokens(me_runtime *runtime, const me_chat_message *messages, size_t n,
                                       me_tokens *out, mobiedit_error *err);

/* The same vocabulary object as me_vocab, owned by the runtime. */
const me_vocab *me_runtime_vocab(const me_runtime *runtime);

#endif
