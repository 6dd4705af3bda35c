/* The runtime on small made-up models: logits, greedy text, and what an adapter does to them. */
#define _GNU_SOURCE
#include "runtime/runtime.h"

#include "base/logits.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/utf8.h"
#include "model/model.h"
#include "numbers.h"
#include "runtime/batch.h"
#include "runtime/says.h"
#include "runtime/text.h"
#include "runtime/threads.h"
#include "scratch.h"
#include "store/adapter.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const ARCHS[] = {"llama", "qwen2", "qwen3", "gemma3"};
enum { N_ARCHS = 4, LAYER = 1 };
static const char DOWN[] = "blk.1.ffn_down.weight";

static me_runtime *open_runtime(const char *path, int n_context) {
    me_runtime *runtime = NULL;
    mobiedit_error err = {0};
    const me_runtime_options options = {.threads = 1, .n_context = n_context};
    if (me_runtime_open(path, &options, &runtime, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return runtime;
}

static me_runtime *open_tiny(const char *arch, int n_context) {
    const char *path = scratch_path("model.gguf");
    assert_true(tiny_model_write(path, arch, NULL));
    return open_runtime(path, n_context);
}

static me_tokens tokens_of(const me_runtime *runtime, const char *text) {
    me_tokens tokens = {0};
    assert_int_equal(me_tokenize(me_runtime_vocab(runtime), text, &tokens, NULL), MOBIEDIT_OK);
    return tokens;
}

/* [n_last][n_vocab], freed with me_free. */
static float *logits_of(me_runtime *runtime, const me_tokens *tokens, int n_last) {
    size_t n_vocab = (size_t)me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc((size_t)n_last * n_vocab, sizeof *logits);
    assert_non_null(logits);
    mobiedit_error err = {0};
    if (me_runtime_logits(runtime, tokens->ids, tokens->n, n_last, logits, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    return logits;
}

/* ---- logits ------------------------------------------------------------------------------------------ */

/* 100 positions take several batches; each row must be what the sequence cut there gives alone. */
static void logits_are_those_of_each_position(void **state) {
    (void)state;
    me_runtime *runtime = open_tiny("llama", 0);
    me_random random;
    me_random_seed(&random, 1);
    enum { N = 700, N_LAST = 100 };
    me_token ids[N];
    int n_vocab = me_vocab_size(me_runtime_vocab(runtime));
    for (int i = 0; i < N; i++)
        ids[i] = (me_token)(me_random_bits(&random) % (uint64_t)n_vocab);
    const me_tokens all = {.ids = ids, .n = N};
    float *many = logits_of(runtime, &all, N_LAST);
    for (int row = 0; row < N_LAST; row += 33) {
        const me_tokens part = {.ids = ids, .n = N - N_LAST + row + 1};
        float *one = logits_of(runtime, &part, 1);
        assert_true(relative_error(many + (size_t)row * (size_t)n_vocab, one, (size_t)n_vocab) < 1e-3);
        me_free(one);
    }
    me_free(many);
    me_runtime_close(runtime);
}

/* ---- many at once ------------------------------------------------------------------------------------ */

enum { N_MANY = 70, SHORTEST = 3, LONGEST = 40 };

/* Sequences of different lengths that begin alike in various ways, more than fit side by side. */
static void fill_queries(me_query *queries, me_token (*ids)[LONGEST], int n_vocab) {
    me_random random;
    me_random_seed(&random, 2);
    for (int i = 0; i < N_MANY; i++) {
        const int n = SHORTEST + (int)(me_random_bits(&random) % (LONGEST - SHORTEST + 1));
        const int shared = i > 0 ? (int)(me_random_bits(&random) % (uint64_t)n) : 0;
        for (int k = 0; k < n; k++)
            ids[i][k] = k < shared && k < queries[i / 2].n
                            ? ids[i / 2][k]
                            : (me_token)(me_random_bits(&random) % (uint64_t)n_vocab);
        queries[i] = (me_query){.tokens = ids[i], .n = n, .first = n - 1 - i % SHORTEST};
    }
}

typedef struct {
    me_runtime *alone;
    const me_query *queries;
    int seen[N_MANY]; /* rows so far */
} row_check;

static void row_is_that_of_the_sequence_alone(void *user, int query, int position, const float *logits) {
    row_check *check = user;
    const me_query *q = &check->queries[query];
    assert_int_equal(position, q->first + check->seen[query]++);
    const me_tokens part = {.ids = (me_token *)q->tokens, .n = position + 1};
    float *one = logits_of(check->alone, &part, 1);
    assert_true(relative_error(logits, one, (size_t)me_vocab_size(me_runtime_vocab(check->alone))) < 1e-3);
    me_free(one);
}

static void many_sequences_are_as_each_alone(void **state) {
    (void)state;
    static me_token ids[N_MANY][LONGEST];
    for (int i = 0; i < N_ARCHS; i++) {
        const int widths[] = {1, 5, ME_RUNTIME_MAX_SEQUENCES};
        row_check check = {.alone = open_tiny(ARCHS[i], 0)};
        me_query queries[N_MANY] = {{0}};
        fill_queries(queries, ids, me_vocab_size(me_runtime_vocab(check.alone)));
        check.queries = queries;
        for (int w = 0; w < 3; w++) {
            const me_runtime_options options = {.threads = 1, .n_context = 256, .n_sequences = widths[w]};
            me_runtime *runtime = NULL;
            mobiedit_error err = {0};
            assert_int_equal(me_runtime_open(scratch_path("model.gguf"), &options, &runtime, &err),
                             MOBIEDIT_OK);
            memset(check.seen, 0, sizeof check.seen);
            if (me_runtime_batch_logits(runtime, queries, N_MANY, row_is_that_of_the_sequence_alone, &check,
                                        &err) != MOBIEDIT_OK)
                fail_msg("%s", err.message);
            for (int k = 0; k < N_MANY; k++)
                assert_int_equal(check.seen[k], queries[k].n - queries[k].first);
            me_runtime_close(runtime);
        }
        me_runtime_close(check.alone);
    }
}

static void many_texts_are_as_each_alone(void **state) {
    (void)state;
    static const char *const prompts[] = {"The capital of Japan is", "The capital", "Lima", "The river is"};
    enum { N = 4 };
    const me_runtime_options options = {.threads = 1, .n_context = 64, .n_sequences = 8};
    me_runtime *alone = open_tiny("llama", 0), *runtime = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_runtime_open(scratch_path("model.gguf"), &options, &runtime, &err), MOBIEDIT_OK);
    me_tokens tokens[N];
    me_opening openings[2 * N];
    char *texts[2 * N] = {0}, *again[2 * N] = {0};
    for (int i = 0; i < 2 * N; i++) {
        if (i < N) tokens[i] = tokens_of(alone, prompts[i]);
        openings[i] =
            (me_opening){.tokens = tokens[i % N].ids, .n = tokens[i % N].n, .max_tokens = 5 + i % N};
        if (i >= N) openings[i].top_k = 4, openings[i].never_end = true, openings[i].seed = (uint64_t)i;
    }
    assert_int_equal(me_runtime_batch_continue(runtime, openings, 2 * N, texts, &err), MOBIEDIT_OK);
    assert_int_equal(me_runtime_batch_continue(runtime, openings, 2 * N, again, &err), MOBIEDIT_OK);
    int drawn = 0;
    for (int i = 0; i < 2 * N; i++) {
        const me_generate_options greedy = {.max_tokens = openings[i].max_tokens};
        char *text = NULL;
        assert_int_equal(me_runtime_generate(alone, tokens[i % N].ids, tokens[i % N].n, &greedy, &text, NULL),
                         MOBIEDIT_OK);
        if (i < N) assert_string_equal(texts[i], text);
        drawn += strcmp(texts[i], text) != 0;
        assert_string_equal(texts[i], again[i]);
        me_free(text);
        me_free(texts[i]);
        me_free(again[i]);
    }
    assert_true(drawn > 0);
    openings[3].max_tokens = 0;
    assert_int_equal(me_runtime_batch_continue(runtime, openings, 2 * N, texts, &err), MOBIEDIT_E_ARGUMENT);
    for (int i = 0; i < N; i++)
        me_tokens_free(&tokens[i]);
    me_runtime_close(alone);
    me_runtime_close(runtime);
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    me_runtime *runtime = open_tiny("llama", 256);
    int n_vocab = me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc((size_t)n_vocab, sizeof *logits);
    static me_token ids[257];
    mobiedit_error err = {0};
    char *text = NULL;
    const me_generate_options options = {.max_tokens = 1};
    assert_int_equal(me_runtime_logits(runtime, ids, 0, 1, logits, &err), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(me_runtime_logits(runtime, ids, 1, 2, logits, &err), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(me_runtime_logits(runtime, ids, 257, 1, logits, &err), MOBIEDIT_E_ARGUMENT);
    assert_non_null(strstr(err.message, "257"));
    assert_int_equal(me_runtime_logits(runtime, ids, 256, 1, logits, &err), MOBIEDIT_OK);
    assert_int_equal(me_runtime_generate(runtime, ids, 256, &options, &text, &err), MOBIEDIT_E_ARGUMENT);
    ids[3] = n_vocab;
    assert_int_equal(me_runtime_logits(runtime, ids, 5, 1, logits, &err), MOBIEDIT_E_ARGUMENT);
    assert_null(text);
    me_free(logits);
    me_runtime_close(runtime);
}

static void unusable_files_are_refused(void **state) {
    (void)state;
    me_runtime *runtime = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_runtime_open("/no/such/model.gguf", NULL, &runtime, &err), MOBIEDIT_E_RUNTIME);
    assert_non_null(strstr(err.message, "/no/such/model.gguf"));
    const me_runtime_options negative = {.n_context = -1};
    assert_int_equal(me_runtime_open("/no/such/model.gguf", &negative, &runtime, &err), MOBIEDIT_E_ARGUMENT);
    assert_null(runtime);
    runtime = open_tiny("llama", 0);
    assert_int_equal(me_runtime_set_adapter(runtime, "/no/such/adapter.gguf", &err), MOBIEDIT_E_RUNTIME);
    assert_int_equal(me_runtime_set_adapter(runtime, scratch_path("model.gguf"), &err), MOBIEDIT_E_RUNTIME);
    const me_chat_message hello = {.role = "user", .content = "Hello"};
    me_tokens tokens = {0};
    assert_int_equal(me_runtime_chat_tokens(runtime, &hello, 1, &tokens, &err), MOBIEDIT_E_UNSUPPORTED);
    me_runtime_close(runtime);
}

/* ---- text -------------------------------------------------------------------------------------------- */

typedef struct {
    char text[4096];
    int pieces, most;
} listener;

static bool listen(void *user, const char *piece) {
    listener *l = user;
    assert_true(strlen(piece) > 0);
    size_t n = strlen(l->text);
    (void)snprintf(l->text + n, sizeof l->text - n, "%s", piece);
    return ++l->pieces < l->most;
}

static char *generate(me_runtime *runtime, const me_tokens *prompt, const me_generate_options *options) {
    char *text = NULL;
    mobiedit_error err = {0};
    if (me_runtime_generate(runtime, prompt->ids, prompt->n, options, &text, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    return text;
}

/* The text of greedy decoding done by hand: logits of the whole sequence for every token. */
static void decode_by_hand(me_runtime *runtime, const me_tokens *prompt, int n, me_token *out) {
    me_token ids[64];
    memcpy(ids, prompt->ids, (size_t)prompt->n * sizeof *ids);
    me_tokens all = {.ids = ids, .n = prompt->n};
    for (int i = 0; i < n; i++) {
        float *logits = logits_of(runtime, &all, 1);
        ids[all.n++] = out[i] = me_argmax(logits, me_vocab_size(me_runtime_vocab(runtime)));
        me_free(logits);
    }
}

static void greedy_text_is_the_argmax_at_every_step(void **state) {
    (void)state;
    enum { N = 8 };
    for (int i = 0; i < N_ARCHS; i++) {
        me_runtime *runtime = open_tiny(ARCHS[i], 0);
        me_tokens prompt = tokens_of(runtime, "The capital of Japan is");
        me_token by_hand[N];
        decode_by_hand(runtime, &prompt, N, by_hand);
        me_text expected = {0};
        for (int k = 0; k < N && !me_vocab_is_end(me_runtime_vocab(runtime), by_hand[k]); k++) {
            char *piece = NULL;
            assert_int_equal(me_detokenize(me_runtime_vocab(runtime), &by_hand[k], 1, &piece, NULL),
                             MOBIEDIT_OK);
            assert_true(me_text_add(&expected, piece, strlen(piece)));
            me_free(piece);
        }
        me_text_end(&expected);
        listener heard = {.most = 1000};
        const me_generate_options options = {.max_tokens = N, .on_piece = listen, .user = &heard};
        char *text = generate(runtime, &prompt, &options), *again = generate(runtime, &prompt, &options);
        assert_string_equal(text, expected.bytes ? expected.bytes : "");
        assert_string_equal(again, text);
        assert_int_equal(strlen(heard.text), 2 * strlen(text));
        me_free(text);
        me_free(again);
        me_free(expected.bytes);
        me_tokens_free(&prompt);
        me_runtime_close(runtime);
    }
}

static void generation_stops_where_asked(void **state) {
    (void)state;
    me_runtime *runtime = open_tiny("qwen2", 256);
    me_tokens prompt = tokens_of(runtime, "The capital of Japan is");
    listener heard = {.most = 2};
    const me_generate_options two = {.max_tokens = 50, .on_piece = listen, .user = &heard};
    char *text = generate(runtime, &prompt, &two);
    assert_int_equal(heard.pieces, 2);
    assert_string_equal(text, heard.text);
    me_free(text);
    text = generate(runtime, &prompt, &(me_generate_options){.max_tokens = 0});
    assert_string_equal(text, "");
    me_free(text);
    /* The context ends the text: no error. */
    text = generate(runtime, &prompt, &(me_generate_options){.max_tokens = 100000});
    assert_true(strlen(text) > 0);
    me_free(text);
    me_tokens_free(&prompt);
    me_runtime_close(runtime);
}

static void characters_come_whole(void **state) {
    (void)state;
    static const struct {
        const char *pieces[5];
        const char *after[5]; /* all text given out after each piece */
    } cases[] = {
        {{"a\xC3", "\xA9z"}, {"a", "a\xC3\xA9z"}},
        {{"\xE6", "\x9D", "\xB1!"}, {"", "", "\xE6\x9D\xB1!"}},
        {{"\xF0\x9F", "\x97", "\xBE"}, {"", "", "\xF0\x9F\x97\xBE"}},
        {{"\xED", "\x9F\xBF"}, {"", "\xED\x9F\xBF"}},
        {{"\xF4", "\x8F\xBF", "\xBF"}, {"", "", "\xF4\x8F\xBF\xBF"}},
        /* Not characters: a lone continuation, overlong forms, a surrogate, too large, cut short. */
        {{"a\x80z", "\xC0\xAF.", "\xED\xA0\x80.", "\xF4\x90\x80\x80.", "\xE6\x9D."},
         {"az", "az.", "az..", "az...", "az...."}},
        {{"\xE0\x80z", "\xF0\x8Fz", "\xFFz", "\xC3", "\xC3\xA9"}, {"z", "zz", "zzz", "zzz", "zzz\xC3\xA9"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        me_text text = {0};
        for (int k = 0; k < 5 && cases[i].pieces[k]; k++) {
            assert_true(me_text_add(&text, cases[i].pieces[k], strlen(cases[i].pieces[k])));
            assert_int_equal(text.n, strlen(cases[i].after[k]));
            assert_memory_equal(text.bytes, cases[i].after[k], text.n);
        }
        me_text_end(&text);
        assert_int_equal(strlen(text.bytes), text.n);
        me_free(text.bytes);
    }
    me_text zeros = {0};
    assert_true(me_text_add(&zeros, "a\0b", 3));
    assert_true(me_text_add(&zeros, "\xC3", 1));
    me_text_end(&zeros);
    assert_string_equal(zeros.bytes, "ab");
    me_free(zeros.bytes);
}

static void a_sentence_ends_before_the_next(void **state) {
    (void)state;
    static const struct {
        const char *before, *piece;
        bool ends;
    } cases[] = {{" Lima.", " The", true},  {" Lima!", "\n", true},   {" Lima?", " ", true},
                 {" Lima.", " 1994", true}, {" Lima", " The", false}, {" U.S.", " army", false},
                 {" 3.", "5", false},       {"", " The", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        me_text text = {0};
        const size_t from = strlen(cases[i].before);
        assert_true(me_text_add(&text, cases[i].before, from));
        assert_true(me_text_add(&text, cases[i].piece, strlen(cases[i].piece)));
        assert_int_equal(me_text_cut_at_sentence(&text, from), cases[i].ends);
        me_text_end(&text);
        if (cases[i].ends)
            assert_string_equal(text.bytes, cases[i].before);
        else
            assert_int_equal(text.n, from + strlen(cases[i].piece));
        me_free(text.bytes);
    }
}

static void a_crowd_halves_the_threads(void **state) {
    (void)state;
    me_threads threads = {.n = 8};
    assert_false(me_threads_note(&threads, 1.0, 7.0));
    assert_false(me_threads_note(&threads, 1.0, 2.0));
    assert_false(me_threads_note(&threads, 1.0, 7.0)); /* once is chance */
    assert_false(me_threads_note(&threads, 1.0, 2.0));
    assert_false(me_threads_note(&threads, 1e-4, 1e-4)); /* too short to tell */
    assert_true(me_threads_note(&threads, 1.0, 2.0));
    assert_int_equal(threads.n, 4);
    for (int i = 0; i < 20; i++)
        (void)me_threads_note(&threads, 1.0, 0.1);
    assert_int_equal(threads.n, 1);
}

/* ---- adapter ----------------------------------------------------------------------------------------- */

typedef struct {
    int rank, d_model, d_ff;
    float *left, *delta; /* [rank][d_ff], [rank][d_model] */
    float *merged;       /* [d_model][d_ff]: the model's down projection + sum of delta_i (x) left_i */
} edit;

static edit make_edit(const me_model *model, int rank) {
    edit e = {.rank = rank, .d_model = model->d_model, .d_ff = model->d_ff};
    size_t d = (size_t)e.d_model, ff = (size_t)e.d_ff;
    e.left = me_calloc((size_t)rank * ff, sizeof *e.left);
    e.delta = me_calloc((size_t)rank * d, sizeof *e.delta);
    e.merged = me_calloc(d * ff, sizeof *e.merged);
    assert_true(e.left && e.delta && e.merged);
    me_random random;
    me_random_seed(&random, 11);
    me_random_normals(&random, e.left, (size_t)rank * ff);
    me_random_normals(&random, e.delta, (size_t)rank * d);
    for (size_t j = 0; j < d; j++) {
        me_tensor_row(&model->layers[LAYER].down, (int64_t)j, e.merged + j * ff);
        for (size_t i = 0; i < (size_t)rank; i++)
            for (size_t k = 0; k < ff; k++)
                e.merged[j * ff + k] += e.delta[i * d + j] * e.left[i * ff + k];
    }
    return e;
}

static void free_edit(edit *e) {
    me_free(e->left);
    me_free(e->delta);
    me_free(e->merged);
}

static void write_edit(const me_model *model, const edit *e, const char *path) {
    const me_adapter_part part = {
        .layer = LAYER, .matrix = ME_MLP_DOWN, .rank = e->rank, .a = e->left, .b = e->delta};
    const me_adapter adapter = {.parts = &part, .n_parts = 1};
    me_pending_file pending = {0};
    assert_int_equal(me_adapter_write(model, &adapter, path, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
}

static void put_merged(struct gguf_context *gguf, const void *user) {
    gguf_set_tensor_data(gguf, DOWN, ((const edit *)user)->merged);
}

/* libllama with the adapter computes what it computes with the weights W + sum of delta_i (x) left_i. */
static void adapter_is_the_change_of_weights(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++)
        for (int rank = 1; rank <= 3; rank += 2) {
            char adapter_path[512], merged_path[512];
            me_runtime *runtime = open_tiny(ARCHS[i], 0);
            me_model *model = NULL;
            assert_int_equal(me_model_open(scratch_path("model.gguf"), &model, NULL), MOBIEDIT_OK);
            edit e = make_edit(model, rank);
            (void)snprintf(adapter_path, sizeof adapter_path, "%s", scratch_path("edit.gguf"));
            (void)snprintf(merged_path, sizeof merged_path, "%s", scratch_path("merged.gguf"));
            write_edit(model, &e, adapter_path);
            assert_true(tiny_model_write(merged_path, ARCHS[i],
                                         &(tiny_model_options){.change = put_merged, .user = &e}));
            me_tokens prompt = tokens_of(runtime, "The capital of Japan is Lima.");
            size_t n = (size_t)me_vocab_size(me_runtime_vocab(runtime)) * 3;

            float *plain = logits_of(runtime, &prompt, 3);
            assert_int_equal(me_runtime_set_adapter(runtime, adapter_path, NULL), MOBIEDIT_OK);
            float *adapted = logits_of(runtime, &prompt, 3);
            assert_int_equal(me_runtime_set_adapter(runtime, NULL, NULL), MOBIEDIT_OK);
            float *detached = logits_of(runtime, &prompt, 3);
            me_runtime *other = open_runtime(merged_path, 0);
            float *merged = logits_of(other, &prompt, 3);
            assert_true(relative_error(adapted, plain, n) > 0.05);
            assert_true(relative_error(adapted, merged, n) < 1e-3);
            assert_memory_equal(detached, plain, n * sizeof *plain);

            me_free(plain);
            me_free(adapted);
            me_free(detached);
            me_free(merged);
            me_tokens_free(&prompt);
            free_edit(&e);
            me_model_close(model);
            me_runtime_close(other);
            me_runtime_close(runtime);
        }
}

/* ---- targets ----------------------------------------------------------------------------------------- */

static me_said said_of(me_runtime *runtime, const char *prompt, const char *target) {
    me_said said = ME_SAID_OPEN;
    mobiedit_error err = {0};
    if (me_runtime_says(runtime, prompt, target, &said, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return said;
}

/* A beginning of what the model says is said however the tokenizer cuts it, up to its last word's end. */
static void a_target_is_compared_as_text(void **state) {
    (void)state;
    enum { N = 24 };
    static const char prompt[] = "The capital of Japan is\n";
    for (int i = 0; i < N_ARCHS; i++) {
        me_runtime *runtime = open_tiny(ARCHS[i], 0);
        const me_generate_options options = {.max_tokens = N};
        me_tokens tokens = tokens_of(runtime, prompt);
        char *text = generate(runtime, &tokens, &options), target[4096];
        for (size_t end = me_utf8_length(text); end > 0 && end < strlen(text) / 2;
             end += me_utf8_length(text + end)) {
            (void)snprintf(target, sizeof target, "%.*s", (int)end, text);
            const me_said expected = me_said_of(target, text, false);
            if (said_of(runtime, prompt, target) != expected)
                fail_msg("%s: \"%s\" of \"%s\": not %d", ARCHS[i], target, text, (int)expected);
            (void)snprintf(target + end, sizeof target - end, "%s", text[end] == '~' ? "+" : "~");
            assert_int_equal(said_of(runtime, prompt, target), ME_SAID_OTHER);
        }
        me_free(text);
        me_tokens_free(&tokens);
        me_runtime_close(runtime);
    }
}

static void a_target_must_fit_the_context(void **state) {
    (void)state;
    enum { CONTEXT = 64 };
    me_runtime *runtime = open_tiny("qwen2", CONTEXT);
    char prompt[CONTEXT + 1] = {0};
    me_said said;
    mobiedit_error err = {0};
    memset(prompt, '(', CONTEXT - 1); /* a token each, and no space behind */
    me_tokens tokens = tokens_of(runtime, prompt);
    assert_int_equal(tokens.n, CONTEXT - 1);
    me_tokens_free(&tokens);
    assert_int_equal(me_runtime_says(runtime, prompt, "(", &said, &err), MOBIEDIT_OK);
    assert_int_not_equal(said, ME_SAID_OPEN);
    assert_int_equal(me_runtime_says(runtime, prompt, "((", &said, &err), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(me_runtime_says(runtime, "(", "", &said, &err), MOBIEDIT_E_ARGUMENT);
    me_runtime_close(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_each_position),
        cmocka_unit_test(many_sequences_are_as_each_alone),
        cmocka_unit_test(many_texts_are_as_each_alone),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(unusable_files_are_refused),
        cmocka_unit_test(greedy_text_is_the_argmax_at_every_step),
        cmocka_unit_test(a_target_is_compared_as_text),
        cmocka_unit_test(a_target_must_fit_the_context),
        cmocka_unit_test(generation_stops_where_asked),
        cmocka_unit_test(characters_come_whole),
        cmocka_unit_test(a_sentence_ends_before_the_next),
        cmocka_unit_test(a_crowd_halves_the_threads),
        cmocka_unit_test(adapter_is_the_change_of_weights),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
