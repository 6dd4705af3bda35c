/* The native engine on SmolLM2-135M: the same greedy words as libllama, and a prefix cache that is exact. */
#include "base/memory.h"
#include "engine/engine.h"
#include "model/vocab.h"
#include "models.h"
#include "oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TOKENS = 128, GENERATED = 24 };

static char model_path[MODEL_PATH_MAX];

typedef struct {
    me_model *model;
    me_pool *pool;
    me_engine *engine;
    me_vocab *vocab;
} bench;

static int open_bench(void **state) {
    static bench b;
    mobiedit_error err = {0};
    if (me_model_open(model_path, &b.model, &err) || me_pool_open(0, &b.pool, &err) ||
        me_native_open(b.model, b.pool, NULL, &b.engine, &err) || me_vocab_open(model_path, &b.vocab, &err))
        fail_msg("%s", err.message);
    *state = &b;
    return 0;
}

static int close_bench(void **state) {
    bench *b = *state;
    b->engine->ops->close(b->engine);
    me_vocab_close(b->vocab);
    me_pool_close(b->pool);
    me_model_close(b->model);
    return 0;
}

static int greedy(const float *logits, int n_vocab) {
    int best = 0;
    for (int i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* Tokens of `text` into tokens[MAX_TOKENS]; their number. */
static int tokenize(const bench *b, const char *text, int32_t *tokens) {
    mobiedit_error err = {0};
    me_tokens list;
    assert_int_equal(me_tokenize(b->vocab, text, &list, &err), MOBIEDIT_OK);
    assert_in_range(list.n, 1, MAX_TOKENS - GENERATED);
    memcpy(tokens, list.ids, (size_t)list.n * sizeof *tokens);
    int n = list.n;
    me_tokens_free(&list);
    return n;
}

/* Our greedy continuation of `text`, and at each step libllama's choice after the same tokens. */
static int same_choices(const bench *b, oracle *o, const char *text, float *expected) {
    mobiedit_error err = {0};
    int32_t tokens[MAX_TOKENS];
    int n = tokenize(b, text, tokens), start = n, same = 0, n_vocab = b->model->n_vocab;
    float *logits = me_calloc((size_t)n_vocab, sizeof *logits);
    float *hidden = me_calloc((size_t)b->model->d_model, sizeof *hidden);
    assert_true(logits && hidden);
    for (; n < start + GENERATED; n++) {
        const me_sequence sequence = {tokens, n, 0, n - 1, 1};
        assert_int_equal(b->engine->ops->forward(b->engine, &sequence, 1, NULL, hidden, &err), MOBIEDIT_OK);
        assert_int_equal(b->engine->ops->logits(b->engine, hidden, 1, logits, &err), MOBIEDIT_OK);
        tokens[n] = greedy(logits, n_vocab);
    }
    assert_true(oracle_logits(o, tokens, n, expected));
    for (int i = start; i < n; i++)
        same += tokens[i] == greedy(expected + (size_t)(i - 1) * (size_t)n_vocab, n_vocab);
    me_free(logits);
    me_free(hidden);
    return same;
}

static void greedy_tokens_are_those_of_libllama(void **state) {
    const bench *b = *state;
    static const char *const texts[] = {
        "The capital of Japan is",
        "Water boils at a lower temperature in the mountains because",
        "Once upon a time there was a miller who had three sons. When he died, he left them",
        "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
    };
    oracle o;
    int same = 0, total = 0;
    assert_true(oracle_open(model_path, MAX_TOKENS, &o));
    float *expected = me_calloc(MAX_TOKENS * (size_t)b->model->n_vocab, sizeof *expected);
    assert_non_null(expected);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++, total += GENERATED)
        same += same_choices(b, &o, texts[i], expected);
    me_free(expected);
    oracle_close(&o);
    if (same * 100 < total * 95) fail_msg("%d of %d greedy tokens are libllama's", same, total);
}

static void prefix_and_suffix_equal_forward(void **state) {
    const bench *b = *state;
    const struct me_engine_ops *ops = b->engine->ops;
    mobiedit_error err = {0};
    static const char *const texts[] = {"The capital of Japan is Lima",
                                        "Let me tell you a fact. The capital of Japan is Lima"};
    int32_t tokens[2][MAX_TOKENS];
    me_sequence sequences[2];
    for (int i = 0; i < 2; i++) {
        int n = tokenize(b, texts[i], tokens[i]);
        sequences[i] = (me_sequence){tokens[i], n, n - 3, n - 2, 2};
    }
    size_t d = (size_t)b->model->d_model, bytes = 2 * 2 * d * sizeof(float);
    float *hidden = me_calloc(2 * 2 * d, sizeof *hidden), *delta = me_calloc(d, sizeof *delta);
    assert_true(hidden && delta);
    assert_int_equal(ops->forward(b->engine, sequences, 2, NULL, hidden, &err), MOBIEDIT_OK);
    for (int layer = 0; layer < b->model->n_layer; layer += 7) {
        me_prefix *prefix;
        assert_int_equal(ops->prefix(b->engine, layer, sequences, 2, &prefix, &err), MOBIEDIT_OK);
        assert_memory_equal(prefix->hidden, hidden, bytes);
        memset(prefix->hidden, 0, bytes);
        assert_int_equal(ops->suffix(b->engine, prefix, delta, 1, (int[]){0, 1}, 2, prefix->hidden, &err),
                         MOBIEDIT_OK);
        assert_memory_equal(prefix->hidden, hidden, bytes);
        ops->prefix_free(b->engine, prefix);
    }
    me_free(hidden);
    me_free(delta);
}

int main(void) {
    const char *name = "smollm2-135m-instruct-q4_1.gguf";
    if (!find_model(name, model_path)) {
        print_message("skipped: no model %s\n", name);
        return MODEL_MISSING;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_tokens_are_those_of_libllama),
        cmocka_unit_test(prefix_and_suffix_equal_forward),
    };
    return cmocka_run_group_tests(tests, open_bench, close_bench);
}
