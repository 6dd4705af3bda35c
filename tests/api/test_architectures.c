/* Every architecture that an edit can live in, on small models that libllama lays out itself: libllama loads
 * the file, the engine's logits are libllama's, and a neuron's adapter does in libllama what its delta does in
 * the engine.
 *   test_architectures              that, of all of them, in the first layer of each kind
 *   test_architectures edits        in two layers, and that each is edited, and the edit is verified
 *   test_architectures ... NAME     of one */
#define _GNU_SOURCE
#include "any_model.h"
#include "api/neuron_adapter.h"
#include "base/memory.h"
#include "base/random.h"
#include "edit/session.h"
#include "mobiedit.h"
#include "model/sites.h"
#include "oracle.h"
#include "scratch.h"

#include <lapacke.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTH = 12, EDITED = 6, VETOED = 3 };
/* How far logits may be apart, in units of their root mean square: float weights, and an adapter's. */
static const double EXACT = 1e-3, ADAPTED = 1e-2;

static const any_spec SPECS[] = {
#include "architectures.inc"
};
enum { N_SPECS = sizeof SPECS / sizeof *SPECS };

static bool whole_edits;
static const char *only;

typedef struct {
    const char *arch;
    char path[SCRATCH_PATH_MAX], adapter[SCRATCH_PATH_MAX];
    me_model *model;
    me_engine *engine;
    me_vocab *vocab;
    me_session *session;
    oracle libllama;
    int32_t tokens[LENGTH];
    float *logits, *expected; /* [LENGTH][n_vocab] */
} bench;

static void check(const bench *b, mobiedit_status status, const mobiedit_error *err) {
    if (status != MOBIEDIT_OK) fail_msg("%s: %s", b->arch, err->message);
}

static void *allocated(size_t n, size_t size) {
    void *p = me_calloc(n, size);
    assert_non_null(p);
    return p;
}

/* The largest difference, in units of b's root mean square. */
static double apart(const float *a, const float *b, size_t n) {
    double largest = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        const double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= largest)) largest = difference;
        squares += (double)b[i] * (double)b[i];
    }
    return largest / sqrt(squares / (double)n);
}

/* The model that has been written. */
static void open_written(bench *b, const char *name) {
    mobiedit_error err = {0};
    *b = (bench){.arch = name};
    (void)snprintf(b->path, sizeof b->path, "%s", scratch_path("model.gguf"));
    (void)snprintf(b->adapter, sizeof b->adapter, "%s", scratch_path("adapter.gguf"));
    check(b, me_model_open_any(b->path, &b->model, &err), &err);
    check(b, me_vocab_open(b->path, &b->vocab, &err), &err);
    check(b, me_llama_open(b->model, &(me_llama_options){.threads = 1}, &b->engine, &err), &err);
    check(b, me_session_open(b->engine, b->vocab, &b->session, &err), &err);
    if (!oracle_open(b->path, 64, 1, &b->libllama)) fail_msg("%s: libllama does not load it", name);
    const size_t n = (size_t)LENGTH * (size_t)b->model->n_vocab;
    b->logits = allocated(n, sizeof *b->logits);
    b->expected = allocated(n, sizeof *b->expected);
    me_random random;
    me_random_seed(&random, 7);
    for (int i = 0; i < LENGTH; i++)
        b->tokens[i] = (int32_t)(me_random_uniform(&random) * (b->model->n_vocab - 1));
}

static void open_bench(bench *b, const any_spec *spec) {
    if (!any_model_write(scratch_path("model.gguf"), spec))
        fail_msg("%s: libllama does not make the model", spec->arch);
    open_written(b, spec->arch);
}

static void close_bench(bench *b) {
    me_free(b->logits);
    me_free(b->expected);
    oracle_close(&b->libllama);
    me_session_close(b->session);
    b->engine->ops->close(b->engine);
    me_vocab_close(b->vocab);
    me_model_close(b->model);
}

/* ---- logits -------------------------------------------------------------------------------------------- */

