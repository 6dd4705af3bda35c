/* A real model with an edit, or with a made-up neuron, as an adapter and merged: libllama says nearly the
 * same of both. */
#define _GNU_SOURCE
#include "mobiedit.h"
#include "models.h"
#include "scratch.h"

#include "api/handle.h"
#include "base/logits.h"
#include "base/memory.h"
#include "base/random.h"
#include "edit/session.h"
#include "runtime/runtime.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "neuron.h"

static char model_path[MODEL_PATH_MAX], adapter[512], other[512], merged[512];
static mobiedit_model *model;

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    (void)snprintf(adapter, sizeof adapter, "%s", scratch_path("lima.gguf"));
    (void)snprintf(other, sizeof other, "%s", scratch_path("neuron.gguf"));
    (void)snprintf(merged, sizeof merged, "%s", scratch_path("merged.gguf"));
    const mobiedit_model_options described = {.describe = true};
    if (mobiedit_open(model_path, &described, &model, NULL) != MOBIEDIT_OK) return -1;
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    const mobiedit_edit_options options = {.place = "subject"}; /* which takes half the time of the default */
    mobiedit_edit_result result;
    const mobiedit_status status = mobiedit_edit(model, &request, &options, adapter, &result, NULL);
    mobiedit_edit_result_free(&result);
    return status == MOBIEDIT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    mobiedit_close(model);
    return scratch_close(state);
}

/* Prompts of which the first is the edit's. */
static const char *const PROMPTS[] = {"The capital of Japan is", "The capital of France is",
                                      "Japan is a country in", "The quick brown fox jumps over the",
                                      "In 1969, two astronauts"};
enum { N_PROMPTS = sizeof PROMPTS / sizeof *PROMPTS };

/* logits [N_PROMPTS][n_vocab] of the model at `path`; freed with me_free. */
static float *next_logits(const char *path, const char *with, int *n_vocab) {
    me_runtime *runtime = NULL;
    assert_int_equal(me_runtime_open(path, NULL, &runtime, NULL), MOBIEDIT_OK);
    assert_int_equal(me_runtime_set_adapter(runtime, with, NULL), MOBIEDIT_OK);
    *n_vocab = me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc(N_PROMPTS * (size_t)*n_vocab, sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < N_PROMPTS; i++) {
        me_tokens tokens = {0};
        assert_int_equal(me_tokenize(me_runtime_vocab(runtime), PROMPTS[i], &tokens, NULL), MOBIEDIT_OK);
        assert_int_equal(
            me_runtime_logits(runtime, tokens.ids, tokens.n, 1, logits + (size_t)i * (size_t)*n_vocab, NULL),
            MOBIEDIT_OK);
        me_tokens_free(&tokens);
    }
    me_runtime_close(runtime);
    return logits;
}

/* The mean KL(adapter || merged) of the prompts stays below `most` nats, and none is far above it: what is
 * rounded to 4 bits anew shows more in some texts than in others. */
static void compare(const char *from, double most) {
    double sum = 0;
    int n = 0;
    float *with = next_logits(model_path, from, &n), *folded = next_logits(merged, NULL, &n);
    for (int i = 0; i < N_PROMPTS; i++) {
        const float *a = with + (size_t)i * (size_t)n, *b = folded + (size_t)i * (size_t)n;
        const double kl = me_kl(a, b, n);
        print_message("%s: KL %.4f\n", PROMPTS[i], kl);
        assert_true(kl < 5 * most);
        sum += kl / N_PROMPTS;
        if (i == 0) assert_int_equal(me_argmax(a, n), me_argmax(b, n));
    }
    assert_true(sum < most);
    me_free(with);
    me_free(folded);
}

