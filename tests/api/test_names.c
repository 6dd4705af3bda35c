/* Models by other names than MODEL.gguf: without ".gguf", and links. What belongs to a model stands beside the name that
 * was given, and only there. */
#define _GNU_SOURCE
#include "mobiedit.h"

#include "scratch.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* As Ollama names its blobs. */
#define BLOB "sha256-74701a8c35f6c8d9a4b91f3f3497643001d63e0c7a84e085bed452548fa88d45"
#define LINK "my model"

static int set_up(void **state) {
    const tiny_model_options tiny = {.n_layer = 2, .d_model = 256, .d_ff = 2048, .seed = 2};
    if (scratch_open(state) != 0) return -1;
    return tiny_model_write(scratch_path(BLOB), "llama", &tiny) && symlink(BLOB, scratch_path(LINK)) == 0
               ? 0
               : -1;
}

static mobiedit_model *open_model(const char *name) {
    const mobiedit_model_options options = {.threads = 1};
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    if (mobiedit_open(scratch_path(name), &options, &model, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return model;
}

static void expect_inspection(const char *name, bool has_ledger, mobiedit_calibration_state calibration) {
    mobiedit_model *model = open_model(name);
    mobiedit_inspection about;
    assert_int_equal(mobiedit_inspect(model, &about, NULL), MOBIEDIT_OK);
    assert_string_equal(about.name, name);
    assert_string_equal(about.files[0].path, scratch_path(name));
    assert_int_equal(about.has_ledger, has_ledger);
    assert_int_equal(about.calibration, calibration);
    mobiedit_close(model);
}

static bool stop(void *user, int done, int total) {
    (void)user;
    (void)total;
    return done == 0;
}

/* Stopped at once: what was measured is in the file. */
static void calibrate(const char *name) {
    mobiedit_model *model = open_model(name);
    const mobiedit_calibrate_options options = {.fix_layer = true, .on_prompt = stop};
    mobiedit_calibrate_result result;
    assert_int_equal(mobiedit_calibrate(model, &options, &result, NULL), MOBIEDIT_E_CANCELLED);
    mobiedit_close(model);
}

static void edit(const char *name) {
    const mobiedit_request fact = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    const mobiedit_edit_options options = {.place = "subject"};
    char adapter[SCRATCH_PATH_MAX], *text = NULL;
    mobiedit_model *model = open_model(name);
    mobiedit_ledger *ledger = NULL;
    mobiedit_edit_result result;
    mobiedit_change change;
    mobiedit_error err = {0};
    (void)snprintf(adapter, sizeof adapter, "%s", scratch_path("edits"));
    assert_int_equal(mobiedit_ledger_open(model, NULL, true, &ledger, NULL), MOBIEDIT_OK);
    if (mobiedit_ledger_edit(ledger, &fact, &options, adapter, &result, &change, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    mobiedit_edit_result_free(&result);
    mobiedit_ledger_close(ledger);
    const mobiedit_ask_options ask = {.adapter = adapter, .max_tokens = 4};
    assert_int_equal(mobiedit_ask(model, "The capital of Japan is", &ask, &text, NULL), MOBIEDIT_OK);
    assert_non_null(strstr(text, "Lima"));
    mobiedit_free(text);
    mobiedit_close(model);
}

static void a_blob_is_a_model(void **state) {
    (void)state;
    expect_inspection(BLOB, false, MOBIEDIT_CALIBRATION_NONE);
    calibrate(BLOB);
    edit(BLOB);
    assert_int_equal(access(scratch_path(BLOB MOBIEDIT_LEDGER_SUFFIX), F_OK), 0);
    assert_int_equal(access(scratch_path(BLOB MOBIEDIT_CALIBRATION_SUFFIX), F_OK), 0);
    expect_inspection(BLOB, true, MOBIEDIT_CALIBRATION_UNFINISHED);
}

/* It has a ledger of its own, beside the link; what stands beside the file is not found. */
static void a_link_is_a_model(void **state) {
    (void)state;
    expect_inspection(LINK, false, MOBIEDIT_CALIBRATION_NONE);
    edit(LINK);
    assert_int_equal(access(scratch_path(LINK MOBIEDIT_LEDGER_SUFFIX), F_OK), 0);
    calibrate(LINK);
    expect_inspection(LINK, true, MOBIEDIT_CALIBRATION_UNFINISHED);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_blob_is_a_model),
                                       cmocka_unit_test(a_link_is_a_model)};
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
