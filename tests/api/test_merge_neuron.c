/* Merging an adapter that takes over a neuron: what its down projection meets, and a merged model that says
 * what the model says with the adapter. */
#define _GNU_SOURCE
#include "any_model.h"
#include "api/handle.h"
#include "api/samples.h"
#include "base/logits.h"
#include "base/random.h"
#include "edit/session.h"
#include "numbers.h"
#include "scratch.h"
#include "store/model_copy.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "neuron.h"

enum { LAYER = 1, PLACE = 37 };

static char model_path[512], adapter_path[512], merged_path[512];

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    (void)snprintf(model_path, sizeof model_path, "%s", scratch_path("model.gguf"));
    (void)snprintf(adapter_path, sizeof adapter_path, "%s", scratch_path("neuron.gguf"));
    (void)snprintf(merged_path, sizeof merged_path, "%s", scratch_path("merged.gguf"));
    return 0;
}

static mobiedit_model *open_tiny(const char *arch, const tiny_model_options *options) {
    mobiedit_model *handle = NULL;
    assert_true(tiny_model_write(model_path, arch, options));
    assert_int_equal(mobiedit_open(model_path, NULL, &handle, NULL), MOBIEDIT_OK);
    return handle;
}

static float *normals(size_t n, float size, uint64_t seed) {
    float *x = me_calloc(n, sizeof *x);
    me_random random;
    assert_non_null(x);
    me_random_seed(&random, seed);
    me_random_normals(&random, x, n);
    for (size_t i = 0; i < n; i++)
        x[i] *= size;
    return x;
}

/* ---- samples ----------------------------------------------------------------------------------------- */

static float *down_samples(mobiedit_model *handle, const me_adapter_part *gate, const me_adapter_part *up,
                           int *n) {
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    const me_sample_place place = {.layer = LAYER, .matrix = ME_MLP_DOWN, .gate = gate, .up = up};
    me_prompt fact;
    me_session *session;
    float *columns = NULL;
    assert_int_equal(me_prompt_parse(&request, &fact, NULL), MOBIEDIT_OK);
    assert_int_equal(me_handle_session(handle, &session, NULL), MOBIEDIT_OK);
    assert_int_equal(me_samples_collect(session, &place, &fact, 1, &columns, n, NULL), MOBIEDIT_OK);
    me_prompt_free(&fact);
    return columns;
}

/* The model with gate and up folded in, exactly: its matrices are floats. n: parts that there are. */
static mobiedit_model *open_changed(const mobiedit_model *handle, const me_adapter_part *parts, int n) {
    const me_key_samples none = {0};
    me_folded folded[2] = {{0}};
    me_pending_file pending = {0};
    mobiedit_model *changed = NULL;
    for (int i = 0; i < n; i++)
        assert_int_equal(
            me_fold(handle->model, &parts[i], GGML_TYPE_F32, &none, handle->pool, &folded[i], NULL),
            MOBIEDIT_OK);
    assert_int_equal(
        me_model_copy_write(handle->model, folded, n, "gate and up", merged_path, &pending, NULL),
        MOBIEDIT_OK);
    assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
    me_free(folded[0].data);
    me_free(folded[1].data);
    assert_int_equal(mobiedit_open(merged_path, NULL, &changed, NULL), MOBIEDIT_OK);
    return changed;
}