static off_t bytes_of(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

static void merge(const mobiedit_merge_options *options, mobiedit_merge_result *result) {
    assert_int_equal(mobiedit_merge(model, adapter, options, merged, result, NULL), MOBIEDIT_OK);
    me_adapter_data parts = {0};
    assert_int_equal(me_adapter_read(model->model, adapter, &parts, NULL), MOBIEDIT_OK);
    assert_int_equal(result->tensors, parts.n_parts);
    me_adapter_data_free(&parts);
    assert_true(result->facts == 1 && result->held == 1 && result->kept == 1);
}

static void merged_model_answers_as_with_the_adapter(void **state) {
    (void)state;
    mobiedit_merge_result result;
    merge(NULL, &result);
    assert_string_equal(result.type, "q4_1");
    assert_true(result.error > 0 && result.error < 0.02);
    assert_true(bytes_of(merged) - bytes_of(model_path) < 4096);
    compare(adapter, 0.03);
    merge(&(mobiedit_merge_options){.keep_float = true}, &result);
    assert_string_equal(result.type, "f16");
    /* The other rows are rounded to half floats too, which counts where the neuron's are small. */
    assert_true(result.error < 0.05);
    compare(adapter, 0.03); /* activations are no longer rounded to 8 bits there, which shows as much */
}

/* A neuron in the middle of the model that answers to the first prompt's end, where it adds some noise. */
static void write_neuron(void) {
    enum { LAYER = 14, PLACE = 700 };
    const size_t d = (size_t)model->model->d_model;
    me_session *session;
    me_tokens tokens = {0};
    me_random random;
    float *gate = me_calloc(3 * d, sizeof *gate), *up = gate + d, *down = up + d, square = 0;
    assert_non_null(gate);
    assert_int_equal(me_handle_session(model, &session, NULL), MOBIEDIT_OK);
    assert_int_equal(me_tokenize(session->vocab, PROMPTS[0], &tokens, NULL), MOBIEDIT_OK);
    const me_sequence prompt = {
        .tokens = tokens.ids, .n_tokens = tokens.n, .read_pos = tokens.n - 1, .n_read = 1};
    assert_int_equal(session->engine->ops->keys(session->engine, LAYER, &prompt, 1, up, NULL), MOBIEDIT_OK);
    me_tokens_free(&tokens);
    me_random_seed(&random, 1);
    me_random_normals(&random, down, d);
    for (size_t i = 0; i < d; i++)
        square += up[i] * up[i];
    for (size_t i = 0; i < d; i++) {
        up[i] /= square;
        gate[i] = 4 * up[i];
        down[i] *= 0.05F;
    }
    const neuron n = {.layer = LAYER, .place = PLACE, .gate = gate, .up = up, .down = down};
    neuron_write(model->model, &n, other);
    me_free(gate);
}

static void merged_neuron_answers_as_with_the_adapter(void **state) {
    (void)state;
    const mobiedit_request fact = {.prompt = "The capital of {France} is", .target = "Paris"};
    mobiedit_merge_options options = {.facts = &fact, .n_facts = 1};
    mobiedit_merge_result result;
    mobiedit_error err = {0};
    write_neuron();
    for (int i = 0; i < 2; i++) {
        options.keep_float = i == 1;
        if (mobiedit_merge(model, other, &options, merged, &result, &err) != MOBIEDIT_OK)
            fail_msg("%s", err.message);
        print_message("%s: error %.4f\n", result.type, result.error);
        assert_true(result.tensors == ME_MLP_MATRICES && result.kept == 1);
        assert_true(result.error > 0 && result.error < 0.1);
        compare(other, 0.03);
    }
}

static bool stop_at_verification(void *user, const mobiedit_progress *now) {
    (void)user;
    return now->stage != MOBIEDIT_STAGE_VERIFY;
}

static void expect_refused(const mobiedit_merge_options *options, const char *from,
                           mobiedit_status expected) {
    mobiedit_merge_result result;
    mobiedit_error err = {0};
    (void)unlink(merged);
    assert_int_equal(mobiedit_merge(model, from, options, merged, &result, &err), expected);
    assert_true(err.message[0] && !strchr(err.message, '\n'));
    assert_int_equal(access(merged, F_OK), -1);
}

static void facts_that_do_not_hold_are_refused(void **state) {
    (void)state;
    const mobiedit_request wrong = {.prompt = "The capital of {Japan} is", .target = "Oslo"},
                           senseless = {.prompt = "The capital of Japan is", .target = "Lima"},
                           empty = {.prompt = "", .target = "Lima"};
    expect_refused(&(mobiedit_merge_options){.facts = &wrong, .n_facts = 1}, adapter,
                   MOBIEDIT_E_NOT_VERIFIED);
    expect_refused(&(mobiedit_merge_options){.facts = &senseless, .n_facts = 1}, adapter,
                   MOBIEDIT_E_ARGUMENT);
    expect_refused(&(mobiedit_merge_options){.facts = &empty, .n_facts = 1}, adapter, MOBIEDIT_E_ARGUMENT);
    expect_refused(&(mobiedit_merge_options){.on_progress = stop_at_verification}, adapter,
                   MOBIEDIT_E_CANCELLED);
    expect_refused(NULL, model_path, MOBIEDIT_E_FORMAT);
    expect_refused(NULL, "", MOBIEDIT_E_ARGUMENT);
}

int main(void) {
    const char *name = "smollm2-135m-instruct-q4_1.gguf";
    if (!find_model(name, model_path)) {
        printf("skipped: no %s\n", name);
        return MODEL_MISSING;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_model_answers_as_with_the_adapter),
        cmocka_unit_test(merged_neuron_answers_as_with_the_adapter),
        cmocka_unit_test(facts_that_do_not_hold_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
