/* A struct of options that is all zero means the defaults, and what is named must be meant. */
#define _GNU_SOURCE
#include "mobiedit.h"

#include "edit/edit.h"
#include "tiny_handle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N_LAYER = 6, USUAL = 2, LATE = 4 };

static const mobiedit_request FACT = {.prompt = "The capital of {Japan} is", .target = "Lima"};
static mobiedit_model *model;

static int set_up(void **state) {
    return tiny_handle_open(state, N_LAYER, &model);
}

static int tear_down(void **state) {
    return tiny_handle_close(state, model);
}

/* Stops as soon as a layer is told. */
static bool stop_at_layer(void *user, const mobiedit_progress *progress) {
    *(int *)user = progress->layer;
    return progress->layer < 0;
}

/* The layer at which an edit with these options begins. */
static int layer_of(mobiedit_edit_options options) {
    int layer = -1;
    mobiedit_edit_result result;
    options.on_progress = stop_at_layer;
    options.user = &layer;
    assert_int_equal(mobiedit_edit(model, &FACT, &options, scratch_path("edit.gguf"), &result, NULL),
                     MOBIEDIT_E_CANCELLED);
    mobiedit_edit_result_free(&result);
    return layer;
}

static void zeroes_leave_the_layer_to_the_library(void **state) {
    (void)state;
    assert_int_equal(layer_of((mobiedit_edit_options){0}), LATE);
    assert_int_equal(layer_of((mobiedit_edit_options){.place = "auto"}), LATE);
    assert_int_equal(layer_of((mobiedit_edit_options){.place = "answer"}), LATE);
    assert_int_equal(layer_of((mobiedit_edit_options){.place = "subject"}), USUAL);
    assert_int_equal(layer_of((mobiedit_edit_options){.solver = "spsa"}), USUAL);
    assert_int_equal(layer_of((mobiedit_edit_options){.fix_layer = true}), 0);
    assert_int_equal(layer_of((mobiedit_edit_options){.fix_layer = true, .layer = 4}), 4);
}

/* How many edits at the answer there would be with this one decides only where nothing else does. */
static void many_edits_are_made_at_the_subject(void **state) {
    (void)state;
    const mobiedit_edit_options automatic = {.place = "auto"}, answer = {.place = "answer"},
                                subject = {.place = "subject"}, paper = {.solver = "spsa"},
                                fixed = {.fix_layer = true, .layer = 1}, unknown = {.solver = "magic"};
    const int most = MOBIEDIT_MOST_AT_ANSWER;
    assert_true(me_edits_at_answer(NULL, most));
    assert_false(me_edits_at_answer(NULL, most + 1));
    assert_true(me_edits_at_answer(&automatic, most));
    assert_false(me_edits_at_answer(&automatic, most + 1));
    assert_true(me_edits_at_answer(&answer, most + 1));
    assert_false(me_edits_at_answer(&subject, 1));
    assert_false(me_edits_at_answer(&paper, 1));
    assert_false(me_edits_at_answer(&fixed, 1));
    assert_false(me_edits_at_answer(&unknown, 1)); /* which is refused later */
}

static void a_place_is_refused(void **state) {
    (void)state;
    const mobiedit_edit_options here = {.place = "here"}, paper = {.place = "answer", .solver = "spsa"};
    mobiedit_edit_result result;
    mobiedit_error err = {0};
    assert_int_equal(mobiedit_edit(model, &FACT, &here, scratch_path("edit.gguf"), &result, &err),
                     MOBIEDIT_E_ARGUMENT);
    assert_non_null(strstr(err.message, "here"));
    assert_int_equal(mobiedit_edit(model, &FACT, &paper, scratch_path("edit.gguf"), &result, &err),
                     MOBIEDIT_E_ARGUMENT);
    assert_non_null(strstr(err.message, "spsa"));
}

static void expect_refusal(bool fix, int layer, const char *why) {
    const mobiedit_edit_options edit = {.fix_layer = fix, .layer = layer};
    const mobiedit_calibrate_options calibrate = {.fix_layer = fix, .layer = layer};
    mobiedit_edit_result edited;
    mobiedit_calibrate_result calibrated;
    mobiedit_error err = {0};
    assert_int_equal(mobiedit_edit(model, &FACT, &edit, scratch_path("edit.gguf"), &edited, &err),
                     MOBIEDIT_E_ARGUMENT);
    assert_non_null(strstr(err.message, why));
    assert_int_equal(mobiedit_calibrate(model, &calibrate, &calibrated, &err), MOBIEDIT_E_ARGUMENT);
    assert_non_null(strstr(err.message, why));
}

