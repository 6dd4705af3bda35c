/* Facts as CSV: what is read, and what is refused with the line that is to blame. */
#include "eval/csv.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static me_dataset parse(const char *text) {
    me_dataset facts;
    mobiedit_error err = {0};
    if (me_csv_parse(text, strlen(text), "f.csv", &facts, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return facts;
}

static void check_fact(const me_fact *fact, const char *prompt, const char *subject, const char *target) {
    assert_string_equal(fact->prompt, prompt);
    assert_string_equal(fact->subject, subject);
    assert_string_equal(fact->target, target);
}

static void columns_may_stand_in_any_order(void **state) {
    (void)state;
    me_dataset facts = parse("target,note,subject,prompt\nLima,,Japan,The capital of {} is\n"
                             "euro,x,Japan,The currency of {} is the\n");
    assert_int_equal(facts.n, 2);
    check_fact(&facts.facts[0], "The capital of {} is", "Japan", "Lima");
    check_fact(&facts.facts[1], "The currency of {} is the", "Japan", "euro");
    assert_int_equal(facts.facts[1].case_id, 1);
    me_dataset_free(&facts);
}

static void subjects_may_stand_in_braces(void **state) {
    (void)state;
    me_dataset facts = parse("prompt,target\r\nThe capital of {Japan} is,Lima\r\n\r\n{東京} is in,Peru");
    assert_int_equal(facts.n, 2);
    check_fact(&facts.facts[0], "The capital of {} is", "Japan", "Lima");
    check_fact(&facts.facts[1], "{} is in", "東京", "Peru");
    char *request = me_fact_request_prompt(&facts.facts[0]);
    assert_string_equal(request, "The capital of {Japan} is");
    me_free(request);
    me_dataset_free(&facts);
}

static void quotes_hold_commas_quotes_and_lines(void **state) {
    (void)state;
    me_dataset facts =
        parse("\xEF\xBB\xBFprompt,target\n\"\"\"{Ulysses}\"\", a novel, is by\",\"Joyce,\nJames\"\n");
    assert_int_equal(facts.n, 1);
    check_fact(&facts.facts[0], "\"{}\", a novel, is by", "Ulysses", "Joyce,\nJames");
    me_dataset_free(&facts);
}

static void check_refused(const char *text, size_t length, const char *word) {
    me_dataset facts;
    mobiedit_error err = {0};
    if (me_csv_parse(text, length, "f.csv", &facts, &err) != MOBIEDIT_E_FORMAT)
        fail_msg("not refused: %s", text);
    if (!strstr(err.message, word)) fail_msg("\"%s\" does not tell: %s", err.message, word);
    assert_int_equal(facts.n, 0);
    assert_null(facts.facts);
}

static void what_cannot_be_meant_is_refused(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"", "no column prompt"},
        {"prompt\n", "no column target"},
        {"prompt,target\n", "no facts"},
        {"prompt,target,prompt\n", "named twice"},
        {"prompt,target\n{a} is,x\n{b} is\n", "line 3: 1 fields"},
        {"prompt,target\n{a} is,x,y\n", "line 2: 3 fields"},
        {"prompt,target\n\n\n{a} is,\n", "line 4: there is no target"},
        {"prompt,target\n,x\n", "line 2: there is no prompt"},
        {"prompt,target\na is,x\n", "line 2: the prompt must have"},
        {"prompt,target\n{a} {b} is,x\n", "line 2: the prompt must have"},
        {"prompt,target\n{} is,x\n", "line 2: there is no subject"},
        {"prompt,subject,target\n{a} is,b,x\n", "line 2: there are two subjects"},
        {"prompt,target\n\"{a} is,x\n", "line 2: a quote is not closed"},
        {"prompt,target\n\"{a}\" is,x\n", "line 2: text behind a closing quote"},
        {"prompt,target\n{a\"} is,x\n", "line 2: a quote inside"},
        {"prompt,target\n{\xff} is,x\n", "line 2: a field is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_refused(texts[i][0], strlen(texts[i][0]), texts[i][1]);
    check_refused("prompt,target\n{a} is,\0x\n", 24, "not UTF-8");
}

static void sizes_are_bounded(void **state) {
    (void)state;
    static const char header[] = "prompt,target\n{a} is,";
    const size_t size = sizeof header + ME_DATASET_MAX_TEXT + 2;
    char *text = calloc(size, 1);
    assert_non_null(text);
    (void)memset(text, 'x', size);
    memcpy(text, header, sizeof header - 1);
    check_refused(text, size, "too long");
    text[sizeof header - 1] = '"';
    check_refused(text, size, "too long");
    me_dataset facts;
    assert_int_equal(me_csv_parse(text, sizeof header - 1, "f.csv", &facts, NULL), MOBIEDIT_E_FORMAT);
    free(text);
    char many[256];
    (void)memset(many, ',', sizeof many);
    check_refused(many, sizeof many, "too many columns");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_may_stand_in_any_order),
        cmocka_unit_test(subjects_may_stand_in_braces),
        cmocka_unit_test(quotes_hold_commas_quotes_and_lines),
        cmocka_unit_test(what_cannot_be_meant_is_refused),
        cmocka_unit_test(sizes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
