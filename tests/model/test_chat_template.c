/* Chat templates: what llama.cpp gives to them, and that none of them, however hostile, harms the process. */
#define _GNU_SOURCE
#include "model/chat_template.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const me_chat_message TALK[] = {
    {"system", "Be brief."}, {"user", "Hello"}, {"assistant", "Hi."}, {"user", "Bye <|end|>"}};

static mobiedit_status render(const char *source, const me_chat_message *messages, size_t n, bool add_bos,
                              char **out, mobiedit_error *err) {
    const me_template_input input = {.source = source,
                                     .bos = "<s>",
                                     .eos = "</s>",
                                     .add_bos = add_bos,
                                     .add_eos = add_bos,
                                     .messages = messages,
                                     .n_messages = n};
    *out = NULL;
    return me_template_render(&input, out, err);
}

static void expect(const char *source, bool add_bos, const char *text) {
    mobiedit_error err = {0};
    char *out;
    if (render(source, TALK, 4, add_bos, &out, &err) != MOBIEDIT_OK) fail_msg("%s: %s", source, err.message);
    assert_string_equal(out, text);
    me_free(out);
}

static void messages_are_what_the_template_loops_over(void **state) {
    (void)state;
    expect("{% for m in messages %}[{{ m.role }}]{{ m['content'] | trim }}\n{% endfor %}"
           "{% if add_generation_prompt %}[assistant]{% endif %}",
           false, "[system]Be brief.\n[user]Hello\n[assistant]Hi.\n[user]Bye <|end|>\n[assistant]");
}

/* llama.cpp's rule: what the tokenizer adds, the text has not. */
static void tokens_that_the_tokenizer_adds_are_taken_off(void **state) {
    (void)state;
    const char *source = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}";
    expect(source, false, "<s>Be brief.</s>");
    expect(source, true, "Be brief.");
    expect("{{ bos_token }}{{ bos_token }}{{ messages[0].content }}", true, "<s>Be brief.");
}

/* "no", and the day twice. */
static void say_day(char *text, size_t size) {
    char day[64];
    const time_t now = time(NULL);
    struct tm local;
    (void)localtime_r(&now, &local);
    (void)strftime(day, sizeof day, "%d %b %Y", &local);
    (void)snprintf(text, size, "no %s %s", day, day);
}

static void tools_are_undefined_and_the_date_is_today(void **state) {
    (void)state;
    const char *source =
        "{{ 'yes' if tools is defined else 'no' }} {{ date_string }} {{ strftime_now('%d %b %Y') }}";
    char before[160], after[160], *out;
    say_day(before, sizeof before);
    assert_int_equal(render(source, TALK, 4, false, &out, NULL), MOBIEDIT_OK);
    say_day(after, sizeof after);
    /* Across midnight it may have been the one day, the other, or both. */
    if (strcmp(before, after) == 0) assert_string_equal(out, before);
    me_free(out);
}

static void a_template_without_a_system_role_gets_the_system_prompt_in_the_next_message(void **state) {
    (void)state;
    expect("{% for m in messages %}{% if m.role != 'system' %}[{{ m.content }}]{% endif %}{% endfor %}",
           false, "[Be brief.\nHello][Hi.][Bye <|end|>]");
}

static void a_template_for_lists_of_parts_gets_them(void **state) {
    (void)state;
    expect(
        "{% for m in messages %}{% for part in m.content %}<{{ part.type }}:{{ part['text'] }}>{% endfor %}"
        "{% endfor %}",
        false, "<text:Be brief.><text:Hello><text:Hi.><text:Bye <|end|>>");
}

static void expect_failure(const char *source, const char *reason) {
    mobiedit_error err = {0};
    char *out;
    if (render(source, TALK, 4, false, &out, &err) == MOBIEDIT_OK)
        fail_msg("%.60s renders: %.60s", source, out);
    assert_null(out);
    assert_int_equal(err.status, MOBIEDIT_E_UNSUPPORTED);
    if (!strstr(err.message, reason)) fail_msg("%.60s: %s", source, err.message);
    assert_null(strchr(err.message, '\n'));
    assert_null(strchr(err.message, '\033'));
}

