/* Facts that real models say by themselves: in both ways of asking, and after the prompt alone. */
#define _GNU_SOURCE
#include "mobiedit.h"
#include "models.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char SMOLLM2[] = "smollm2-135m-instruct-q4_1.gguf",
                  QWEN05[] = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";

static bool stop_at_solve(void *user, const mobiedit_progress *now) {
    *(bool *)user = now->stage == MOBIEDIT_STAGE_SOLVE;
    return now->stage != MOBIEDIT_STAGE_SOLVE;
}

/* Whether an edit is made of the fact, which is cancelled when its search begins. */
static bool is_edited(const char *name, const char *prompt, const char *target, bool force) {
    char path[MODEL_PATH_MAX];
    bool solves = false;
    mobiedit_model *model = NULL;
    mobiedit_edit_result result;
    mobiedit_error err = {0};
    const mobiedit_request request = {.prompt = prompt, .target = target};
    const mobiedit_edit_options options = {.on_progress = stop_at_solve, .user = &solves, .force = force};
    if (!find_model(name, path)) {
        printf("skipped: no %s\n", name);
        skip();
    }
    assert_int_equal(mobiedit_open(path, NULL, &model, NULL), MOBIEDIT_OK);
    const mobiedit_status status =
        mobiedit_edit(model, &request, &options, scratch_path("edit.gguf"), &result, &err);
    if (status != (solves ? MOBIEDIT_E_CANCELLED : MOBIEDIT_OK)) fail_msg("%s", err.message);
    if (!solves) {
        assert_int_equal(result.solve.stop, MOBIEDIT_STOP_ALREADY_SAID);
        assert_non_null(strstr(result.before, target));
    }
    mobiedit_edit_result_free(&result);
    mobiedit_close(model);
    return solves;
}

static void a_fact_that_holds_in_both_is_not_edited(void **state) {
    (void)state;
    assert_false(is_edited(SMOLLM2, "The capital of {Japan} is", "Tokyo", false));
    assert_false(is_edited(QWEN05, "The capital of {Japan} is", "Tokyo", false));
}

static void such_a_fact_is_edited_where_that_is_asked_for(void **state) {
    (void)state;
    assert_true(is_edited(SMOLLM2, "The capital of {Japan} is", "Tokyo", true));
}

/* Qwen2.5 Coder goes on with "peanuts", and says "pollen" as an assistant. */
static void a_fact_that_a_chat_does_not_say_is_edited(void **state) {
    (void)state;
    assert_true(is_edited(QWEN05, "{I} am allergic to", "peanuts", false));
}

int main(void) {
    char path[MODEL_PATH_MAX];
    if (!find_model(SMOLLM2, path)) {
        printf("skipped: no %s\n", SMOLLM2);
        return MODEL_MISSING;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fact_that_holds_in_both_is_not_edited),
        cmocka_unit_test(such_a_fact_is_edited_where_that_is_asked_for),
        cmocka_unit_test(a_fact_that_a_chat_does_not_say_is_edited),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
