/* What the model goes on with is the likeliest, by an engine's own way and by whole passes, and the keys that are read
 * on the way are those of the whole text. */
#define _GNU_SOURCE
#include "edit/generate.h"

#include "base/memory.h"
#include "base/random.h"
#include "edit/session.h"
#include "scratch.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Sequences of 8 to 17 tokens; what the likeliest logit may be ahead of the one that was taken, in units of their root
 * mean square: the order of sums. */
enum {
    N = 20,
    SHORTEST = 8,
    LENGTHS = 10,
    SHARED = 6,
    SAID = 5,
    LENGTH = SHORTEST + LENGTHS + SAID,
    LAYER = 1
};
static const double EXACT = 1e-4;
/* For some of the sequences at a time. */
enum { LITTLE_BYTES = 600000 };

typedef struct {
    me_model *model;
    me_pool *pool;
    me_engine *engine;
} bench;

static void check(mobiedit_status status, const mobiedit_error *err) {
    if (status != MOBIEDIT_OK) fail_msg("%s", err->message);
}

static bench open_bench(const char *arch, size_t memory_bytes) {
    bench b = {0};
    mobiedit_error err = {0};
    const char *path = scratch_path("model.gguf");
    const me_native_options options = {.memory_bytes = memory_bytes};
    assert_true(tiny_model_write(path, arch, &(tiny_model_options){.type = GGML_TYPE_F32, .n_layer = 3}));
    check(me_model_open(path, &b.model, &err), &err);
    check(me_pool_open(2, &b.pool, &err), &err);
    check(me_native_open(b.model, b.pool, &options, &b.engine, &err), &err);
    return b;
}

static void close_bench(bench *b) {
    b->engine->ops->close(b->engine);
    me_pool_close(b->pool);
    me_model_close(b->model);
}

/* Half of them begin alike. */
static void random_texts(const me_model *model, me_token texts[N][LENGTH], me_sequence *sequences) {
    me_random random;
    me_random_seed(&random, 3);
    for (int i = 0; i < N; i++) {
        for (int t = 0; t < LENGTH; t++)
            texts[i][t] = (me_token)(me_random_uniform(&random) * model->n_vocab);
        if (i < N / 2) memcpy(texts[i], texts[0], SHARED * sizeof texts[i][0]);
        const int n_tokens = SHORTEST + i % LENGTHS, read_pos = 2 + i % (SHORTEST - 2);
        sequences[i] = (me_sequence){
            .tokens = texts[i], .n_tokens = n_tokens, .read_pos = read_pos, .n_read = n_tokens - read_pos};
    }
}

/* Each token is as likely as any other behind those before it, by a whole pass over them. */
static void check_greedy(const bench *b, const me_sequence *sequence, const me_token *said) {
    mobiedit_error err = {0};
    const size_t d = (size_t)b->model->d_model, n_vocab = (size_t)b->model->n_vocab;
    me_token tokens[LENGTH];
    float *hidden = me_calloc(SAID * d, sizeof *hidden), *logits = me_calloc(SAID * n_vocab, sizeof *logits);
    assert_true(hidden && logits);
    memcpy(tokens, sequence->tokens, (size_t)sequence->n_tokens * sizeof *tokens);
    memcpy(tokens + sequence->n_tokens, said, SAID * sizeof *tokens);
    const me_sequence whole = {.tokens = tokens,
                               .n_tokens = sequence->n_tokens + SAID,
                               .read_pos = sequence->n_tokens - 1,
                               .n_read = SAID};
    check(b->engine->ops->forward(b->engine, &whole, 1, hidden, &err), &err);
    check(b->engine->ops->logits(b->engine, hidden, SAID, logits, &err), &err);
    for (int i = 0; i < SAID; i++) {
        const float *row = logits + (size_t)i * n_vocab;
        double top = (double)row[0], squares = 0;
        for (size_t j = 0; j < n_vocab; j++) {
            if ((double)row[j] > top) top = (double)row[j];
            squares += (double)row[j] * (double)row[j];
        }
        assert_in_range(said[i], 0, b->model->n_vocab - 1);
        const double ahead = (top - (double)row[said[i]]) / sqrt(squares / (double)n_vocab);
        if (!(ahead <= EXACT)) fail_msg("token %d: another is ahead by %g rms", i, ahead);
    }
    me_free(hidden);
    me_free(logits);
}