/* Quantised weights: a sum that differs in its last bit may be rounded to the next step of an activation. */
static void compare_logits(bench *b, double tolerance) {
    mobiedit_error err = {0};
    const me_sequence sequence = {.tokens = b->tokens, .n_tokens = LENGTH, .n_read = LENGTH};
    const size_t n = (size_t)LENGTH * (size_t)b->model->n_vocab;
    float *hidden = allocated((size_t)LENGTH * (size_t)b->model->d_model, sizeof *hidden);
    check(b, b->engine->ops->forward(b->engine, &sequence, 1, hidden, &err), &err);
    check(b, b->engine->ops->logits(b->engine, hidden, LENGTH, b->logits, &err), &err);
    assert_true(oracle_logits(&b->libllama, b->tokens, LENGTH, b->expected));
    const double difference = apart(b->logits, b->expected, n);
    if (!(difference < tolerance)) fail_msg("%s: logits differ by %g rms", b->arch, difference);
    me_free(hidden);
}

/* ---- a neuron ------------------------------------------------------------------------------------------ */

/* x [d] with keys[i].x = wanted[i], keys [LENGTH][d]: the shortest. */
static void solve(const float *keys, const float *wanted, int d, float *x) {
    float *a = allocated((size_t)LENGTH * (size_t)d, sizeof *a);
    memcpy(a, keys, (size_t)LENGTH * (size_t)d * sizeof *a);
    memcpy(x, wanted, LENGTH * sizeof *x);
    assert_int_equal(LAPACKE_sgels(LAPACK_ROW_MAJOR, 'N', LENGTH, d, 1, a, d, x, 1), 0);
    me_free(a);
}

/* An adapter whose neuron fires at EDITED alone, and there gives `share` of delta [d]. At VETOED it would, too,
 * but for a veto. */
static void write_neuron(bench *b, int layer, const float *delta, float *share) {
    mobiedit_error err = {0};
    const int d = b->model->d_model;
    float *keys = allocated((size_t)LENGTH * (size_t)d, sizeof *keys);
    float *left = allocated((size_t)d, sizeof *left), *constant = allocated((size_t)d, sizeof *constant);
    float *veto = allocated((size_t)d, sizeof *veto);
    float fires[LENGTH] = {0}, vetoed[LENGTH] = {0}, ones[LENGTH];
    const me_sequence sequence = {.tokens = b->tokens, .n_tokens = LENGTH, .n_read = LENGTH};
    check(b, b->engine->ops->keys(b->engine, layer, &sequence, 1, keys, &err), &err);
    for (int i = 0; i < LENGTH; i++)
        ones[i] = 1;
    fires[EDITED] = 1;
    fires[VETOED] = 0.6F;
    vetoed[VETOED] = me_neuron_ceiling() - fires[VETOED];
    solve(keys, fires, d, left);
    solve(keys, vetoed, d, veto);
    solve(keys, ones, d, constant);
    const me_neuron_plan plan = {
        .layer = layer, .n = 1, .left = left, .veto = veto, .constant = constant, .delta = delta};
    me_neurons neurons;
    me_pending_file pending = {0};
    check(b, me_neurons_make(b->session, &plan, 0, &neurons, &err), &err);
    for (int i = 0; i < neurons.n_experts * neurons.n; i++)
        assert_int_equal(neurons.index[i], i % neurons.n); /* they give nothing: see any_model_write */
    check(b, me_neuron_adapter_write(b->model, &neurons, 1, NULL, b->adapter, &pending, &err), &err);
    check(b, me_pending_commit(&pending, &err), &err);
    check(b, me_adapter_check(b->model, b->adapter, &err), &err);
    *share = me_neuron_share(b->model->activation, 1, 1, 0);
    me_neurons_free(&neurons);
    me_free(keys);
    me_free(left);
    me_free(veto);
    me_free(constant);
}

/* By the engine: logits at all positions from the edited one on. */
static void add_in_engine(const bench *b, int layer, const float *delta) {
    mobiedit_error err = {0};
    me_prefix *prefix;
    const int n_read = LENGTH - EDITED;
    const me_sequence sequence = {
        .tokens = b->tokens, .n_tokens = LENGTH, .edit_pos = EDITED, .read_pos = EDITED, .n_read = n_read};
    check(b, b->engine->ops->prefix(b->engine, layer, &sequence, 1, &prefix, &err), &err);
    float *hidden = allocated((size_t)n_read * (size_t)b->model->d_model, sizeof *hidden);
    check(b, b->engine->ops->suffix(b->engine, prefix, delta, 1, &(int){0}, 1, hidden, &err), &err);
    check(b,
          b->engine->ops->logits(b->engine, hidden, n_read,
                                 b->logits + (size_t)EDITED * (size_t)b->model->n_vocab, &err),
          &err);
    b->engine->ops->prefix_free(b->engine, prefix);
    me_free(hidden);
}

