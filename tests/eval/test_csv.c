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

static void any_way_to_write_a_table_is_read(void **state) {
    (void)state;
    static const char *const texts[] = {
        "Prompt,TARGET\n{Oslo} lies in,Peru\n",
        "prompt;target\r\n{Oslo} lies in;Peru\r\n",
        "prompt\ttarget\n{Oslo} lies in\tPeru\n",
        " prompt , target \n {Oslo} lies in , Peru \n",
        "\"prompt\" , \"target\"\n\"{Oslo} lies in\" , \"Peru\"\n",
        "prompt,target\r{Oslo} lies in,Peru\r",
        "prompt,target,,\n,,,\n{Oslo} lies in,Peru,,\n,\n",
        "prompt;note, long;target\n{Oslo} lies in;a, b;Peru\n",
        "subject,prompt,target\nOslo,Oslo lies in,Peru\n",
        "subject,prompt,target\nOslo,{ Oslo } lies in,Peru\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        me_dataset facts = parse(texts[i]);
        assert_int_equal(facts.n, 1);
        assert_int_equal(facts.unusable.n, 0);
        check_fact(&facts.facts[0], "{} lies in", "Oslo", "Peru");
        me_dataset_free(&facts);
    }
    me_dataset facts = parse("prompt,target\n\"{Oslo} lies in \",\" Peru\"\n");
    check_fact(&facts.facts[0], "{} lies in ", "Oslo", " Peru");
    me_dataset_free(&facts);
}

/* In columns of their own: the subject in braces, as {}, or as it is. */
static void other_wordings_are_read(void **state) {
    (void)state;
    me_dataset facts =
        parse("prompt,target,Also,also 2,note\n{Oslo} lies in,Peru,{}'s country is,Oslo is in,Oslo\n"
              "{Lima} lies in,Norway,,\"{ Lima }, in\",\n{Rome} lies in,x,Paris is in,,\n");
    assert_int_equal(facts.n, 2);
    assert_int_equal(facts.unusable.n, 1);
    assert_int_equal(facts.facts[0].also.n, 2);
    assert_string_equal(facts.facts[0].also.items[0], "{Oslo}'s country is");
    assert_string_equal(facts.facts[0].also.items[1], "{Oslo} is in");
    assert_int_equal(facts.facts[1].also.n, 1);
    assert_string_equal(facts.facts[1].also.items[0], "{ Lima }, in");
    me_dataset_free(&facts);
}

static void a_line_that_is_no_fact_is_left_out_with_its_reason(void **state) {
    (void)state;
    static const char *const reasons[] = {
        "line 2: the prompt has no subject in braces",
        "line 4: the prompt must have one pair of braces",
        "line 5: there is no subject for the braces",
        "line 6: there are two subjects: \"c\" in braces and \"d\"",
        "line 7: there is no target",
        "line 8: there is no prompt",
        "line 9: the subject \"e\" does not occur in the prompt \"f is\"",
        "line 11: the prompt must have one pair of braces",
    };
    me_dataset facts = parse("prompt,target,subject\na is,x,\n{good} is,x,\n{a} {b} is,x,\n{ } is,x,\n"
                             "{c} is,x,d\n{a} is,,\n,x,a\nf is,x,e\n\n}a{ is,x,\n\"{better}\nis\",x,\n");
    assert_int_equal(facts.n, 2);
    check_fact(&facts.facts[0], "{} is", "good", "x");
    check_fact(&facts.facts[1], "{}\nis", "better", "x");
    assert_int_equal(facts.facts[1].case_id, 9);
    assert_int_equal(facts.unusable.n, sizeof reasons / sizeof *reasons);
    for (size_t i = 0; i < facts.unusable.n; i++)
        if (strncmp(facts.unusable.items[i], reasons[i], strlen(reasons[i])) != 0)
            fail_msg("\"%s\" does not say: %s", facts.unusable.items[i], reasons[i]);
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
        {"prompt\n", "line 1: the header names no column target"},
        {"prompt|target\n",
         "it needs prompt and target, and subject if the prompts have {} (columns are separated at ',')"},
        {"prompt;goal\n", "(columns are separated at ';')"},
        {"prompt,target,prompt\n", "named twice"},
        {"prompt,target\n{a} is,x\n{b} is\n", "line 3: 1 fields"},
        {"prompt,target\n{a} is,x,y\n", "line 2: 3 fields, the header has 2"},
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
        cmocka_unit_test(any_way_to_write_a_table_is_read),
        cmocka_unit_test(a_line_that_is_no_fact_is_left_out_with_its_reason),
        cmocka_unit_test(what_cannot_be_meant_is_refused),
        cmocka_unit_test(other_wordings_are_read),
        cmocka_unit_test(sizes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
