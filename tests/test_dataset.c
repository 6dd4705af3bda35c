/* The facts file: what is read from a good one, and how each kind of bad one is refused. Also the figures
 * made of cases. */
#define _POSIX_C_SOURCE 200809L
#include "base/memory.h"
#include "base/utf8.h"
#include "eval/dataset.h"
#include "eval/metrics.h"
#include "eval/summary.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static mobiedit_status parse(const char *text, me_dataset *out, mobiedit_error *err) {
    return me_dataset_parse(text, strlen(text), "facts.json", out, err);
}

#define REWRITE(rest)                                                                                        \
    "\"requested_rewrite\":{\"prompt\":\"The capital of {} is\",\"subject\":\"Japan\"," rest                 \
    "\"target_new\":{\"str\":\"Lima\"}}"

static void reads_every_field(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    assert_int_equal(
        parse("\xEF\xBB\xBF[{\"case_id\": 17," REWRITE(
                  "\"relation_id\":\"P36\",") ","
                                              "\"paraphrase_prompts\":[\"Japan's capital is\",\"Capital of "
                                              "Japan:\"],"
                                              "\"neighborhood_prompts\":[\"The capital of Per\\u00fa is\"],"
                                              "\"pararel_idx\": 2796, \"attribute_prompts\": [1, {}], "
                                              "\"generation_prompts\": 0},"
                                              "{" REWRITE("") ", \"paraphrase_prompts\": null, "
                                                              "\"neighborhood_prompts\": []}] \n",
              &facts, &err),
        MOBIEDIT_OK);
    assert_int_equal(facts.n, 2);
    const me_fact *fact = &facts.facts[0];
    assert_int_equal(fact->case_id, 17);
    assert_string_equal(fact->prompt, "The capital of {} is");
    assert_string_equal(fact->subject, "Japan");
    assert_string_equal(fact->relation, "P36");
    assert_string_equal(fact->target, "Lima");
    assert_int_equal(fact->paraphrases.n, 2);
    assert_string_equal(fact->paraphrases.items[1], "Capital of Japan:");
    assert_int_equal(fact->neighbours.n, 1);
    assert_string_equal(fact->neighbours.items[0], "The capital of Per\xC3\xBA is");
    assert_int_equal(facts.facts[1].case_id, 1);
    assert_null(facts.facts[1].relation);
    assert_int_equal(facts.facts[1].paraphrases.n + facts.facts[1].neighbours.n, 0);

    char *request = me_fact_request_prompt(fact), *prompt = me_fact_prompt(fact);
    assert_string_equal(request, "The capital of {Japan} is");
    assert_string_equal(prompt, "The capital of Japan is");
    me_free(request);
    me_free(prompt);
    me_dataset_free(&facts);
}

static const struct {
    const char *text, *message; /* a part of the message */
} BAD[] = {
    {"", "not JSON: line 1, column 1"},
    {"[\n {\"case_id\" 1}]", "not JSON: line 2, column"},
    {"[] x", "not JSON"},
    {"{}", "not a list of facts"},
    {"[]", "is empty"},
    {"[3]", "case 0: the case is not an object"},
    {"[{" REWRITE("") "}, {}]", "case 1: requested_rewrite is missing"},
    {"[{\"requested_rewrite\":[]}]", "requested_rewrite is not an object"},
    {"[{\"case_id\":\"x\"," REWRITE("") "}]", "case_id is not a number"},
    {"[{\"case_id\":1.5," REWRITE("") "}]", "case_id is not an integer"},
    {"[{\"case_id\":1e300," REWRITE("") "}]", "case_id is not an integer"},
    {"[{\"requested_rewrite\":{\"subject\":\"a\",\"target_new\":{\"str\":\"b\"}}}]", "prompt is missing"},
    {"[{\"requested_rewrite\":{\"prompt\":7}}]", "requested_rewrite.prompt is not a string"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"\"}}]", "subject is empty"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\"}}]", "target_new is missing"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\",\"target_new\":\"b\"}}]",
     "target_new is not an object"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\",\"target_new\":{}}}]",
     "target_new.str is missing"},
    {"[{\"requested_rewrite\":{\"prompt\":\"It is\",\"subject\":\"a\",\"target_new\":{\"str\":\"b\"}}}]",
     "has no {}"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is {}\",\"subject\":\"a\",\"target_new\":{\"str\":\"b\"}}}]",
     "more than one {}"},
    {"[{" REWRITE("\"relation_id\":5,") "}]", "relation_id is not a string"},
    {"[{" REWRITE("") ",\"paraphrase_prompts\":{}}]", "paraphrase_prompts is not a list"},
    {"[{" REWRITE("") ",\"neighborhood_prompts\":[\"a\",null]}]", "neighborhood_prompts is not a string"},
    {"[{" REWRITE("") ",\"neighborhood_prompts\":[\"a\xFF\"]}]", "neighborhood_prompts is not UTF-8"},
};

static void refuses_by_case_and_field(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        me_dataset facts;
        mobiedit_error err = {0};
        assert_int_equal(parse(BAD[i].text, &facts, &err), MOBIEDIT_E_FORMAT);
        assert_int_equal(err.status, MOBIEDIT_E_FORMAT);
        if (!strstr(err.message, BAD[i].message) || strncmp(err.message, "facts.json: ", 12) != 0)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.message, BAD[i].message);
        assert_null(strchr(err.message, '\n'));
        assert_null(facts.facts);
    }
}

