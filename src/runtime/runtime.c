/* libllama as the runtime that serves an edit: logits, next tokens, generation. */
#include "runtime/runtime.h"

#include "base/logits.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/usage.h"
#include "model/llama_init.h"
#include "model/vocab_internal.h"
#include "runtime/runtime_private.h"

#include <string.h>

enum { MAX_CONTEXT = 1 << 20, MAX_BATCH = ME_RUNTIME_MAX_BATCH, MAX_OUTPUTS = ME_RUNTIME_MAX_OUTPUTS };

/* Attention as llama-cpp-python has it by default, so that its greedy text is ours. */
static struct llama_context *make_context(const me_runtime *runtime) {
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)runtime->n_context;
    params.n_batch = (uint32_t)runtime->n_batch;
    params.n_ubatch = (uint32_t)runtime->n_batch;
    params.n_seq_max = (uint32_t)runtime->n_sequences;
    params.kv_unified = true; /* sequences share the cells of what they have in common */
    params.n_outputs_max = MAX_OUTPUTS;
    params.n_threads = runtime->threads.n;
    params.n_threads_batch = runtime->threads.n;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.offload_kqv = false;
    params.op_offload = false;
    params.no_perf = true;
    return llama_init_from_model(runtime->model, params);
}

static mobiedit_status open_parts(me_runtime *runtime, const char *path, mobiedit_error *err) {
    runtime->model = me_llama_load(path);
    if (!runtime->model) return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama cannot load %s", path);
    runtime->context = make_context(runtime);
    if (!runtime->context)
        return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama has no context of %d tokens for %s",
                       runtime->n_context, path);
    runtime->n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(runtime->model));
    return me_vocab_borrow(runtime->model, path, &runtime->vocab, err);
}

mobiedit_status me_runtime_open(const char *model_path, const me_runtime_options *options, me_runtime **out,
                                mobiedit_error *err) {
    me_runtime_options o = options ? *options : (me_runtime_options){0};
    if (o.threads < 0) return me_fail(err, MOBIEDIT_E_ARGUMENT, "threads must not be %d", o.threads);
    if (o.n_context < 0 || o.n_context > MAX_CONTEXT)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a context of %d tokens is not possible", o.n_context);
    if (o.n_sequences < 0 || o.n_sequences > ME_RUNTIME_MAX_SEQUENCES)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "%d sequences at once are not possible", o.n_sequences);
    me_llama_init();
    me_runtime *runtime = me_calloc(1, sizeof *runtime);
    if (!runtime) return me_fail_memory(err, "the runtime");
    runtime->n_context = o.n_context ? o.n_context : ME_RUNTIME_CONTEXT;
    runtime->n_batch = runtime->n_context < MAX_BATCH ? runtime->n_context : MAX_BATCH;
    runtime->n_sequences = o.n_sequences ? o.n_sequences : 1;
    runtime->threads.n = o.threads ? o.threads : me_processors();
    mobiedit_status status = open_parts(runtime, model_path, err);
    if (status != MOBIEDIT_OK) {
        me_runtime_close(runtime);
        return status;
    }
    *out = runtime;
    return MOBIEDIT_OK;
}

void me_runtime_close(me_runtime *runtime) {
    if (!runtime) return;
    me_vocab_close(runtime->vocab);
    if (runtime->context) llama_free(runtime->context);
    llama_adapter_lora_free(runtime->adapter);
    llama_model_free(runtime->model);
    me_free(runtime);
}

const me_vocab *me_runtime_vocab(const me_runtime *runtime) {
    return runtime->vocab;
}

mobiedit_status me_runtime_set_adapter(me_runtime *runtime, const char *path, mobiedit_error *err) {
    (void)llama_set_adapters_lora(runtime->context, NULL, 0, NULL);
    llama_adapter_lora_free(runtime->adapter);
    runtime->adapter = NULL;
    if (!path) return MOBIEDIT_OK;
    struct llama_adapter_lora *adapter = llama_adapter_lora_init(runtime->model, path);
    if (!adapter) return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama cannot load the adapter %s", path);
    runtime->adapter = adapter;
    float scale = 1.0f;
    if (llama_set_adapters_lora(runtime->context, &adapter, 1, &scale) != 0)
        return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama cannot attach the adapter %s", path);
    return MOBIEDIT_OK;
}

/* ---- decoding ---------------------------------------------------------------------------------------- */

/* Called with the logits [n_vocab] after the row-th of the positions asked for. */
typedef void (*row_fn)(void *user, int row, const float *logits);