/* Some of the neurons have another gate, some another up, one both. */
static void check_samples_of(mobiedit_model *handle) {
    const bool gated = me_has_gate(handle->model->activation);
    const size_t d = (size_t)handle->model->d_model, d_ff = (size_t)handle->model->d_ff;
    float *a = normals(2 * d, 0.4F, 5), *b = me_calloc(4 * d_ff, sizeof *b);
    assert_non_null(b);
    b[3] = b[d_ff + PLACE] = b[2 * d_ff + 90] = b[3 * d_ff + PLACE] = 1;
    b[d_ff + 4] = -0.5F;
    const me_adapter_part parts[] = {
        {.layer = LAYER, .matrix = ME_MLP_GATE, .rank = 2, .a = a, .b = b},
        {.layer = LAYER, .matrix = ME_MLP_UP, .rank = 2, .a = a, .b = b + 2 * d_ff},
    };
    int n, n_changed, n_before;
    float *before = down_samples(handle, NULL, NULL, &n_before);
    float *is = down_samples(handle, gated ? &parts[0] : NULL, &parts[1], &n);
    mobiedit_model *changed = gated ? open_changed(handle, parts, 2) : open_changed(handle, parts + 1, 1);
    float *wanted = down_samples(changed, NULL, NULL, &n_changed);
    assert_true(n > 100 && n == n_changed && n == n_before);
    for (size_t i = 0; i < d_ff; i++) {
        const bool touched = ((i == 3 || i == 4) && gated) || i == PLACE || i == 90;
        const size_t at = i * (size_t)n;
        assert_true(relative_error(is + at, wanted + at, (size_t)n) < 0.03);
        if (touched)
            assert_true(relative_error(is + at, before + at, (size_t)n) > 0.2);
        else
            assert_memory_equal(is + at, before + at, (size_t)n * sizeof *is);
    }
    me_free(before);
    me_free(is);
    me_free(wanted);
    me_free(a);
    me_free(b);
    mobiedit_close(changed);
    mobiedit_close(handle);
}

static void check_samples(const char *arch, bool biases) {
    check_samples_of(open_tiny(arch, &(tiny_model_options){.biases = biases}));
}

static void check_samples_without_gate(const char *arch, bool layer_norm) {
    const any_spec spec = {.arch = arch, .layer_norm = layer_norm};
    mobiedit_model *handle = NULL;
    assert_true(any_model_write(model_path, &spec));
    assert_int_equal(mobiedit_open(model_path, NULL, &handle, NULL), MOBIEDIT_OK);
    check_samples_of(handle);
}

static void down_meets_the_changed_gate_and_up(void **state) {
    (void)state;
    check_samples("llama", true);   /* SiLU */
    check_samples("gemma3", false); /* GELU */
    check_samples_without_gate("starcoder2", true);
    check_samples_without_gate("arcee", false);
}

/* ---- merged models ----------------------------------------------------------------------------------- */

static const mobiedit_request FACT = {.prompt = "The capital of {Japan} is", .target = "Lima"};
static const char PROMPT[] = "The capital of Japan is";

/* The MLP's input at the prompt's last token into key [d_model]; the target's only token is returned. */
static me_token find_key(mobiedit_model *handle, float *key) {
    me_session *session;
    me_tokens tokens = {0};
    int n = 0;
    assert_int_equal(me_handle_session(handle, &session, NULL), MOBIEDIT_OK);
    assert_int_equal(me_tokenize_pair(session->vocab, PROMPT, "Lima", &tokens, &n, NULL), MOBIEDIT_OK);
    assert_int_equal(tokens.n, n + 1);
    const me_sequence prompt = {.tokens = tokens.ids, .n_tokens = n, .read_pos = n - 1, .n_read = 1};
    assert_int_equal(session->engine->ops->keys(session->engine, LAYER, &prompt, 1, key, NULL), MOBIEDIT_OK);
    const me_token target = tokens.ids[n];
    me_tokens_free(&tokens);
    return target;
}

/* A neuron that answers to the prompt's key with `activation` and adds the target's embedding, `strength`
 * times at that activation. */
static void write_neuron(mobiedit_model *handle, float activation, float strength) {
    const me_model *model = handle->model;
    const size_t d = (size_t)model->d_model;
    float *gate = me_calloc(3 * d, sizeof *gate), *up = gate + d, *down = up + d;
    assert_non_null(gate);
    const me_token target = find_key(handle, up);
    float square = 0;
    for (size_t i = 0; i < d; i++)
        square += up[i] * up[i];
    me_tensor_row(&model->output, target, down);
    const float gated = activation / (1 + expf(-activation));
    for (size_t i = 0; i < d; i++) {
        up[i] /= square;
        gate[i] = activation * up[i];
        down[i] *= strength / gated;
    }
    const neuron n = {.layer = LAYER, .place = PLACE, .gate = gate, .up = up, .down = down};
    neuron_write(model, &n, adapter_path);
    me_free(gate);
}