/* A file with one string of `length` bytes, or one list of n prompts. */
static char *with_long_target(size_t length) {
    const char head[] =
        "[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\",\"target_new\":{\"str\":\"";
    char *text = malloc(sizeof head + length + 8);
    assert_non_null(text);
    memcpy(text, head, sizeof head - 1);
    memset(text + sizeof head - 1, 'x', length);
    memcpy(text + sizeof head - 1 + length, "\"}}}]", 6);
    return text;
}

static char *with_many_prompts(size_t n) {
    const char head[] = "[{" REWRITE("") ",\"neighborhood_prompts\":[\"a\"";
    char *text = malloc(sizeof head + 4 * n + 8);
    assert_non_null(text);
    char *end = text + sprintf(text, "%s", head);
    for (size_t i = 1; i < n; i++)
        end += sprintf(end, ",\"a\"");
    memcpy(end, "]}]", 4);
    return text;
}

static void bounds_sizes(void **state) {
    (void)state;
    me_dataset facts;
    char *texts[] = {with_long_target(ME_DATASET_MAX_TEXT), with_long_target(ME_DATASET_MAX_TEXT + 1),
                     with_many_prompts(ME_DATASET_MAX_PROMPTS),
                     with_many_prompts(ME_DATASET_MAX_PROMPTS + 1)};
    for (int i = 0; i < 4; i++) {
        mobiedit_error err = {0};
        assert_int_equal(parse(texts[i], &facts, &err), i % 2 ? MOBIEDIT_E_FORMAT : MOBIEDIT_OK);
        if (i % 2) assert_non_null(strstr(err.message, "too "));
        me_dataset_free(&facts);
        free(texts[i]);
    }
}

static void reads_files(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    assert_int_equal(me_dataset_read("/nonexistent/facts.json", &facts, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, "/nonexistent/facts.json"));
    assert_int_equal(me_dataset_read("/", &facts, &err), MOBIEDIT_E_IO);
    char path[] = "/tmp/test_dataset_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char text[] = "[{" REWRITE("") "}]";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(me_dataset_read(path, &facts, &err), MOBIEDIT_OK);
    assert_string_equal(facts.facts[0].subject, "Japan");
    me_dataset_free(&facts);
    assert_int_equal(unlink(path), 0);
}

static void knows_utf8(void **state) {
    (void)state;
    const char *good[] = {
        "",     "Lima",         "S\xC3\xA3o Paulo", "\xE6\x9D\xB1\xE4\xBA\xAC", "\xF0\x9F\x98\x80",
        "\x7F", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"};
    const char *bad[] = {"\x80",         "\xC3",         "\xC0\x80",         "\xC1\xBF",
                         "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF0\x80\x80\x80",
                         "\xFF",         "\xE6\x9D",     "a\xE6\x9D-",       "\xF8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(me_utf8_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(me_utf8_valid(bad[i]));
}

static void kl_of_known_distributions(void **state) {
    (void)state;
    /* (1/2, 1/2) against (3/4, 1/4): 1/2 log(2/3) + 1/2 log 2; a shift of all logits changes nothing */
    const float before[] = {5.0f, 5.0f}, after[] = {logf(3.0f) - 2.0f, -2.0f};
    assert_true(fabs(me_kl(before, after, 2) - (0.5 * log(2.0 / 3.0) + 0.5 * log(2.0))) < 1e-6);
    assert_true(fabs(me_kl(after, after, 2)) < 1e-12);
    const float far[] = {1000.0f, -1000.0f}, near[] = {0.0f, -3.0f};
    assert_true(fabs(me_kl(far, near, 2) - log1p(exp(-3.0))) < 1e-6);
    assert_int_equal(me_argmax(after, 2), 0);
}

static void summary_leaves_out_what_is_not_there(void **state) {
    (void)state;
    const mobiedit_eval_case cases[] = {
        {.rewrite = 1,
         .paraphrase = 0.5,
         .unchanged = 1,
         .neighbour_kl = 0.1,
         .evaluations = 100,
         .seconds = 4},
        {.rewrite = 1,
         .paraphrase = NAN,
         .unchanged = 0.5,
         .neighbour_kl = 0.3,
         .evaluations = 300,
         .seconds = 2},
        {.rewrite = 0,
         .paraphrase = 0,
         .unchanged = NAN,
         .neighbour_kl = NAN,
         .evaluations = 800,
         .seconds = 9,
         .status = MOBIEDIT_E_NOT_SOLVED},
        {.rewrite = 1,
         .paraphrase = 1,
         .unchanged = 1,
         .neighbour_kl = 0,
         .stop = MOBIEDIT_STOP_ALREADY_SAID},
    };
    me_tally tally = {0};
    mobiedit_eval_summary summary = {0};
    me_tally_summary(&tally, &summary);
    assert_true(isnan(summary.rewrite) && isnan(summary.seconds) && summary.cases == 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(me_tally_add(&tally, &cases[i], NULL), MOBIEDIT_OK);
    me_tally_summary(&tally, &summary);
    me_tally_free(&tally);
    assert_int_equal(summary.cases, 4);
    assert_int_equal(summary.failed, 1);
    assert_true(fabs(summary.rewrite - 0.75) < 1e-9);
    assert_true(fabs(summary.paraphrase - 0.5) < 1e-9);
    assert_true(fabs(summary.unchanged - 2.5 / 3) < 1e-9);
    assert_true(fabs(summary.neighbour_kl - 0.4 / 3) < 1e-9);
    assert_true(fabs(summary.evaluations - 400) < 1e-9);
    assert_true(fabs(summary.seconds - 4) < 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(refuses_by_case_and_field),
        cmocka_unit_test(bounds_sizes),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(knows_utf8),
        cmocka_unit_test(kl_of_known_distributions),
        cmocka_unit_test(summary_leaves_out_what_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