void me_runtime_forget(me_runtime *runtime) {
    llama_memory_clear(llama_get_memory(runtime->context), false);
    runtime->n_past = 0;
}

static mobiedit_status decode_failure(int code, mobiedit_error *err) {
    if (code == -1) return me_fail(err, MOBIEDIT_E_ARGUMENT, "a token is not in the model's vocabulary");
    if (code == -2) return me_fail_memory(err, "libllama's buffers");
    return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama failed to evaluate the prompt (code %d)", code);
}

static int timed_decode(me_runtime *runtime, struct llama_batch batch) {
    const double wall = me_wall_seconds(), cpu = me_cpu_seconds();
    const int code = llama_decode(runtime->context, batch);
    me_threads *threads = &runtime->threads;
    if (me_threads_note(threads, me_wall_seconds() - wall, me_cpu_seconds() - cpu))
        llama_set_n_threads(runtime->context, threads->n, threads->n);
    return code;
}

mobiedit_status me_runtime_decode(me_runtime *runtime, struct llama_batch batch, mobiedit_error *err) {
    const int code = timed_decode(runtime, batch);
    return code == 0 ? MOBIEDIT_OK : decode_failure(code, err);
}

mobiedit_status me_runtime_row(me_runtime *runtime, int i, const float **logits, mobiedit_error *err) {
    *logits = llama_get_logits_ith(runtime->context, i);
    return *logits ? MOBIEDIT_OK : me_fail(err, MOBIEDIT_E_RUNTIME, "libllama gave no logits");
}

/* One batch of n <= n_batch tokens after those in the KV cache, logits of the last n_last <= MAX_OUTPUTS. */
static mobiedit_status decode_batch(me_runtime *runtime, const me_token *tokens, int n, int n_last,
                                    int first_row, row_fn on_row, void *user, mobiedit_error *err) {
    for (int i = 0; i < n; i++)
        runtime->outputs[i] = i >= n - n_last;
    /* libllama does not write to the tokens; positions follow the KV cache, the sequence is 0. */
    struct llama_batch batch = {.n_tokens = n, .token = (llama_token *)tokens, .logits = runtime->outputs};
    ME_TRY(me_runtime_decode(runtime, batch, err));
    runtime->n_past += n;
    for (int i = n - n_last; i < n; i++) {
        const float *logits;
        ME_TRY(me_runtime_row(runtime, i, &logits, err));
        on_row(user, first_row + i - (n - n_last), logits);
    }
    return MOBIEDIT_OK;
}

/* Tokens after those in the KV cache, with the logits after each of the last n_last of them. */
static mobiedit_status decode(me_runtime *runtime, const me_token *tokens, int n, int n_last, row_fn on_row,
                              void *user, mobiedit_error *err) {
    if (n < 1) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has no tokens");
    if (n_last < 1 || n_last > n)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "logits of %d positions asked for, %d tokens given", n_last,
                       n);
    if (n > runtime->n_context - runtime->n_past)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has %d tokens, but the context holds %d",
                       runtime->n_past + n, runtime->n_context);
    int first_wanted = n - n_last;
    for (int done = 0; done < n;) {
        int end = done + runtime->n_batch < n ? done + runtime->n_batch : n;
        int begin_wanted = done > first_wanted ? done : first_wanted;
        if (end - begin_wanted > MAX_OUTPUTS) end = begin_wanted + MAX_OUTPUTS;
        int wanted = end > begin_wanted ? end - begin_wanted : 0;
        ME_TRY(decode_batch(runtime, tokens + done, end - done, wanted, begin_wanted - first_wanted, on_row,
                            user, err));
        done = end;
    }
    return MOBIEDIT_OK;
}

typedef struct {
    float *logits;
    size_t n_vocab;
} logits_sink;

static void keep_logits(void *user, int row, const float *logits) {
    logits_sink *sink = user;
    memcpy(sink->logits + (size_t)row * sink->n_vocab, logits, sink->n_vocab * sizeof *logits);
}

mobiedit_status me_runtime_logits(me_runtime *runtime, const me_token *tokens, int n, int n_last,
                                  float *logits, mobiedit_error *err) {
    logits_sink sink = {.n_vocab = (size_t)runtime->n_vocab};
    sink.logits = logits;
    me_runtime_forget(runtime);
    return decode(runtime, tokens, n, n_last, keep_logits, &sink, err);
}

typedef struct {
    me_token *best; /* [rows] */
    int n_vocab;
} greedy_sink;

static void keep_best(void *user, int row, const float *logits) {
    greedy_sink *sink = user;
    sink->best[row] = me_argmax(logits, sink->n_vocab);
}