static void a_layer_is_refused(void **state) {
    (void)state;
    const int before = files_in_scratch();
    expect_refusal(false, 3, "layer 3 is named, but fix_layer is not set");
    expect_refusal(false, -1, "fix_layer is not set");
    expect_refusal(true, -1, "there is no layer -1");
    expect_refusal(true, N_LAYER, "there is no layer 6");
    expect_refusal(true, N_LAYER - 1, "layer 5 cannot be edited");
    assert_int_equal(files_in_scratch(), before);
}

static void advanced_options_are_zero_by_default_and_checked(void **state) {
    (void)state;
    const struct mobiedit_edit_advanced zero = {0}, long_probe = {.probe_step = 11};
    assert_int_equal(layer_of((mobiedit_edit_options){.advanced = &zero}), LATE);
    const mobiedit_edit_options options = {.advanced = &long_probe};
    mobiedit_edit_result result;
    assert_int_equal(mobiedit_edit(model, &FACT, &options, scratch_path("edit.gguf"), &result, NULL),
                     MOBIEDIT_E_ARGUMENT);
}

static void a_model_without_calibration_has_no_trials(void **state) {
    (void)state;
    mobiedit_layer_trial trials[MOBIEDIT_MAX_LAYER_TRIALS];
    int n = -1;
    assert_int_equal(mobiedit_layer_trials(model, trials, &n, NULL), MOBIEDIT_OK);
    assert_int_equal(n, 0);
}

/* Seconds of a clock cannot be compared with anything, but what they are made of can. */
static void what_an_edit_takes_is_reckoned(void **state) {
    (void)state;
    mobiedit_edit_time time;
    const int before = files_in_scratch();
    const mobiedit_edit_options few = {.max_evaluations = 10, .place = "answer"};
    assert_int_equal(mobiedit_time_edit(model, NULL, &time, NULL), MOBIEDIT_OK);
    assert_int_equal(time.evaluations, 600);
    assert_true(time.evaluations_a_second > 0 && time.measured_seconds > 0);
    assert_true(time.seconds > 600 / time.evaluations_a_second && isfinite(time.seconds));
    assert_int_equal(mobiedit_time_edit(model, &few, &time, NULL), MOBIEDIT_OK);
    assert_int_equal(time.evaluations, 10);
    assert_true(time.seconds > 10 / time.evaluations_a_second);
    assert_int_equal(files_in_scratch(), before);
}

