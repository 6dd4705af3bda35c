/* What the library writes is never the model, its ledger or its calibration. */
#define _GNU_SOURCE
#include "mobiedit.h"
#include "scratch.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char model_path[512], ledger_path[512], wal_path[512], calibration_path[512], other_path[512];

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    (void)snprintf(model_path, sizeof model_path, "%s", scratch_path("model.gguf"));
    (void)snprintf(ledger_path, sizeof ledger_path, "%s", scratch_path("model.gguf" MOBIEDIT_LEDGER_SUFFIX));
    (void)snprintf(wal_path, sizeof wal_path, "%s", scratch_path("model.gguf" MOBIEDIT_LEDGER_SUFFIX "-wal"));
    (void)snprintf(calibration_path, sizeof calibration_path, "%s",
                   scratch_path("model.gguf" MOBIEDIT_CALIBRATION_SUFFIX));
    (void)snprintf(other_path, sizeof other_path, "%s", scratch_path("link"));
    const tiny_model_options options = {0};
    return tiny_model_write(model_path, "llama", &options) && symlink(model_path, other_path) == 0 ? 0 : -1;
}

static mobiedit_model *open_model(const char *calibration) {
    const mobiedit_model_options options = {.calibration = calibration};
    mobiedit_model *model = NULL;
    assert_int_equal(mobiedit_open(model_path, &options, &model, NULL), MOBIEDIT_OK);
    return model;
}

static void outputs_are_files_of_their_own(void **state) {
    (void)state;
    const char *const paths[] = {model_path, other_path, ledger_path, wal_path, calibration_path};
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    mobiedit_model *model = open_model(NULL);
    mobiedit_ledger *ledger = NULL;
    assert_int_equal(mobiedit_ledger_open(model, scratch_path("own.db"), true, &ledger, NULL), MOBIEDIT_OK);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        mobiedit_edit_result result;
        mobiedit_merge_result merged;
        mobiedit_change change;
        assert_int_equal(mobiedit_edit(model, &request, NULL, paths[i], &result, NULL), MOBIEDIT_E_ARGUMENT);
        assert_int_equal(mobiedit_ledger_edit(ledger, &request, NULL, paths[i], &result, &change, NULL),
                         MOBIEDIT_E_ARGUMENT);
        assert_int_equal(mobiedit_ledger_export(ledger, paths[i], NULL), MOBIEDIT_E_ARGUMENT);
        assert_int_equal(mobiedit_merge(model, "none.gguf", NULL, paths[i], &merged, NULL),
                         MOBIEDIT_E_ARGUMENT);
    }
    assert_int_equal(mobiedit_ledger_export(ledger, scratch_path("own.db"), NULL), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(mobiedit_ledger_export(ledger, scratch_path("own.gguf"), NULL), MOBIEDIT_OK);
    mobiedit_ledger_close(ledger);
    mobiedit_close(model);
}

static void a_ledger_is_a_file_of_its_own(void **state) {
    (void)state;
    const char *const paths[] = {model_path, other_path, calibration_path};
    mobiedit_model *model = open_model(NULL);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        mobiedit_ledger *ledger = NULL;
        assert_int_equal(mobiedit_ledger_open(model, paths[i], true, &ledger, NULL), MOBIEDIT_E_ARGUMENT);
        assert_null(ledger);
    }
    mobiedit_close(model);
}

static void a_calibration_is_a_file_of_its_own(void **state) {
    (void)state;
    const char *const paths[] = {model_path, other_path, ledger_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        mobiedit_model *model = open_model(paths[i]);
        mobiedit_calibrate_result result;
        assert_int_equal(mobiedit_calibrate(model, NULL, &result, NULL), MOBIEDIT_E_ARGUMENT);
        mobiedit_close(model);
    }
}

static void a_state_is_a_file_of_its_own(void **state) {
    (void)state;
    const char *const paths[] = {model_path, other_path,       ledger_path,
                                 wal_path,   calibration_path, "facts.json"};
    mobiedit_model *model = open_model(NULL);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        mobiedit_eval_options options = {.state = paths[i], .edit = {.layer = 1}};
        mobiedit_eval_summary summary;
        mobiedit_error err;
        assert_int_equal(mobiedit_eval(model, "facts.json", &options, &summary, &err), MOBIEDIT_E_ARGUMENT);
    }
    mobiedit_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_files_of_their_own),
        cmocka_unit_test(a_ledger_is_a_file_of_its_own),
        cmocka_unit_test(a_calibration_is_a_file_of_its_own),
        cmocka_unit_test(a_state_is_a_file_of_its_own),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_close);
}
