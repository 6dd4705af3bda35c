/* accuracy_dump MODEL.gguf TEXT.txt N tokens|native|libllama|libllama-kv32|BACKEND OUT
 *
 * Writes to OUT the first N tokens of the text as int32, or the logits after each of them as float32
 * [N][n_vocab]: by the native engine, by libllama as the library runs it, or by libllama with K and V kept in
 * float32 instead of float16, or by the ggml engine on BACKEND. For bench/accuracy.py. */
#include "base/file.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "model/vocab.h"
#include "oracle.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20, ROWS = 32 };

typedef struct {
    const char *model_path;
    me_tokens tokens;
    FILE *out;
} dump;

static mobiedit_status put(const dump *d, const void *data, size_t size, size_t n, mobiedit_error *err) {
    return fwrite(data, size, n, d->out) == n ? MOBIEDIT_OK
                                              : me_fail(err, MOBIEDIT_E_IO, "cannot write the output");
}

static mobiedit_status cut_text(dump *d, const char *path, int n, mobiedit_error *err) {
    me_vocab *vocab = NULL;
    char *text = NULL;
    size_t length;
    ME_TRY(me_read_file(path, MAX_TEXT, &text, &length, err));
    mobiedit_status status = me_vocab_open(d->model_path, &vocab, err);
    if (status == MOBIEDIT_OK) status = me_tokenize(vocab, text, &d->tokens, err);
    me_vocab_close(vocab);
    me_free(text);
    ME_TRY(status);
    if (n < 1 || n > d->tokens.n)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s has %d tokens", path, d->tokens.n);
    d->tokens.n = n;
    return MOBIEDIT_OK;
}

static mobiedit_status dump_tokens(const dump *d, mobiedit_error *err) {
    return put(d, d->tokens.ids, sizeof *d->tokens.ids, (size_t)d->tokens.n, err);
}

/* ROWS positions at a time: the logits of a large vocabulary need much room. */
static mobiedit_status dump_rows(const dump *d, me_engine *engine, mobiedit_error *err) {
    const int n = d->tokens.n;
    const size_t d_model = (size_t)engine->model->d_model, n_vocab = (size_t)engine->model->n_vocab;
    const me_sequence whole = {.tokens = d->tokens.ids, .n_tokens = n, .n_read = n};
    float *hidden = me_calloc((size_t)n * d_model, sizeof *hidden);
    float *logits = me_calloc(ROWS * n_vocab, sizeof *logits);
    mobiedit_status status = hidden && logits ? MOBIEDIT_OK : me_fail_memory(err, "logits");
    if (status == MOBIEDIT_OK) status = engine->ops->forward(engine, &whole, 1, hidden, err);
    for (int first = 0; first < n && status == MOBIEDIT_OK; first += ROWS) {
        const int rows = n - first < ROWS ? n - first : ROWS;
        status = engine->ops->logits(engine, hidden + (size_t)first * d_model, rows, logits, err);
        if (status == MOBIEDIT_OK) status = put(d, logits, sizeof *logits, (size_t)rows * n_vocab, err);
    }
    me_free(hidden);
    me_free(logits);
    return status;
}

/* backend NULL: the native engine. */
static mobiedit_status dump_engine(const dump *d, const char *backend, mobiedit_error *err) {
    me_model *model = NULL;
    me_pool *pool = NULL;
    me_engine *engine = NULL;
    mobiedit_status status = me_model_open(d->model_path, &model, err);
    if (status == MOBIEDIT_OK) status = me_pool_open(0, &pool, err);
    if (status == MOBIEDIT_OK)
        status = backend ? me_ggml_open(model, &(me_ggml_options){.backend = backend}, &engine, err)
                         : me_native_open(model, pool, NULL, &engine, err);
    if (status == MOBIEDIT_OK) status = dump_rows(d, engine, err);
    if (engine) engine->ops->close(engine);
    me_pool_close(pool);
    me_model_close(model);
    return status;
}

static mobiedit_status dump_libllama(const dump *d, mobiedit_error *err) {
    me_runtime *runtime = NULL;
    ME_TRY(me_runtime_open(d->model_path, NULL, &runtime, err));
    const size_t count = (size_t)d->tokens.n * (size_t)me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc(count, sizeof *logits);
    mobiedit_status status = logits ? MOBIEDIT_OK : me_fail_memory(err, "logits");
    if (status == MOBIEDIT_OK)
        status = me_runtime_logits(runtime, d->tokens.ids, d->tokens.n, d->tokens.n, logits, err);
    if (status == MOBIEDIT_OK) status = put(d, logits, sizeof *logits, count, err);
    me_free(logits);
    me_runtime_close(runtime);
    return status;
}

static mobiedit_status dump_libllama_kv32(const dump *d, mobiedit_error *err) {
    oracle o;
    if (!oracle_open(d->model_path, d->tokens.n, 2, &o))
        return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama cannot load %s", d->model_path);
    const size_t count = (size_t)d->tokens.n * (size_t)oracle_vocab_size(&o);
    float *logits = me_calloc(count, sizeof *logits);
    mobiedit_status status = logits ? MOBIEDIT_OK : me_fail_memory(err, "logits");
    if (status == MOBIEDIT_OK && !oracle_logits(&o, d->tokens.ids, d->tokens.n, logits))
        status = me_fail(err, MOBIEDIT_E_RUNTIME, "libllama failed to evaluate the text");
    if (status == MOBIEDIT_OK) status = put(d, logits, sizeof *logits, count, err);
    me_free(logits);
    oracle_close(&o);
    return status;
}

static mobiedit_status dump_what(const dump *d, const char *what, mobiedit_error *err) {
    if (strcmp(what, "tokens") == 0) return dump_tokens(d, err);
    if (strcmp(what, "native") == 0) return dump_engine(d, NULL, err);
    if (strcmp(what, "libllama") == 0) return dump_libllama(d, err);
    if (strcmp(what, "libllama-kv32") == 0) return dump_libllama_kv32(d, err);
    return dump_engine(d, what, err);
}

static mobiedit_status write_out(dump *d, const char *what, const char *path, mobiedit_error *err) {
    d->out = fopen(path, "wb");
    if (!d->out) return me_fail(err, MOBIEDIT_E_IO, "cannot write %s", path);
    const mobiedit_status status = dump_what(d, what, err);
    const bool closed = fclose(d->out) == 0;
    if (status != MOBIEDIT_OK || closed) return status;
    return me_fail(err, MOBIEDIT_E_IO, "cannot write %s", path);
}

static mobiedit_status run(char **arguments, mobiedit_error *err) {
    dump d = {.model_path = arguments[1]};
    mobiedit_status status = cut_text(&d, arguments[2], atoi(arguments[3]), err);
    if (status == MOBIEDIT_OK) status = write_out(&d, arguments[4], arguments[5], err);
    me_tokens_free(&d.tokens);
    return status;
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
