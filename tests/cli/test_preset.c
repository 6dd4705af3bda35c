/* What push writes into a router's preset: the rest of the file stays, and what llama-server would read otherwise than it
 * stands there is refused. */
#define _POSIX_C_SOURCE 200809L
#include "preset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const preset_request FILE_REQUEST = {.name = "qwen-edited",
                                            .adapter = "/m/facts.gguf",
                                            .source = PRESET_FILE,
                                            .model = "/m/qwen.gguf",
                                            .unedited = "qwen"};

/* The file that the request makes of `text`; what it tells besides is in *change, freed by the caller. */
static void put(const char *text, const preset_request *request, preset_change *change) {
    mobiedit_error err = {0};
    if (preset_put(text, strlen(text), request, change, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
}

static void check(const char *text, const preset_request *request, const char *wanted) {
    preset_change change, again;
    put(text, request, &change);
    assert_int_equal(change.n, strlen(wanted));
    assert_memory_equal(change.text, wanted, change.n);
    /* Once more changes nothing. */
    char *same = strndup(change.text, change.n);
    put(same, request, &again);
    assert_int_equal(again.n, change.n);
    assert_memory_equal(again.text, change.text, again.n);
    free(same);
    preset_free(&again);
    preset_free(&change);
}

static void check_refused(const char *text, const preset_request *request, mobiedit_status status,
                          const char *word) {
    preset_change change;
    mobiedit_error err = {0};
    assert_int_equal(preset_put(text, strlen(text), request, &change, &err), status);
    assert_non_null(strstr(err.message, word));
    assert_null(change.text);
}

static void test_new_file(void **state) {
    (void)state;
    check("version = 1\n", &FILE_REQUEST,
          "version = 1\n\n[qwen-edited]\nmodel = /m/qwen.gguf\nlora = /m/facts.gguf\n\n[qwen]\nmodel = "
          "/m/qwen.gguf\n");
}

static void test_new_section_is_like_the_unedited_one(void **state) {
    (void)state;
    static const char before[] =
        "; mine\n[*]\nc = 512\n\n[qwen]\nc = 4096 ; long\nm = /m/qwen.gguf\nalias = q\n"
        "slot-save-path = /s\nload-on-startup = 1\njinja = true";
    static const char after[] =
        "; mine\n[*]\nc = 512\n\n[qwen]\nc = 4096 ; long\nm = /m/qwen.gguf\nalias = q\n"
        "slot-save-path = /s\nload-on-startup = 1\njinja = true\n"
        "\n[qwen-edited]\nmodel = /m/qwen.gguf\nc = 4096 ; long\njinja = true\n"
        "lora = /m/facts.gguf\n";
    preset_change change;
    put(before, &FILE_REQUEST, &change);
    assert_true(change.made && !change.added);
    assert_string_equal(change.copied, "qwen");
    preset_free(&change);
    check(before, &FILE_REQUEST, after);
}

static void test_a_section_with_adapters_is_not_the_unedited_one(void **state) {
    (void)state;
    check("[style]\nmodel = /m/qwen.gguf\nlora = /m/style.gguf\nc = 1\n", &FILE_REQUEST,
          "[style]\nmodel = /m/qwen.gguf\nlora = /m/style.gguf\nc = 1\n\n[qwen-edited]\nmodel = "
          "/m/qwen.gguf\nlora = /m/facts.gguf\n\n[qwen]\nmodel = /m/qwen.gguf\n");
}

static void test_a_taken_name_is_left_alone(void **state) {
    (void)state;
    check("[qwen]\nmodel = /m/other.gguf\n", &FILE_REQUEST,
          "[qwen]\nmodel = /m/other.gguf\n\n[qwen-edited]\nmodel = /m/qwen.gguf\nlora = /m/facts.gguf\n");
}

static void test_hub(void **state) {
    (void)state;
    const preset_request request = {
        .name = "edited", .adapter = "/m/facts.gguf", .source = PRESET_HUB, .model = "user/repo:Q8_0"};
    check("[user/repo:Q8_0]\nc = 7\n", &request,
          "[user/repo:Q8_0]\nc = 7\n\n[edited]\nhf = user/repo:Q8_0\nc = 7\nlora = /m/facts.gguf\n");
}

static void test_a_change_keeps_all_else(void **state) {
    (void)state;
    const preset_request keep = {
        .name = "qwen-edited", .adapter = "/m/new.gguf", .source = PRESET_KEEP, .model = ""};
    check("# head\r\n[qwen-edited] ; ours\r\nmodel=/m/qwen.gguf\r\nlora\t=  /m/old.gguf \t; was\r\nc = 1\r\n"
          "lora = /m/older.gguf\r\n[b]\r\nlora = /m/old.gguf\r\n",
          &keep,
          "# head\r\n[qwen-edited] ; ours\r\nmodel=/m/qwen.gguf\r\nlora\t=  /m/new.gguf \t; was\r\nc = 1\r\n"
          "[b]\r\nlora = /m/old.gguf\r\n");
    check("[qwen-edited]\nhf = a/b", &keep, "[qwen-edited]\nlora = /m/new.gguf\nhf = a/b");
    check("[qwen-edited]\nhf = a/b\nhff = x\nlora = /m/a.gguf\n", &FILE_REQUEST,
          "[qwen-edited]\nmodel = /m/qwen.gguf\nlora = /m/facts.gguf\n");
    check("[qwen-edited]\rmodel = /m/a.gguf\r", &FILE_REQUEST,
          "[qwen-edited]\rlora = /m/facts.gguf\nmodel = /m/qwen.gguf\r");
}

static void test_commas_and_quotes(void **state) {
    (void)state;
    preset_request request = FILE_REQUEST;
    request.unedited = NULL;
    request.adapter = "/m/a,\"b\".gguf";
    check("", &request, "[qwen-edited]\nmodel = /m/qwen.gguf\nlora = \"/m/a,\"\"b\"\".gguf\"\n");
    request.adapter = "/m/a \"b\" [c] = d.gguf";
    check("", &request, "[qwen-edited]\nmodel = /m/qwen.gguf\nlora = /m/a \"b\" [c] = d.gguf\n");
}

static void test_what_cannot_be_written(void **state) {
    (void)state;
    static const char *const paths[] = {"",         "/m/a;b", "/m/a#b", "/m/a\nb", "/m/a\rb",
                                        "/m/a\x01", " /m/a",  "/m/a ",  "/m/a\t",  "/m/\xff"};
    static const char *const names[] = {"",    "*",   "default", "a:b", "a,b", "a]b",
                                        "a[b", "a;b", " a",      "a\n", "\xff"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        preset_request request = FILE_REQUEST;
        request.adapter = paths[i];
        check_refused("", &request, MOBIEDIT_E_ARGUMENT, "adapter");
        request = FILE_REQUEST;
        request.model = paths[i];
        check_refused("", &request, MOBIEDIT_E_ARGUMENT, "model");
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        preset_request request = FILE_REQUEST;
        request.name = names[i];
        check_refused("", &request, MOBIEDIT_E_ARGUMENT, "name");
    }
    char longest[PRESET_MAX_NAME + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(preset_check_name(longest + 1, NULL), MOBIEDIT_OK);
    assert_int_equal(preset_check_name(longest, NULL), MOBIEDIT_E_ARGUMENT);
}

static void test_models_that_are_not_named(void **state) {
    (void)state;
    const preset_request keep = {.name = "b", .adapter = "/m/a.gguf", .source = PRESET_KEEP, .model = ""};
    check_refused("[a]\nmodel = x\n", &keep, MOBIEDIT_E_ARGUMENT, "there is no [b]");
    check_refused("[b]\nc = 1\n", &keep, MOBIEDIT_E_ARGUMENT, "names no model");
}

static void test_other_adapters_stay(void **state) {
    (void)state;
    const preset_request keep = {.name = "b", .adapter = "/m/a.gguf", .source = PRESET_KEEP, .model = ""};
    static const char *const values[] = {"lora = x,y", "lora = \"x,y\",z", "lora-scaled = x:1"};
    char text[64];
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        (void)snprintf(text, sizeof text, "[b]\nmodel = x\n%s\n", values[i]);
        check_refused(text, &keep, MOBIEDIT_E_ARGUMENT, "other adapters");
    }
    check("[b]\nmodel = x\nlora = \"x,\"\"y\"\n", &keep, "[b]\nmodel = x\nlora = /m/a.gguf\n");
}

static void test_files_that_llama_server_refuses(void **state) {
    (void)state;
    static const char *const lines[] = {" c = 1", "c", "1 = 2",           "[a",   "[]",
                                        "[a] b",  "=", "\xef\xbb\xbf[a]", "c : 1"};
    char text[64];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        (void)snprintf(text, sizeof text, "\n; x\n%s\n", lines[i]);
        check_refused(text, &FILE_REQUEST, MOBIEDIT_E_FORMAT, "line 3");
    }
    check_refused("[qwen-edited]\nmodel = x\n[qwen-edited]\n", &FILE_REQUEST, MOBIEDIT_E_FORMAT, "line 3");
    check_refused("c = \xff\n", &FILE_REQUEST, MOBIEDIT_E_FORMAT, "UTF-8");
    preset_change change;
    assert_int_equal(preset_put("a\0b", 3, &FILE_REQUEST, &change, NULL), MOBIEDIT_E_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_file),
        cmocka_unit_test(test_new_section_is_like_the_unedited_one),
        cmocka_unit_test(test_a_section_with_adapters_is_not_the_unedited_one),
        cmocka_unit_test(test_a_taken_name_is_left_alone),
        cmocka_unit_test(test_hub),
        cmocka_unit_test(test_a_change_keeps_all_else),
        cmocka_unit_test(test_commas_and_quotes),
        cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_models_that_are_not_named),
        cmocka_unit_test(test_other_adapters_stay),
        cmocka_unit_test(test_files_that_llama_server_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