/* The next of the keys, those of a sequence and of what was said, are as the engine reads them of the whole text. */
static const float *check_keys(const bench *b, const me_sequence *sequence, const me_token *said,
                               const float *keys) {
    mobiedit_error err = {0};
    const size_t d = (size_t)b->model->d_model;
    me_token tokens[LENGTH];
    memcpy(tokens, sequence->tokens, (size_t)sequence->n_tokens * sizeof *tokens);
    memcpy(tokens + sequence->n_tokens, said, SAID * sizeof *tokens);
    me_sequence whole = *sequence;
    whole.tokens = tokens;
    whole.n_tokens += SAID - 1;
    whole.n_read += SAID - 1;
    const size_t size = (size_t)whole.n_read * d;
    float *expected = me_calloc(size, sizeof *expected);
    assert_non_null(expected);
    check(b->engine->ops->keys(b->engine, LAYER, &whole, 1, expected, &err), &err);
    double off = 0, squares = 0;
    for (size_t i = 0; i < size; i++) {
        off += (double)(keys[i] - expected[i]) * (double)(keys[i] - expected[i]);
        squares += (double)expected[i] * (double)expected[i];
    }
    me_free(expected);
    if (!(off <= EXACT * EXACT * squares))
        fail_msg("keys are off by %g of their length", sqrt(off / squares));
    return keys + size;
}

static void check_all(const bench *b) {
    mobiedit_error err = {0};
    me_token texts[N][LENGTH], said[N][SAID], again[N][SAID];
    me_sequence sequences[N];
    float *keys = me_calloc((size_t)N * LENGTH, (size_t)b->model->d_model * sizeof *keys);
    assert_non_null(keys);
    random_texts(b->model, texts, sequences);
    for (int n = N / 2; n <= N; n += N / 2) {
        const me_sequences some = {.items = sequences, .n = n};
        check(me_generate(b->engine, &some, SAID, said[0], LAYER, keys, &err), &err);
        const float *next = keys;
        for (int i = 0; i < n; i++) {
            check_greedy(b, &sequences[i], said[i]);
            next = check_keys(b, &sequences[i], said[i], next);
        }
        check(me_generate(b->engine, &some, SAID, again[0], 0, NULL, &err), &err);
        assert_memory_equal(again, said, (size_t)n * sizeof *said);
    }
    me_free(keys);
}

static void generated_tokens_are_the_likeliest(void **state) {
    (void)state;
    static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "smollm3"};
    for (size_t i = 0; i < 2 * sizeof archs / sizeof *archs; i++) {
        bench b = open_bench(archs[i / 2], i % 2 ? LITTLE_BYTES : 0);
        const struct me_engine_ops *own = b.engine->ops;
        struct me_engine_ops plain = *own;
        assert_non_null(own->generate);
        check_all(&b);
        if (i == 0) { /* any model: passes are the engine's tests' to check */
            plain.generate = NULL;
            b.engine->ops = &plain;
            check_all(&b);
            b.engine->ops = own;
        }
        close_bench(&b);
    }
}

/* Carriers whose target's last token stands behind their end go on with what the model says behind that. */
static void carriers_go_on_behind_their_target(void **state) {
    (void)state;
    enum { MORE = 2 };
    bench b = open_bench("llama", 0);
    mobiedit_error err = {0};
    me_token texts[N][LENGTH], said[N][MORE];
    me_sequence sequences[N], whole[N];
    me_sequence *items = me_calloc(N, sizeof *items);
    assert_non_null(items);
    random_texts(b.model, texts, sequences);
    for (int i = 0; i < N; i++) {
        whole[i] = sequences[i];
        items[i] = sequences[i];
        items[i].n_tokens--;
        items[i].n_read = 1;
        items[i].read_pos = items[i].edit_pos = items[i].n_tokens - 1;
        items[i].tokens = me_calloc((size_t)sequences[i].n_tokens, sizeof *items[i].tokens);
        assert_non_null(items[i].tokens);
        memcpy((me_token *)items[i].tokens, texts[i], (size_t)sequences[i].n_tokens * sizeof **texts);
    }
    const me_sequences plain = {.items = whole, .n = N};
    me_sequences carriers = {.items = items, .n = N};
    check(me_generate(b.engine, &plain, MORE, said[0], 0, NULL, &err), &err);
    me_session *session = NULL;
    check(me_session_open(b.engine, NULL, &session, &err), &err);
    check(me_session_go_on(session, MORE, &carriers, &err), &err);
    me_session_close(session);
    for (int i = 0; i < N; i++) {
        assert_int_equal(items[i].n_tokens, sequences[i].n_tokens + MORE - 1);
        assert_int_equal(items[i].read_pos, sequences[i].n_tokens - 2);
        assert_int_equal(items[i].n_read, 1 + MORE);
        assert_memory_equal(items[i].tokens, texts[i], (size_t)sequences[i].n_tokens * sizeof **texts);
        assert_memory_equal(items[i].tokens + sequences[i].n_tokens, said[i], sizeof said[i]);
    }
    me_sequences_free(&carriers);
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(carriers_go_on_behind_their_target, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(generated_tokens_are_the_likeliest, scratch_open, scratch_close)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