static mobiedit_status next_logits(me_runtime *runtime, const char *prompt, float *logits,
                                   mobiedit_error *err) {
    me_tokens tokens = {0};
    ME_TRY(me_tokenize(me_runtime_vocab(runtime), prompt, &tokens, err));
    const mobiedit_status status = me_runtime_logits(runtime, tokens.ids, tokens.n, 1, logits, err);
    me_tokens_free(&tokens);
    return status;
}

mobiedit_status me_runtime_next_token(me_runtime *runtime, const char *prompt, me_token *out,
                                      mobiedit_error *err) {
    const int n_vocab = me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc((size_t)n_vocab, sizeof *logits);
    if (!logits) return me_fail_memory(err, "next-token scores");
    const mobiedit_status status = next_logits(runtime, prompt, logits, err);
    if (status == MOBIEDIT_OK) *out = me_argmax(logits, n_vocab);
    me_free(logits);
    return status;
}

/* ---- text -------------------------------------------------------------------------------------------- */

mobiedit_status me_runtime_add_piece(const me_runtime *runtime, me_token token, me_text *text,
                                     mobiedit_error *err) {
    const struct llama_vocab *vocab = llama_model_get_vocab(runtime->model);
    char buffer[256], *piece = buffer;
    int32_t n = llama_token_to_piece(vocab, token, piece, sizeof buffer, 0, false);
    if (n < 0) {
        piece = me_calloc((size_t)-n, 1);
        if (!piece) return me_fail_memory(err, "the text of a token");
        n = llama_token_to_piece(vocab, token, piece, -n, 0, false);
    }
    bool ok = n <= 0 || me_text_add(text, piece, (size_t)n);
    if (piece != buffer) me_free(piece);
    return ok ? MOBIEDIT_OK : me_fail_memory(err, "the text");
}

/* Hands out the whole characters from byte `from` on; false where the caller wants no more. */
static bool emit(const me_generate_options *options, me_text *text, size_t from) {
    if (!options->on_piece || text->n == from) return true;
    char pending = text->bytes[text->n];
    text->bytes[text->n] = '\0';
    bool more = options->on_piece(options->user, text->bytes + from);
    text->bytes[text->n] = pending;
    return more;
}

static mobiedit_status generate(me_runtime *runtime, const me_token *prompt, int n_prompt,
                                const me_generate_options *options, me_text *text, mobiedit_error *err) {
    if (n_prompt >= runtime->n_context)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has %d tokens, but the context holds %d",
                       n_prompt, runtime->n_context);
    int room = runtime->n_context - n_prompt;
    int max_tokens = options->max_tokens < room ? options->max_tokens : room;
    me_token token = 0;
    greedy_sink sink = {.best = &token, .n_vocab = runtime->n_vocab};
    const me_token *next = prompt;
    int n_next = n_prompt;
    me_runtime_forget(runtime);
    for (int i = 0; i < max_tokens; i++) {
        ME_TRY(decode(runtime, next, n_next, 1, keep_best, &sink, err));
        if (me_vocab_is_end(runtime->vocab, token)) break;
        size_t from = text->n;
        ME_TRY(me_runtime_add_piece(runtime, token, text, err));
        if (options->stop_at_sentence && from >= options->least_bytes && me_text_cut_at_sentence(text, from))
            break;
        bool ended = options->stop_at_newline && me_text_cut_at_newline(text, from);
        if (!emit(options, text, from) || ended) break;
        next = &token;
        n_next = 1;
    }
    me_text_end(text);
    return MOBIEDIT_OK;
}

mobiedit_status me_runtime_generate(me_runtime *runtime, const me_token *prompt, int n_prompt,
                                    const me_generate_options *options, char **text, mobiedit_error *err) {
    me_text all = {0};
    mobiedit_status status = me_text_add(&all, "", 0) ? MOBIEDIT_OK : me_fail_memory(err, "the text");
    if (status == MOBIEDIT_OK) status = generate(runtime, prompt, n_prompt, options, &all, err);
    if (status != MOBIEDIT_OK)
        me_free(all.bytes);
    else
        *text = all.bytes;
    return status;
}

mobiedit_status me_runtime_chat_tokens(me_runtime *runtime, const me_chat_message *messages, size_t n,
                                       me_tokens *out, mobiedit_error *err) {
    char *text = NULL;
    ME_TRY(me_vocab_chat(runtime->vocab, messages, n, &text, err));
    const mobiedit_status status = me_tokenize(runtime->vocab, text, out, err);
    me_free(text);
    return status;
}