/* By libllama, the adapter attached: into expected. */
static void add_in_libllama(bench *b) {
    float one = 1;
    struct llama_adapter_lora *adapter = llama_adapter_lora_init(b->libllama.model, b->adapter);
    if (!adapter) fail_msg("%s: libllama does not load the adapter", b->arch);
    assert_int_equal(llama_set_adapters_lora(b->libllama.context, &adapter, 1, &one), 0);
    assert_true(oracle_logits(&b->libllama, b->tokens, LENGTH, b->expected));
    (void)llama_set_adapters_lora(b->libllama.context, NULL, 0, NULL);
    llama_adapter_lora_free(adapter);
}

static void compare_neuron(bench *b, int layer, double tolerance) {
    const size_t d = (size_t)b->model->d_model, n_vocab = (size_t)b->model->n_vocab;
    const size_t from = (size_t)EDITED * n_vocab, n = (size_t)(LENGTH - EDITED) * n_vocab;
    float *delta = allocated(d, sizeof *delta), share;
    me_random random;
    me_random_seed(&random, 11);
    me_random_normals(&random, delta, d);
    write_neuron(b, layer, delta, &share);
    for (size_t i = 0; i < d; i++)
        delta[i] *= share;
    memcpy(b->expected, b->logits, (LENGTH * n_vocab) * sizeof *b->logits);
    add_in_engine(b, layer, delta);
    const double effect = apart(b->logits + from, b->expected + from, n);
    if (!(effect > 0.02)) fail_msg("%s, layer %d: a delta changes logits by %g rms", b->arch, layer, effect);
    add_in_libllama(b);
    const double difference = apart(b->logits + from, b->expected + from, n);
    if (!(difference < tolerance))
        fail_msg("%s, layer %d: delta and adapter differ by %g rms, of %g", b->arch, layer, difference,
                 effect);
    me_free(delta);
}

/* ---- inspect ------------------------------------------------------------------------------------------- */

static void inspect(const bench *b, int sites) {
    mobiedit_model *model;
    mobiedit_error err = {0};
    mobiedit_inspection found;
    check(b, mobiedit_open(b->path, NULL, &model, &err), &err);
    check(b, mobiedit_inspect(model, &found, &err), &err);
    assert_string_equal(found.architecture, b->arch);
    assert_string_equal(found.backend, "llama");
    assert_non_null(found.why_not_native);
    assert_int_equal(found.editable, sites);
    assert_true(me_site_is_there(b->model, found.layer));
    mobiedit_close(model);
    const mobiedit_model_options native = {.backend = "native"};
    assert_int_equal(mobiedit_open(b->path, &native, &model, &err), MOBIEDIT_E_UNSUPPORTED);
}

/* ---- a whole edit -------------------------------------------------------------------------------------- */

/* Whether the edit folded into a copy says what the adapter says; of gate and up in one tensor there is none. */
static bool is_merged(const bench *b, mobiedit_model *model, const mobiedit_request *request, int layer) {
    mobiedit_error err = {0};
    mobiedit_merge_result result = {0};
    const mobiedit_merge_options options = {.facts = request, .n_facts = 1};
    const bool fused = b->model->layers[layer].site == ME_SITE_FUSED;
    const mobiedit_status status =
        mobiedit_merge(model, b->adapter, &options, scratch_path("merged.gguf"), &result, &err);
    if (fused) {
        assert_int_equal(status, MOBIEDIT_E_UNSUPPORTED);
        return true;
    }
    if (status == MOBIEDIT_E_NOT_VERIFIED) return false;
    check(b, status, &err);
    return result.kept == 1;
}

/* Random weights do not say everything, and what they say stands on how a processor rounds: of many edits, each of
 * a token, one is found and verified by libllama, and says the same folded in. */
