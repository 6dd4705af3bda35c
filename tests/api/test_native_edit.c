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

/* Whether the fact is edited, and said of the merged file too; *type: of the widest of the matrices that were
 * folded. */
static bool is_edited(mobiedit_model *model, const mobiedit_request *fact, const char **type,
                      mobiedit_error *err) {
    const mobiedit_edit_options options = {.place = "subject", .max_after_tokens = 4};
    mobiedit_edit_result edited = {0};
    mobiedit_merge_result merge;
    mobiedit_status status = mobiedit_edit(model, fact, &options, adapter, &edited, err);
    const bool said = edited.solve.stop == MOBIEDIT_STOP_ALREADY_SAID;
    mobiedit_edit_result_free(&edited);
    assert_int_equal(err->status, status); /* whatever was tried before */
    if (status != MOBIEDIT_OK || said) return false;
    status = mobiedit_merge(model, adapter, NULL, merged, &merge, err);
    *type = merge.type;
    return status == MOBIEDIT_OK && merge.facts == 1 && merge.held == 1;
}

static void expect_answer(const char *path, const char *with, const char *target) {
    mobiedit_model *model = open_model(path);
    const mobiedit_ask_options options = {.adapter = with, .max_tokens = 8};
    char *text = NULL;
    assert_int_equal(mobiedit_ask(model, "The capital of Japan is", &options, &text, NULL), MOBIEDIT_OK);
    assert_non_null(strstr(text, target));
    mobiedit_free(text);
    mobiedit_close(model);
}

/* Which targets random weights can be taught depends on how a processor rounds: one of some must do. */
static void check(const char *what, const char *holds) {
    static const char *const targets[] = {"Lima", "the", "is", "of", "a", "w", "c", "t", "J", "L"};
    mobiedit_request fact = {.prompt = "The capital of {Japan} is"};
    const char *type = NULL;
    mobiedit_error err = {0};
    bool done = false;
    mobiedit_model *model = open_model(model_path);
    expect_native(model, holds);
    for (size_t i = 0; i < sizeof targets / sizeof *targets && !done; i++) {
        fact.target = targets[i];
        done = is_edited(model, &fact, &type, &err);
    }
    mobiedit_close(model);
    if (!done) fail_msg("%s: none is edited, at last: %s", what, err.message);
    print_message("%s: \"%s\", merged as %s\n", what, fact.target, type);
    expect_answer(model_path, adapter, fact.target);
    expect_answer(merged, NULL, fact.target);
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
