/* A ledger on a real model: whoever waits for its edits to be asked again can stop it. */
#define _GNU_SOURCE
#include "mobiedit.h"
#include "models.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static char model_path[MODEL_PATH_MAX];

typedef struct {
    int told;
    bool go_on;
} watcher;

static bool on_progress(void *user, const mobiedit_progress *now) {
    watcher *w = user;
    assert_int_equal(now->stage, MOBIEDIT_STAGE_VERIFY);
    w->told++;
    return w->go_on;
}

static mobiedit_status verify(mobiedit_ledger *ledger, watcher *w, mobiedit_verify_summary *summary) {
    const mobiedit_verify_options options = {.edit = {.on_progress = on_progress, .user = w}};
    return mobiedit_ledger_verify(ledger, &options, summary, NULL);
}

static void verify_is_told_of_and_can_be_cancelled(void **state) {
    (void)state;
    mobiedit_model *model = NULL;
    mobiedit_ledger *ledger = NULL;
    mobiedit_edit_result result;
    mobiedit_change change;
    mobiedit_verify_summary summary = {.active = -1};
    watcher stops = {0}, waits = {.go_on = true};
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    assert_int_equal(mobiedit_open(model_path, NULL, &model, NULL), MOBIEDIT_OK);
    assert_int_equal(mobiedit_ledger_open(model, scratch_path("ledger.db"), true, &ledger, NULL),
                     MOBIEDIT_OK);
    const mobiedit_edit_options options = {.place = "subject"}; /* which takes half the time of the default */
    assert_int_equal(mobiedit_ledger_edit(ledger, &request, &options, NULL, &result, &change, NULL),
                     MOBIEDIT_OK);
    mobiedit_edit_result_free(&result);
    assert_int_equal(verify(ledger, &stops, &summary), MOBIEDIT_E_CANCELLED);
    assert_int_equal(stops.told, 1);
    assert_int_equal(summary.active, -1);
    assert_int_equal(verify(ledger, &waits, &summary), MOBIEDIT_OK);
    assert_true(waits.told > 1); /* of the edit, and of what is asked beside it */
    assert_int_equal(summary.active, 1);
    assert_int_equal(summary.hold, 1);
    assert_true(summary.drift < 0.05);
    mobiedit_ledger_close(ledger);
    mobiedit_close(model);
}

int main(void) {
    const char *name = "smollm2-135m-instruct-q4_1.gguf";
    if (!find_model(name, model_path)) {
        printf("skipped: no %s\n", name);
        return MODEL_MISSING;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(verify_is_told_of_and_can_be_cancelled)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