static void edit(const bench *b) {
    static const char *const prompts[] = {"The capital is {Japan}", "{Mary}, the", "of {Paris}"};
    static const char *const targets[] = {"the", "is", "of", "a", "w", "c", "t", "J", "L", "P", "S", "b",
                                          "d",   "e",  "g",  "h", "k", "m", "n", "o", "r", "s", "u", "y"};
    enum { N_PROMPTS = sizeof prompts / sizeof *prompts, N_TARGETS = sizeof targets / sizeof *targets };
    mobiedit_model *model;
    mobiedit_error err = {0};
    bool is_edited = false;
    const mobiedit_model_options options = {.threads = 1, .calibration = "none"};
    const mobiedit_edit_options edit_options = {
        .place = "subject", .max_after_tokens = 4, .max_evaluations = 1200};
    check(b, mobiedit_open(b->path, &options, &model, &err), &err);
    for (int i = 0; i < N_PROMPTS * N_TARGETS && !is_edited; i++) {
        mobiedit_edit_result result = {0};
        const mobiedit_request request = {.prompt = prompts[i / N_TARGETS], .target = targets[i % N_TARGETS]};
        const mobiedit_status status =
            mobiedit_edit(model, &request, &edit_options, b->adapter, &result, &err);
        if (status == MOBIEDIT_OK) assert_int_equal(err.status, MOBIEDIT_OK);
        is_edited = status == MOBIEDIT_OK && result.solve.stop != MOBIEDIT_STOP_ALREADY_SAID &&
                    is_merged(b, model, &request, result.solve.layer);
        if (is_edited)
            print_message("%-16s \"%s\", trial %d, layer %d, %zu evaluations, loss %.2f\n", b->arch,
                          request.target, i + 1, result.solve.layer, result.solve.evaluations,
                          (double)result.solve.loss);
        mobiedit_edit_result_free(&result);
    }
    if (!is_edited) fail_msg("%s: no edit is found, at last: %s", b->arch, err.message);
    mobiedit_close(model);
}

/* ---- all ----------------------------------------------------------------------------------------------- */

static const any_spec *current;

/* Whether no layer below has an MLP of the same kind. */
static bool is_first_of_its_kind(const me_model *model, int layer) {
    for (int below = 0; below < layer; below++)
        if (model->layers[below].site == model->layers[layer].site) return false;
    return true;
}

static void it_is_edited(void **state) {
    (void)state;
    bench b;
    int sites = 0;
    open_bench(&b, current);
    compare_logits(&b, EXACT);
    for (int layer = 0; layer < b.model->n_layer - 1; layer++) {
        if (!me_site_is_there(b.model, layer)) continue;
        sites++;
        if (whole_edits ? layer < 2 : is_first_of_its_kind(b.model, layer))
            compare_neuron(&b, layer, ADAPTED);
    }
    assert_true(sites > 0);
    inspect(&b, sites);
    if (whole_edits) edit(&b);
    close_bench(&b);
}

/* ---- quant types --------------------------------------------------------------------------------------- */

/* A model with its tensors in another type, quantised by libllama. */
static void write_quantized(const any_spec *spec, enum llama_ftype ftype,
                            const struct llama_model_tensor_override *overrides) {
    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = ftype;
    params.nthread = 1;
    params.pure = !overrides;
    params.tt_overrides = overrides;
    char floats[SCRATCH_PATH_MAX];
    (void)snprintf(floats, sizeof floats, "%s", scratch_path("float.gguf"));
    if (!any_model_write(floats, spec)) fail_msg("libllama does not make the model");
    if (llama_model_quantize(floats, scratch_path("model.gguf"), &params) != 0)
        fail_msg("libllama does not quantise as %d", (int)ftype);
}

/* A llama model in a type that our own engines do not know. */
static void check_type(enum llama_ftype ftype, const struct llama_model_tensor_override *overrides) {
    bench b;
    const any_spec spec = {.arch = "llama",
                           .keys = {ANY_NUMBER(ANY_INT, "embedding_length", 256),
                                    ANY_NUMBER(ANY_INT, "feed_forward_length", 512)}};
    write_quantized(&spec, ftype, overrides);
    open_written(&b, ggml_type_name(GGML_TYPE_F32));
    b.arch = ggml_type_name(b.model->layers[0].down.type);
    assert_non_null(b.model->why_foreign);
    assert_non_null(strstr(b.model->why_foreign, b.arch));
    compare_logits(&b, 0.3);
    compare_neuron(&b, 1, 0.3);
    if (whole_edits) edit(&b);
    close_bench(&b);
}

