/* An engine on SmolLM2-135M: the same greedy words as libllama, and a prefix cache that is exact.
 *   test_engine_real             the native engine
 *   test_engine_real BACKEND     the ggml engine on that backend
 *   test_engine_real llama       the llama engine */
#include "base/logits.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "model/vocab.h"
#include "models.h"
#include "numbers.h"
#include "oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TOKENS = 64 };

static char model_path[MODEL_PATH_MAX];
static const char *backend; /* of the ggml engine, or "llama"; NULL: the native engine is tested */
static bool gpu;            /* the backend is no CPU: sums and rounding depend on the batch, and are TF32 */
static bool llama;          /* the llama engine: sums depend on the batch, then rounding does */

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
        (llama     ? me_llama_open(b.model, &(me_llama_options){0}, &b.engine, &err)
         : backend ? me_ggml_open(b.model, &(me_ggml_options){.backend = backend}, &b.engine, &err)
                   : me_native_open(b.model, b.pool, NULL, &b.engine, &err)) ||
        me_vocab_open(model_path, &b.vocab, &err))
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

/* Tokens of `text` into tokens[MAX_TOKENS]; their number. */
static int tokenize(const bench *b, const char *text, int32_t *tokens) {
    mobiedit_error err = {0};
    me_tokens list;
    assert_int_equal(me_tokenize(b->vocab, text, &list, &err), MOBIEDIT_OK);
    assert_in_range(list.n, 1, MAX_TOKENS);
    memcpy(tokens, list.ids, (size_t)list.n * sizeof *tokens);
    int n = list.n;
    me_tokens_free(&list);
    return n;
}

/* The model's greedy next token after every token of some texts: the same as libllama's nearly always. */
static void greedy_tokens_are_those_of_libllama(void **state) {
    const bench *b = *state;
    mobiedit_error err = {0};
    static const char *const texts[] = {
        "The capital of Japan is a large city by the sea, and the people who live there go to work by train.",
        "Water boils at a lower temperature in the mountains because the air is thinner and its pressure "
        "less.",
        "Once upon a time there was a miller who had three sons. When he died, he left them his mill, his "
        "donkey and his cat. The eldest took the mill, the second took the donkey, and the youngest got the "
        "cat.",
        "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - "
        "2)\n",
    };
    size_t n_vocab = (size_t)b->model->n_vocab, d = (size_t)b->model->d_model;
    float *expected = me_calloc(MAX_TOKENS * n_vocab, sizeof *expected);
    float *logits = me_calloc(MAX_TOKENS * n_vocab, sizeof *logits);
    float *hidden = me_calloc(MAX_TOKENS * d, sizeof *hidden);
    assert_true(expected && logits && hidden);
    oracle o;
    int same = 0, total = 0;
    assert_true(oracle_open(model_path, MAX_TOKENS, 2, &o));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t tokens[MAX_TOKENS];
        int n = tokenize(b, texts[i], tokens);
        const me_sequence sequence = {.tokens = tokens, .n_tokens = n, .n_read = n};
        assert_int_equal(b->engine->ops->forward(b->engine, &sequence, 1, hidden, &err), MOBIEDIT_OK);
        assert_int_equal(b->engine->ops->logits(b->engine, hidden, n, logits, &err), MOBIEDIT_OK);
        assert_true(oracle_logits(&o, tokens, n, expected));
        for (int t = 0; t < n; t++, total++)
            same += me_argmax(logits + (size_t)t * n_vocab, (int)n_vocab) ==
                    me_argmax(expected + (size_t)t * n_vocab, (int)n_vocab);
    }
    oracle_close(&o);
    me_free(expected);
    me_free(logits);
    me_free(hidden);
    if (same * 100 < total * (gpu ? 85 : 95)) fail_msg("%d of %d greedy tokens are libllama's", same, total);
}

/* To the bit; on a GPU and by libllama nearly. */
static void assert_same(const float *a, const float *b, size_t n) {
    if (!gpu && !llama) {
        assert_memory_equal(a, b, n * sizeof *a);
        return;
    }
    const double difference = relative_error(a, b, n);
    if (!(difference < 0.1)) fail_msg("differ by %g rms", difference);
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
        sequences[i] = (me_sequence){
            .tokens = tokens[i], .n_tokens = n, .edit_pos = n - 3, .read_pos = n - 2, .n_read = 2};
    }
    size_t d = (size_t)b->model->d_model, n = 2 * 2 * d;
    float *hidden = me_calloc(n, sizeof *hidden), *delta = me_calloc(d, sizeof *delta);
    assert_true(hidden && delta);
    assert_int_equal(ops->forward(b->engine, sequences, 2, hidden, &err), MOBIEDIT_OK);
    for (int layer = 0; layer < b->model->n_layer; layer += 7) {
        me_prefix *prefix;
        assert_int_equal(ops->prefix(b->engine, layer, sequences, 2, &prefix, &err), MOBIEDIT_OK);
        assert_same(prefix->hidden, hidden, n);
        memset(prefix->hidden, 0, n * sizeof *hidden);
        assert_int_equal(ops->suffix(b->engine, prefix, delta, 1, (int[]){0, 1}, 2, prefix->hidden, &err),
                         MOBIEDIT_OK);
        assert_same(prefix->hidden, hidden, n);
        ops->prefix_free(b->engine, prefix);
    }
    me_free(hidden);
    me_free(delta);
}

int main(int argc, char **argv) {
    if (argc > 1) backend = argv[1];
    llama = backend && strcmp(backend, "llama") == 0;
    gpu = backend && !llama && is_gpu(backend);
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