static void timing_can_be_refused_and_cancelled(void **state) {
    (void)state;
    int layer = -1;
    mobiedit_edit_time time;
    const mobiedit_edit_options last = {.fix_layer = true, .layer = N_LAYER - 1};
    const mobiedit_edit_options stopped = {
        .on_progress = stop_at_layer, .user = &layer, .fix_layer = true, .layer = 3};
    assert_int_equal(mobiedit_time_edit(model, &last, &time, NULL), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(mobiedit_time_edit(model, &stopped, &time, NULL), MOBIEDIT_E_CANCELLED);
    assert_int_equal(layer, 3);
}

static void expect_request_refused(const char *prompt, const char *target, const char *why) {
    const mobiedit_request request = {.prompt = prompt, .target = target};
    mobiedit_edit_result result;
    mobiedit_error err = {0};
    assert_int_equal(mobiedit_edit(model, &request, NULL, scratch_path("edit.gguf"), &result, &err),
                     MOBIEDIT_E_ARGUMENT);
    if (!strstr(err.message, why)) fail_msg("%s", err.message);
    assert_int_equal(result.solve.evaluations, 0);
}

static void a_request_that_cannot_be_meant_is_refused(void **state) {
    (void)state;
    const int before = files_in_scratch();
    expect_request_refused("{Japan}", "Lima", "nothing but its subject");
    expect_request_refused(" { Japan } ", "Lima", "as in \"The capital of {Japan} is\"");
    expect_request_refused("The capital of {Japan} is Lima", "Lima", "already ends in the target \"Lima\"");
    expect_request_refused("The capital of {Japan} is Lima ", " Lima", "already");
    expect_request_refused("{日本}的首都是利马", "利马", "already");
    expect_request_refused("Japan, the capital of {Japan} is", "Lima",
                           "\"Japan\" occurs in the prompt twice");
    expect_request_refused("The capital of {Japan}, if Japan's own, is", "Lima", "twice");
    expect_request_refused("Of \u201CJapan\u201D, the capital of {Japan} is", "Lima", "twice");
    expect_request_refused("在中国，{中国}的首都是", "利马", "twice");
    expect_request_refused("The capital of {Japan} is \u201CLima", "Lima", "already");
    expect_request_refused("The capital of {Japan} is", "a b c d e f g h i j k l m n o p q r s t u v w x y z",
                           "at most 20 can be edited");
    assert_int_equal(files_in_scratch(), before);
}

/* `bytes` of "a a a ", then the end. */
static void fill_text(char *text, size_t bytes, const char *end) {
    for (size_t i = 0; i < bytes; i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    (void)snprintf(text + bytes, strlen(end) + 1, "%s", end);
}

/* Before anything is solved, and whatever the text is for. */
static void a_text_that_does_not_fit_is_refused(void **state) {
    (void)state;
    enum { MOST = 2 << 20, ROOM = 32 };
    static char plain[MOST + ROOM], fact[MOST + ROOM];
    const char *const plains[] = {plain}, *const facts[] = {fact};
    static const struct {
        size_t bytes;
        const char *why;
    } sizes[] = {{20000, "but at most"}, {MOST, "too long"}};
    const int before = files_in_scratch();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fill_text(plain, sizes[i].bytes, "");
        fill_text(fact, sizes[i].bytes, "{Japan} is");
        const mobiedit_request requests[] = {
            {.prompt = fact, .target = "Lima"},
            {.prompt = "The capital of {Japan} is", .target = "Lima", .keep = plains, .n_keep = 1},
            {.prompt = "The capital of {Japan} is", .target = "Lima", .also = facts, .n_also = 1}};
        for (size_t r = 0; r < sizeof requests / sizeof *requests; r++) {
            mobiedit_edit_result result;
            mobiedit_error err = {0};
            assert_int_equal(
                mobiedit_edit(model, &requests[r], NULL, scratch_path("edit.gguf"), &result, &err),
                MOBIEDIT_E_ARGUMENT);
            if (!strstr(err.message, sizes[i].why)) fail_msg("%s", err.message);
            assert_int_equal(result.solve.evaluations, 0);
        }
    }
    assert_int_equal(files_in_scratch(), before);
}

/* Stops at the first layer: what gets there was not refused. */
static void expect_request_taken(const char *prompt, const char *target) {
    int layer = -1;
    const mobiedit_request request = {.prompt = prompt, .target = target};
    const mobiedit_edit_options options = {.on_progress = stop_at_layer, .user = &layer};
    mobiedit_edit_result result;
    mobiedit_error err = {0};
    if (mobiedit_edit(model, &request, &options, scratch_path("edit.gguf"), &result, &err) !=
        MOBIEDIT_E_CANCELLED)
        fail_msg("%s: %s", prompt, err.message);
    mobiedit_edit_result_free(&result);
}

static void a_part_of_a_word_is_no_word(void **state) {
    (void)state;
    expect_request_taken("In Japanese, {Japan} is", "Lima");
    expect_request_taken("{Ann} likes Bali", "li");
    expect_request_taken("For a Cafe\u0301, {Cafe} is", "Lima");
    expect_request_taken("В Японии {Япони} это", "Лима");
    expect_request_taken("{Ann}:", "Lima");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroes_leave_the_layer_to_the_library),
        cmocka_unit_test(many_edits_are_made_at_the_subject),
        cmocka_unit_test(a_place_is_refused),
        cmocka_unit_test(a_layer_is_refused),
        cmocka_unit_test(advanced_options_are_zero_by_default_and_checked),
        cmocka_unit_test(a_request_that_cannot_be_meant_is_refused),
        cmocka_unit_test(a_text_that_does_not_fit_is_refused),
        cmocka_unit_test(a_part_of_a_word_is_no_word),
        cmocka_unit_test(a_model_without_calibration_has_no_trials),
        cmocka_unit_test(what_an_edit_takes_is_reckoned),
        cmocka_unit_test(timing_can_be_refused_and_cancelled),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