static void other_quant_types_are_edited(void **state) {
    (void)state;
    static const enum llama_ftype types[] = {LLAMA_FTYPE_MOSTLY_IQ3_S, LLAMA_FTYPE_MOSTLY_TQ2_0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        check_type(types[i], NULL);
    const struct llama_model_tensor_override mlp[] = {{.pattern = "ffn_", .type = GGML_TYPE_MXFP4}, {0}};
    check_type(LLAMA_FTYPE_MOSTLY_Q8_0, mlp);
}

static const any_spec *spec_of(const char *arch) {
    const any_spec *spec = SPECS;
    while (strcmp(spec->arch, arch) != 0)
        spec++;
    return spec;
}

/* As gpt-oss comes. Which experts a token goes through may hang on how a processor rounds, so that numbers
 * are not compared; whole edits are looked for. */
static void experts_of_few_bits_are_edited(void **state) {
    (void)state;
    bench b;
    const struct llama_model_tensor_override experts[] = {{.pattern = "_exps", .type = GGML_TYPE_MXFP4}, {0}};
    const any_spec *spec = spec_of("gpt-oss");
    write_quantized(spec, LLAMA_FTYPE_MOSTLY_Q8_0, experts);
    open_written(&b, spec->arch);
    assert_int_equal(b.model->layers[0].down.type, GGML_TYPE_MXFP4);
    edit(&b);
    close_bench(&b);
}

/* Of gemma4 the last layers may read K and V of earlier ones: from the last with its own on, no later token sees an edit. */
static void layers_that_share_are_no_sites(void **state) {
    (void)state;
    enum { SHARED_LAYERS = 1 };
    int n_models = 0;
    for (int i = 0; i < N_SPECS; i++) {
        const any_key *key = SPECS[i].keys;
        while (key->name && strcmp(key->name, "attention.shared_kv_layers") != 0)
            key++;
        if (!key->name) continue;
        bench b;
        open_bench(&b, &SPECS[i]);
        for (int layer = 0; layer < b.model->n_layer; layer++)
            assert_int_equal(me_site_is_there(b.model, layer), layer < ANY_LAYERS - SHARED_LAYERS - 1);
        close_bench(&b);
        n_models++;
    }
    assert_true(n_models > 0);
}

/* Each architecture of the table that is not refused has a model here. */
static void all_have_a_model(void **state) {
    (void)state;
    size_t n;
    const me_site_arch *archs = me_site_archs(&n);
    for (size_t i = 0; i < n; i++) {
        bool found = archs[i].refusal != NULL;
        for (int j = 0; j < N_SPECS && !found; j++)
            found = strcmp(SPECS[j].arch, archs[i].name) == 0;
        if (!found) fail_msg("no model of %s is tested", archs[i].name);
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "edits") == 0)
            whole_edits = true;
        else
            only = argv[i];
    }
    int failed = 0;
    const struct CMUnitTest table[] = {cmocka_unit_test(all_have_a_model),
                                       cmocka_unit_test(layers_that_share_are_no_sites),
                                       cmocka_unit_test(other_quant_types_are_edited)};
    const struct CMUnitTest edits[] = {cmocka_unit_test(experts_of_few_bits_are_edited)};
    if (!only) failed += cmocka_run_group_tests(table, scratch_open, scratch_close);
    if (!only && whole_edits) failed += cmocka_run_group_tests(edits, scratch_open, scratch_close);
    for (int i = 0; i < N_SPECS; i++) {
        current = &SPECS[i];
        if (only && strcmp(only, current->arch) != 0) continue;
        const struct CMUnitTest one[] = {{.name = current->arch, .test_func = it_is_edited}};
        failed += cmocka_run_group_tests_name(current->arch, one, scratch_open, scratch_close);
    }
    return failed;
}