/* The next token's logits, freed with me_free. */
static float *next_logits(const char *path, const char *with, const char *prompt, int *n) {
    me_runtime *runtime = NULL;
    me_tokens tokens = {0};
    assert_int_equal(me_runtime_open(path, NULL, &runtime, NULL), MOBIEDIT_OK);
    assert_int_equal(me_runtime_set_adapter(runtime, with, NULL), MOBIEDIT_OK);
    *n = me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc((size_t)*n, sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(me_tokenize(me_runtime_vocab(runtime), prompt, &tokens, NULL), MOBIEDIT_OK);
    assert_int_equal(me_runtime_logits(runtime, tokens.ids, tokens.n, 1, logits, NULL), MOBIEDIT_OK);
    me_tokens_free(&tokens);
    me_runtime_close(runtime);
    return logits;
}

static double kl_of_merged(const char *prompt) {
    int n = 0;
    float *with = next_logits(model_path, adapter_path, prompt, &n),
          *merged = next_logits(merged_path, NULL, prompt, &n);
    const double kl = me_kl(with, merged, n);
    me_free(with);
    me_free(merged);
    return kl;
}

static void expect_types(enum ggml_type gate, enum ggml_type up, enum ggml_type down) {
    me_model *merged = NULL;
    assert_int_equal(me_model_open(merged_path, &merged, NULL), MOBIEDIT_OK);
    const me_layer *layer = &merged->layers[LAYER];
    assert_true(layer->gate.type == gate && layer->up.type == up && layer->down.type == down);
    me_model_close(merged);
}

static void merge(mobiedit_model *handle, bool keep_float, mobiedit_merge_result *result) {
    const mobiedit_merge_options options = {.keep_float = keep_float, .facts = &FACT, .n_facts = 1};
    mobiedit_error err = {0};
    if (mobiedit_merge(handle, adapter_path, &options, merged_path, result, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    print_message("%s: error %.4f, KL %.5f\n", result->type, result->error, kl_of_merged(PROMPT));
    assert_int_equal(result->tensors, ME_MLP_MATRICES);
    assert_true(result->facts == 1 && result->held == 1 && result->kept == 1);
}

static void merged_neuron_says_what_the_adapter_says(void **state) {
    (void)state;
    const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_Q8_0};
    for (int i = 0; i < 2; i++) {
        mobiedit_merge_result result;
        mobiedit_model *handle = open_tiny("llama", &(tiny_model_options){.type = types[i]});
        write_neuron(handle, 8, 12);
        merge(handle, false, &result);
        assert_string_equal(result.type, ggml_type_name(types[i]));
        assert_true(result.error < 0.1);
        expect_types(types[i], types[i], types[i]);
        assert_true(kl_of_merged(PROMPT) < 0.01);
        assert_true(kl_of_merged("The capital") < 0.01);
        merge(handle, true, &result);
        const enum ggml_type kept = i == 0 ? GGML_TYPE_F32 : GGML_TYPE_F16;
        expect_types(kept, kept, kept);
        assert_true(kl_of_merged(PROMPT) < 0.01);
        mobiedit_close(handle);
    }
}

/* A column hundreds of times as long as the others leaves nothing of those that share its blocks' scales:
 * that matrix is written as F16, and that one only. */
static void few_bits_that_lose_the_rest_become_floats(void **state) {
    (void)state;
    mobiedit_merge_result result;
    mobiedit_model *handle = open_tiny("llama", &(tiny_model_options){.type = GGML_TYPE_Q8_0});
    write_neuron(handle, 0.2F, 12);
    merge(handle, false, &result);
    assert_string_equal(result.type, "f16");
    assert_true(result.error < 0.1);
    expect_types(GGML_TYPE_Q8_0, GGML_TYPE_Q8_0, GGML_TYPE_F16);
    /* Gate and up stay few bits, and a neuron that answers to all there is shows what these cost: up to .011
     * with some processors' dot products. */
    assert_true(kl_of_merged(PROMPT) < 0.02);
    mobiedit_close(handle);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(down_meets_the_changed_gate_and_up),
        cmocka_unit_test(merged_neuron_says_what_the_adapter_says),
        cmocka_unit_test(few_bits_that_lose_the_rest_become_floats),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
