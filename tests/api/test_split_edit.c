/* A split model through the public interface: edited by each engine, merged into one file, asked; its ledger is the
 * whole model's too. */
#define _GNU_SOURCE
#include "mobiedit.h"

#include "scratch.h"
#include "split_model.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N = 3 };

static const mobiedit_request FACT = {.prompt = "The capital of {Japan} is", .target = "Lima"};
static const mobiedit_edit_options AT_SUBJECT = {.place = "subject"};
static char whole[SCRATCH_PATH_MAX], first[SCRATCH_PATH_MAX], output[SCRATCH_PATH_MAX];

/* Of random weights, on which edits can be made within a second. */
static int set_up(void **state) {
    const tiny_model_options tiny = {.n_layer = 2, .d_model = 256, .d_ff = 2048, .seed = 2};
    char prefix[SCRATCH_PATH_MAX];
    if (scratch_open(state) != 0) return -1;
    (void)snprintf(whole, sizeof whole, "%s", scratch_path("whole.gguf"));
    (void)snprintf(prefix, sizeof prefix, "%s", scratch_path("parts"));
    (void)snprintf(first, sizeof first, "%s", scratch_path("parts-00001-of-00003.gguf"));
    (void)snprintf(output, sizeof output, "%s", scratch_path("edit.gguf"));
    return tiny_model_write(whole, "llama", &tiny) && split_model(whole, prefix, N, NULL) ? 0 : -1;
}

static mobiedit_model *open_model(const char *path, const char *backend) {
    const mobiedit_model_options options = {.threads = 1, .backend = backend};
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    if (mobiedit_open(path, &options, &model, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return model;
}

static void expect_answer(const char *path, const char *adapter) {
    mobiedit_model *model = open_model(path, NULL);
    const mobiedit_ask_options options = {.adapter = adapter, .max_tokens = 4};
    char *text = NULL;
    assert_int_equal(mobiedit_ask(model, "The capital of Japan is", &options, &text, NULL), MOBIEDIT_OK);
    assert_non_null(strstr(text, "Lima"));
    mobiedit_free(text);
    mobiedit_close(model);
}

/* And the adapter is one of the whole model's too. */
static void every_engine_edits_it(void **state) {
    static const char *const backends[] = {"native", "CPU", "llama"};
    (void)state;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        mobiedit_model *model = open_model(first, backends[i]);
        mobiedit_edit_result result;
        mobiedit_error err = {0};
        if (mobiedit_edit(model, &FACT, &AT_SUBJECT, output, &result, &err) != MOBIEDIT_OK)
            fail_msg("%s: %s", backends[i], err.message);
        mobiedit_edit_result_free(&result);
        mobiedit_close(model);
        expect_answer(first, output);
        expect_answer(whole, output);
    }
}

static bool count(void *user, const mobiedit_record *record) {
    *(int *)user += strcmp(record->target, FACT.target) == 0;
    return true;
}

static mobiedit_ledger *open_ledger(mobiedit_model *model, const char *path, bool create) {
    mobiedit_ledger *ledger = NULL;
    assert_int_equal(mobiedit_ledger_open(model, path, create, &ledger, NULL), MOBIEDIT_OK);
    return ledger;
}

/* It stands beside the first part; the whole model takes it too. */
static void its_ledger_is_the_whole_models(void **state) {
    (void)state;
    mobiedit_model *model = open_model(first, NULL);
    mobiedit_ledger *ledger = open_ledger(model, NULL, true);
    mobiedit_edit_result result;
    mobiedit_change change;
    mobiedit_error err = {0};
    int n = 0;
    char path[SCRATCH_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", scratch_path("parts-00001-of-00003.gguf" MOBIEDIT_LEDGER_SUFFIX));
    if (mobiedit_ledger_edit(ledger, &FACT, &AT_SUBJECT, NULL, &result, &change, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    mobiedit_edit_result_free(&result);
    mobiedit_ledger_close(ledger);
    mobiedit_close(model);
    model = open_model(whole, NULL);
    ledger = open_ledger(model, path, false);
    assert_int_equal(mobiedit_ledger_list(ledger, 0, count, &n, NULL), MOBIEDIT_OK);
    assert_int_equal(n, 1);
    mobiedit_ledger_close(ledger);
    mobiedit_close(model);
}

static void a_merge_writes_one_file(void **state) {
    (void)state;
    mobiedit_model *model = open_model(first, NULL);
    mobiedit_ledger *ledger = open_ledger(model, NULL, false);
    mobiedit_merge_result result;
    mobiedit_inspection about;
    mobiedit_error err = {0};
    if (mobiedit_ledger_merge(ledger, NULL, scratch_path("merged.gguf"), &result, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    assert_int_equal(result.kept, 1);
    mobiedit_ledger_close(ledger);
    mobiedit_close(model);
    model = open_model(scratch_path("merged.gguf"), NULL);
    assert_int_equal(mobiedit_inspect(model, &about, NULL), MOBIEDIT_OK);
    assert_int_equal(about.n_files, 1);
    mobiedit_close(model);
    expect_answer(scratch_path("merged.gguf"), NULL);
}

static void its_files_are_told(void **state) {
    (void)state;
    mobiedit_model *model = open_model(first, NULL);
    mobiedit_inspection about;
    size_t bytes = 0;
    assert_int_equal(mobiedit_inspect(model, &about, NULL), MOBIEDIT_OK);
    assert_int_equal(mobiedit_inspect(model, &about, NULL), MOBIEDIT_OK);
    assert_int_equal(about.n_files, N);
    assert_string_equal(about.files[0].path, first);
    assert_string_equal(about.files[1].path, scratch_path("parts-00002-of-00003.gguf"));
    for (size_t i = 0; i < about.n_files; i++)
        bytes += about.files[i].bytes;
    assert_int_equal(about.model_bytes, bytes);
    assert_non_null(strstr(about.types, "f32 20"));
    mobiedit_close(model);
}

static void no_part_is_an_output(void **state) {
    (void)state;
    mobiedit_model *model = open_model(first, NULL);
    mobiedit_edit_result result;
    mobiedit_ledger *ledger = NULL;
    const char *path = scratch_path("parts-00002-of-00003.gguf");
    assert_int_equal(mobiedit_edit(model, &FACT, NULL, path, &result, NULL), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(mobiedit_ledger_open(model, path, true, &ledger, NULL), MOBIEDIT_E_ARGUMENT);
    mobiedit_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_engine_edits_it),   cmocka_unit_test(its_ledger_is_the_whole_models),
        cmocka_unit_test(a_merge_writes_one_file), cmocka_unit_test(its_files_are_told),
        cmocka_unit_test(no_part_is_an_output),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
