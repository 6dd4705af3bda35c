/* Models in quant types of few bits, and of an architecture of which no real one is at hand, through the public
 * interface: the native engine edits them, libllama says the target with the adapter and of the merged file.
 *   test_native_edit        small models of random weights, all of their matrices in the type
 *   test_native_edit real   a real model that libllama's quantizer has brought to a file type */
#define _GNU_SOURCE
#include "mobiedit.h"

#include "models.h"
#include "scratch.h"
#include "tiny_model.h"

#include <llama.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const mobiedit_request FACT = {.prompt = "The capital of {Japan} is", .target = "Lima"};
static char model_path[SCRATCH_PATH_MAX], adapter[SCRATCH_PATH_MAX], merged[SCRATCH_PATH_MAX];

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    (void)snprintf(model_path, sizeof model_path, "%s", scratch_path("model.gguf"));
    (void)snprintf(adapter, sizeof adapter, "%s", scratch_path("adapter.gguf"));
    (void)snprintf(merged, sizeof merged, "%s", scratch_path("merged.gguf"));
    return 0;
}

static mobiedit_model *open_model(const char *path) {
    const mobiedit_model_options options = {.threads = 1, .describe = true, .calibration = "none"};
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    if (mobiedit_open(path, &options, &model, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return model;
}

/* `holds`: a type that the file has tensors of. */
static void expect_native(mobiedit_model *model, const char *holds) {
    mobiedit_inspection found;
    assert_int_equal(mobiedit_inspect(model, &found, NULL), MOBIEDIT_OK);
    if (found.why_not_native) fail_msg("%s", found.why_not_native);
    assert_string_equal(found.backend, "native");
    if (!strstr(found.types, holds)) fail_msg("no %s among %s", holds, found.types);
}

static void edit(mobiedit_model *model, const char *what) {
    const mobiedit_edit_options options = {.place = "subject"};
    mobiedit_edit_result result;
    mobiedit_error err = {0};
    if (mobiedit_edit(model, &FACT, &options, adapter, &result, &err) != MOBIEDIT_OK)
        fail_msg("%s: %s", what, err.message);
    mobiedit_edit_result_free(&result);
}

/* Returns the type of the widest of the matrices that were folded. */
static const char *merge(mobiedit_model *model, const char *what) {
    mobiedit_merge_result result;
    mobiedit_error err = {0};
    if (mobiedit_merge(model, adapter, NULL, merged, &result, &err) != MOBIEDIT_OK)
        fail_msg("%s: %s", what, err.message);
    assert_true(result.facts == 1 && result.held == 1 && result.kept == 1);
    return result.type;
}

static void expect_answer(const char *path, const char *with) {
    mobiedit_model *model = open_model(path);
    const mobiedit_ask_options options = {.adapter = with, .max_tokens = 4};
    char *text = NULL;
    assert_int_equal(mobiedit_ask(model, "The capital of Japan is", &options, &text, NULL), MOBIEDIT_OK);
    assert_non_null(strstr(text, "Lima"));
    mobiedit_free(text);
    mobiedit_close(model);
}

static void check(const char *what, const char *holds) {
    mobiedit_model *model = open_model(model_path);
    expect_native(model, holds);
    edit(model, what);
    print_message("%s: merged as %s\n", what, merge(model, what));
    mobiedit_close(model);
    expect_answer(model_path, adapter);
    expect_answer(merged, NULL);
}

static void small_models_are_edited_and_merged(void **state) {
    static const struct {
        const char *arch;
        enum ggml_type type;
    } models[] = {{"llama", GGML_TYPE_Q2_K},
                  {"llama", GGML_TYPE_Q3_K},
                  {"llama", GGML_TYPE_IQ4_NL},
                  {"llama", GGML_TYPE_IQ4_XS},
                  {"smollm3", GGML_TYPE_Q4_1}};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const bool is_deep = strcmp(models[i].arch, "smollm3") == 0; /* its fourth layer is another */
        const tiny_model_options tiny = {
            .n_layer = is_deep ? 5 : 2, .d_model = 256, .d_ff = 2048, .seed = 2, .type = models[i].type};
        char what[64];
        (void)snprintf(what, sizeof what, "%s, %s", models[i].arch, ggml_type_name(models[i].type));
        assert_true(tiny_model_write(model_path, models[i].arch, &tiny));
        check(what, ggml_type_name(models[i].type));
    }
}

/* Rows of this model that are no multiple of 256 get other types than its down projections, of which these have the
 * type named, unless all are to have that of the file. */
static const struct {
    enum llama_ftype file;
    bool pure;
    const char *name, *holds;
} FILES[] = {{LLAMA_FTYPE_MOSTLY_IQ4_XS, false, "IQ4_XS", "iq4_xs"},
             {LLAMA_FTYPE_MOSTLY_Q3_K_M, false, "Q3_K_M", "q4_K"},
             {LLAMA_FTYPE_MOSTLY_Q2_K, false, "Q2_K", "q3_K"},
             {LLAMA_FTYPE_MOSTLY_Q2_K, true, "Q2_K, all down projections", "q2_K"}};
static char source[MODEL_PATH_MAX];

static void requantised_models_are_edited_and_merged(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        struct llama_model_quantize_params params = llama_model_quantize_default_params();
        params.ftype = FILES[i].file;
        params.allow_requantize = true;
        params.pure = FILES[i].pure;
        params.nthread = 1;
        if (llama_model_quantize(source, model_path, &params) != 0)
            fail_msg("libllama does not quantise as %s", FILES[i].name);
        check(FILES[i].name, FILES[i].holds);
    }
}

static void silent(enum ggml_log_level level, const char *text, void *user) {
    (void)level, (void)text, (void)user;
}

int main(int argc, char **argv) {
    static const char name[] = "smollm2-135m-instruct-q4_1.gguf";
    const struct CMUnitTest tiny[] = {cmocka_unit_test(small_models_are_edited_and_merged)};
    const struct CMUnitTest real[] = {cmocka_unit_test(requantised_models_are_edited_and_merged)};
    llama_log_set(silent, NULL);
    if (argc < 2 || strcmp(argv[1], "real") != 0) return cmocka_run_group_tests(tiny, set_up, scratch_close);
    if (!find_model(name, source)) {
        printf("skipped: no %s\n", name);
        return MODEL_MISSING;
    }
    return cmocka_run_group_tests(real, set_up, scratch_close);
}