static void failures_are_told(void **state) {
    (void)state;
    expect_failure("{{ raise_exception('roles must alternate') }}", "roles must alternate");
    expect_failure("{{ raise_exception('\033[31mred\nline') }}", "[31mred");
    expect_failure("{% for m in messages %}", "fails");
    expect_failure("{{ messages", "fails");
    expect_failure("{{ messages | no_such_filter }}", "no_such_filter");
    expect_failure("{% no_such_statement %}", "no_such_statement");
}

/* `what` n times; freed by the caller. */
static char *repeat(const char *before, const char *what, size_t n, const char *after) {
    const size_t size = strlen(before) + n * strlen(what) + strlen(after) + 1;
    char *text = malloc(size), *end = text;
    assert_non_null(text);
    end += snprintf(end, size, "%s", before);
    for (size_t i = 0; i < n; i++)
        end += snprintf(end, size - (size_t)(end - text), "%s", what);
    (void)snprintf(end, size - (size_t)(end - text), "%s", after);
    return text;
}

static void expect_repeated_to_fail(const char *before, const char *what, size_t n, const char *after) {
    char *source = repeat(before, what, n, after);
    expect_failure(source, "");
    free(source);
}

/* x86-64 ends a process that divides by zero, aarch64 gives 0: an error or a text, and the caller goes on. */
static void expect_no_harm(const char *source) {
    mobiedit_error err = {0};
    char *out;
    if (render(source, TALK, 4, false, &out, &err) == MOBIEDIT_OK)
        me_free(out);
    else
        assert_int_equal(err.status, MOBIEDIT_E_UNSUPPORTED);
}

/* What a file from anywhere may hold: each would end, or hold up, the process that ran it. */
static void hostile_templates_fail_without_harm(void **state) {
    (void)state;
    expect_failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "ends its process");
    expect_no_harm("{{ 1 is divisibleby 0 }}");
    expect_failure("{% set a = [] %}{% set b = a.append(a) %}{{ a | string }}", "ends its process");
    expect_failure("{% for i in range(1000000000000) %}{% endfor %}", "");
    expect_failure("{{ 'x' * 1000000000000 }}", "");
    expect_failure("{{ 'x' | indent(1000000000000, true) }}", "");
    expect_failure(
        "{% set s = namespace(t='xxxxxxxx') %}{% for i in range(60) %}{% set s.t = s.t + s.t %}{% endfor %}"
        "{{ s.t }}",
        "");
    expect_failure("{{ ('x' * 50) | replace('x', 'y' * 30000) }}", "1500000 bytes");
    expect_repeated_to_fail("{{ ", "(", 1000000, "1 }}");
    expect_repeated_to_fail("{{ ", "not ", 1000000, "1 }}");
    expect_repeated_to_fail("{{ 1", " + 1", 1000000, " }}");
    expect_repeated_to_fail("", "{% if 1 %}", 100000, "");
    expect_failure("\xff{{ '\xff' }}{% x", "");
}

static void endless_templates_end(void **state) {
    (void)state;
    expect_failure("{% for i in range(3000) %}{% for j in range(3000) %}{% for k in range(3000) %}"
                   "{% endfor %}{% endfor %}{% endfor %}",
                   "");
}

/* The process that renders is a copy of the caller's: that one goes on as it was. */
static void failures_leave_the_next_rendering_alone(void **state) {
    (void)state;
    expect_failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "ends its process");
    expect("{{ messages[0].content }}", false, "Be brief.");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_what_the_template_loops_over),
        cmocka_unit_test(tokens_that_the_tokenizer_adds_are_taken_off),
        cmocka_unit_test(tools_are_undefined_and_the_date_is_today),
        cmocka_unit_test(a_template_without_a_system_role_gets_the_system_prompt_in_the_next_message),
        cmocka_unit_test(a_template_for_lists_of_parts_gets_them),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(hostile_templates_fail_without_harm),
        cmocka_unit_test(endless_templates_end),
        cmocka_unit_test(failures_leave_the_next_rendering_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
