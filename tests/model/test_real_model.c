/* Real models, by name: hyperparameters, weights, and the subject's last token. `test_real_model NAME`. */
#define _GNU_SOURCE
#include "model/model.h"
#include "model/vocab.h"

#include "base/memory.h"
#include "models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *name, *file, *arch;
    int n_layer, d_model, d_ff, n_head, n_head_kv, head_dim, n_vocab, n_ctx_train;
    bool tied, has_bos;
    float rope_base, first_rope_base; /* of the last layer that sees all, and of layer 0 */
    int first_window;
} expectation;

static const expectation MODELS[] = {
    {"smollm2", "smollm2-135m-instruct-q4_1.gguf", "llama", 30, 576, 1536, 9, 3, 64, 49152, 8192, true, false,
     100000, 100000, 0},
    {"gemma3", "gemma3-270m-q4_k_m.gguf", "gemma3", 18, 640, 2048, 4, 1, 256, 262144, 32768, true, true,
     1000000, 10000, 512},
    {"qwen05", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, 32768,
     false, false, 1000000, 1000000, 0},
    {"qwen15", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 32768,
     false, false, 1000000, 1000000, 0},
};

static const expectation *expected;
static me_model *model;
static me_vocab *vocab;

static void has_its_hyperparameters(void **state) {
    (void)state;
    assert_string_equal(model->arch_name, expected->arch);
    assert_int_equal(model->n_layer, expected->n_layer);
    assert_int_equal(model->d_model, expected->d_model);
    assert_int_equal(model->d_ff, expected->d_ff);
    assert_int_equal(model->n_head, expected->n_head);
    assert_int_equal(model->n_head_kv, expected->n_head_kv);
    assert_int_equal(model->head_dim, expected->head_dim);
    assert_int_equal(model->n_vocab, expected->n_vocab);
    assert_int_equal(model->n_vocab, me_vocab_size(vocab));
    assert_int_equal(model->n_ctx_train, expected->n_ctx_train);
    assert_int_equal(model->output.data == model->tok_embd.data, expected->tied);
    assert_float_equal(model->attn_scale, 1 / sqrtf((float)expected->head_dim), 1e-7F);
    assert_int_equal(model->layers[0].window, expected->first_window);
    assert_float_equal(model->layers[0].rope.freq_base, expected->first_rope_base, 0);
    /* Gemma's layers 5, 11, 17 see the whole context. */
    int whole = expected->first_window ? 17 : expected->n_layer - 1;
    assert_int_equal(model->layers[whole].window, 0);
    assert_float_equal(model->layers[whole].rope.freq_base, expected->rope_base, 0);
}

/* A trained row is finite and of a sensible size. */
static void expect_sound_row(const me_tensor *tensor, int64_t row) {
    float *values = me_calloc((size_t)tensor->n_in, sizeof *values);
    assert_non_null(values);
    me_tensor_row(tensor, row, values);
    double sum = 0;
    for (int64_t i = 0; i < tensor->n_in; i++)
        sum += pow((double)values[i], 2);
    me_free(values);
    double rms = sqrt(sum / (double)tensor->n_in);
    assert_true(isfinite(rms) && rms > 1e-4 && rms < 100);
}

static void has_sound_weights(void **state) {
    (void)state;
    expect_sound_row(&model->tok_embd, model->n_vocab / 2);
    expect_sound_row(&model->output_norm, 0);
    for (int i = 0; i < model->n_layer; i++) {
        expect_sound_row(&model->layers[i].wq, model->layers[i].wq.n_out - 1);
        expect_sound_row(&model->layers[i].wo, 0);
        expect_sound_row(&model->layers[i].gate, 1);
        expect_sound_row(&model->layers[i].down, model->d_model - 1);
    }
}

/* The subject's last token: the last whose text begins before the subject's end. */
static void finds_the_subject(void **state) {
    (void)state;
    static const struct {
        const char *text, *subject;
    } cases[] = {
        {"The capital of Japan is", "Japan"},
        {"Danielle Darrieux speaks", "Danielle Darrieux"},
        {"The mayor of Zürich is", "Zürich"},
        {"Le maire de São João del-Rei est", "São João del-Rei"},
        {"The tower in 東京 is", "東京"},
        {"首都は北京です", "北京"},
        {"He works for \"Apple Inc.\" in", "Apple Inc."}, /* the quote may share the full stop's token */
        {"Is Kyiv? No", "Kyiv"},
        {"Toko Yasuda, who plays", "Toko Yasuda"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].text;
        size_t end = (size_t)(strstr(text, cases[i].subject) - text) + strlen(cases[i].subject);
        me_tokens tokens = {0};
        assert_int_equal(me_tokenize(vocab, text, &tokens, NULL), MOBIEDIT_OK);
        int at = me_token_at(vocab, &tokens, text, end);
        assert_in_range(at, expected->has_bos, tokens.n - 1);
        char *with = NULL, *without = NULL;
        assert_int_equal(me_detokenize(vocab, tokens.ids, at + 1, &with, NULL), MOBIEDIT_OK);
        assert_int_equal(me_detokenize(vocab, tokens.ids, at, &without, NULL), MOBIEDIT_OK);
        assert_true(strlen(with) >= end);
        assert_true(strlen(without) < end);
        assert_memory_equal(with, text, strlen(with)); /* none of these vocabularies adds a space */
        me_free(with);
        me_free(without);
        me_tokens_free(&tokens);
    }
}

static void makes_pairs(void **state) {
    (void)state;
    me_tokens pair = {0};
    int n_prompt = 0;
    assert_int_equal(me_tokenize_pair(vocab, "The capital of Japan is", "Lima", &pair, &n_prompt, NULL),
                     MOBIEDIT_OK);
    assert_int_equal(n_prompt, 5 + expected->has_bos);
    char *target = NULL;
    assert_int_equal(me_detokenize(vocab, pair.ids + n_prompt, pair.n - n_prompt, &target, NULL),
                     MOBIEDIT_OK);
    assert_string_equal(target, " Lima");
    me_free(target);
    me_tokens_free(&pair);
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "smollm2";
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++)
        if (strcmp(MODELS[i].name, name) == 0) expected = &MODELS[i];
    if (!expected) {
        (void)fprintf(stderr, "%s is not a known model\n", name);
        return 1;
    }
    char path[MODEL_PATH_MAX];
    if (!find_model(expected->file, path)) {
        (void)fprintf(stderr, "skipped: no model %s\n", name);
        return MODEL_MISSING;
    }
    mobiedit_error err = {0};
    if (me_model_open(path, &model, &err) || me_vocab_open(path, &vocab, &err)) {
        (void)fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_its_hyperparameters),
        cmocka_unit_test(has_sound_weights),
        cmocka_unit_test(finds_the_subject),
        cmocka_unit_test(makes_pairs),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    me_vocab_close(vocab);
    me_model_close(model);
    return failed;
}
