/* accuracy_dump MODEL.gguf TEXT.txt N tokens|native|libllama|libllama-kv32|BACKEND OUT
 *
 * Writes to OUT the first N tokens of the text as int32, or the logits after each of them as float32
 * [N][n_vocab]: by the native engine, by libllama as the library runs it, or by libllama with K and V kept in
 * float32 instead of float16, or by the ggml engine on BACKEND. For bench/accuracy.py. */
#include "base/memory.h"
#include "engine/engine.h"
#include "model/vocab.h"
#include "runtime/runtime.h"
#include "tests/oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20, ROWS = 32 };

typedef struct {
    const char *model_path;
    me_tokens tokens;
    FILE *out;
} dump;

static bool put(const dump *d, const void *data, size_t size, size_t n) {
    return fwrite(data, size, n, d->out) == n;
}

static mobiedit_status write_failed(mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_IO, "cannot write the output");
}

static mobiedit_status read_text(const char *path, char **out, mobiedit_error *err) {
    char *text = me_calloc(MAX_TEXT + 1, 1);
    FILE *file = text ? fopen(path, "rb") : NULL;
    if (!file || fread(text, 1, MAX_TEXT, file) == 0 || fclose(file) != 0)
        return me_fail(err, MOBIEDIT_E_IO, "cannot read %s", path);
    *out = text;
    return MOBIEDIT_OK;
}

static mobiedit_status cut_text(dump *d, const char *path, int n, mobiedit_error *err) {
    me_vocab *vocab = NULL;
    char *text = NULL;
    ME_TRY(read_text(path, &text, err));
    ME_TRY(me_vocab_open(d->model_path, &vocab, err));
    ME_TRY(me_tokenize(vocab, text, &d->tokens, err));
    me_vocab_close(vocab);
    me_free(text);
    if (n < 1 || n > d->tokens.n)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s has %d tokens", path, d->tokens.n);
    d->tokens.n = n;
    return MOBIEDIT_OK;
}

static mobiedit_status dump_tokens(const dump *d, mobiedit_error *err) {
    return put(d, d->tokens.ids, sizeof *d->tokens.ids, (size_t)d->tokens.n) ? MOBIEDIT_OK
                                                                             : write_failed(err);
}

/* ROWS positions at a time: the logits of a large vocabulary need much room. */
static mobiedit_status dump_engine(const dump *d, const char *backend, mobiedit_error *err) {
    me_model *model;
    me_pool *pool;
    me_engine *engine;
    int n = d->tokens.n;
    ME_TRY(me_model_open(d->model_path, &model, err));
    ME_TRY(me_pool_open(0, &pool, err));
    if (backend)
        ME_TRY(me_ggml_open(model, &(me_ggml_options){.backend = backend}, &engine, err));
    else
        ME_TRY(me_native_open(model, pool, NULL, &engine, err));
    size_t d_model = (size_t)model->d_model, n_vocab = (size_t)model->n_vocab;
    float *hidden = me_calloc((size_t)n * d_model, sizeof *hidden);
    float *logits = me_calloc(ROWS * n_vocab, sizeof *logits);
    if (!hidden || !logits) return me_fail_memory(err, "logits");
    const me_sequence whole = {d->tokens.ids, n, 0, 0, n};
    ME_TRY(engine->ops->forward(engine, &whole, 1, NULL, hidden, err));
    for (int first = 0; first < n; first += ROWS) {
        int rows = n - first < ROWS ? n - first : ROWS;
        ME_TRY(engine->ops->logits(engine, hidden + (size_t)first * d_model, rows, logits, err));
        if (!put(d, logits, sizeof *logits, (size_t)rows * n_vocab)) return write_failed(err);
    }
    me_free(hidden);
    me_free(logits);
    engine->ops->close(engine);
    me_pool_close(pool);
    me_model_close(model);
    return MOBIEDIT_OK;
}

static mobiedit_status dump_libllama(const dump *d, mobiedit_error *err) {
    me_runtime *runtime;
    ME_TRY(me_runtime_open(d->model_path, NULL, &runtime, err));
    size_t count = (size_t)d->tokens.n * (size_t)me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc(count, sizeof *logits);
    if (!logits) return me_fail_memory(err, "logits");
    ME_TRY(me_runtime_logits(runtime, d->tokens.ids, d->tokens.n, d->tokens.n, logits, err));
    if (!put(d, logits, sizeof *logits, count)) return write_failed(err);
    me_free(logits);
    me_runtime_close(runtime);
    return MOBIEDIT_OK;
}

static mobiedit_status dump_libllama_kv32(const dump *d, mobiedit_error *err) {
    oracle o;
    if (!oracle_open(d->model_path, d->tokens.n, 2, &o))
        return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama cannot load %s", d->model_path);
    size_t count = (size_t)d->tokens.n * (size_t)oracle_vocab_size(&o);
    float *logits = me_calloc(count, sizeof *logits);
    if (!logits) return me_fail_memory(err, "logits");
    if (!oracle_logits(&o, d->tokens.ids, d->tokens.n, logits))
        return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama failed to evaluate the text");
    if (!put(d, logits, sizeof *logits, count)) return write_failed(err);
    me_free(logits);
    oracle_close(&o);
    return MOBIEDIT_OK;
}

static mobiedit_status run(char **arguments, mobiedit_error *err) {
    dump d = {.model_path = arguments[1]};
    const char *what = arguments[4];
    ME_TRY(cut_text(&d, arguments[2], atoi(arguments[3]), err));
    d.out = fopen(arguments[5], "wb");
    if (!d.out) return write_failed(err);
    if (strcmp(what, "tokens") == 0)
        ME_TRY(dump_tokens(&d, err));
    else if (strcmp(what, "native") == 0)
        ME_TRY(dump_engine(&d, NULL, err));
    else if (strcmp(what, "libllama") == 0)
        ME_TRY(dump_libllama(&d, err));
    else if (strcmp(what, "libllama-kv32") == 0)
        ME_TRY(dump_libllama_kv32(&d, err));
    else
        ME_TRY(dump_engine(&d, what, err));
    me_tokens_free(&d.tokens);
    return fclose(d.out) == 0 ? MOBIEDIT_OK : write_failed(err);
}

int main(int argc, char **argv) {
    mobiedit_error err = {0};
    if (argc != 6) {
        (void)fprintf(
            stderr, "usage: accuracy_dump MODEL.gguf TEXT.txt N tokens|native|libllama|libllama-kv32 OUT\n");
        return 2;
    }
    if (run(argv, &err) == MOBIEDIT_OK) return 0;
    (void)fprintf(stderr, "accuracy_dump: %s\n", err.message);
    return 1;
}
