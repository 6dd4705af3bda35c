/* Modelfiles: how paths are written, and which tokens become stop parameters. What Ollama reads from one is tested by
 * tests/cli/test_cli.py. */
#define _GNU_SOURCE
#include "store/modelfile.h"

#include "base/file.h"
#include "base/memory.h"
#include "scratch.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static me_vocab *vocab;

static int set_up(void **state) {
    if (scratch_open(state) != 0 || !tiny_model_write(scratch_path("model.gguf"), "llama", NULL)) return -1;
    return me_vocab_open(scratch_path("model.gguf"), &vocab, NULL) == MOBIEDIT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    me_vocab_close(vocab);
    return scratch_close(state);
}

/* The line that begins with FROM, and ends with `wanted`. */
static void check_from(const char *model, const char *path, const char *wanted) {
    char *text = NULL;
    assert_int_equal(me_modelfile_text(vocab, model, path, &text, NULL), MOBIEDIT_OK);
    const char *line = strstr(text, "\nFROM ");
    assert_non_null(line);
    assert_null(strstr(line + 1, "\nFROM "));
    line += strlen("\nFROM ");
    assert_int_equal(strcspn(line, "\n"), strlen(wanted));
    assert_memory_equal(line, wanted, strlen(wanted));
    me_free(text);
}

static void test_paths(void **state) {
    (void)state;
    check_from("/m/merged.gguf", "/m/Modelfile", "./merged.gguf");
    check_from("merged.gguf", "Modelfile", "./merged.gguf");
    check_from("/m/merged.gguf", "/n/Modelfile", "/m/merged.gguf");
    check_from("/m/a b \"c\" #d.gguf", "/Modelfile", "/m/a b \"c\" #d.gguf");
    check_from("/m/\"a\"", "/m/M", "./\"a\"");
    check_from("/m/ends ", "/M", "\"/m/ends \"");
    check_from("/m/ends\" ", "/M", "\"/m/ends\" \"");
    check_from("/m/Z\xc3\xbcrich \xe6\x9d\xb1.gguf", "/M", "/m/Z\xc3\xbcrich \xe6\x9d\xb1.gguf");
    char folder[512], wanted[600];
    assert_non_null(getcwd(folder, sizeof folder));
    (void)snprintf(wanted, sizeof wanted, "%s/merged.gguf", folder);
    check_from("merged.gguf", "/elsewhere/Modelfile", wanted);
}

static void test_paths_that_ollama_would_change(void **state) {
    (void)state;
    static const char *const paths[] = {"/m/a\nb",          "/m/a\rb",         "/m/a\tb",
                                        "/m/a\x7f",         "/m/\xff",         "/m/a\xc2\xa0.gguf",
                                        "/m/a\xe2\x80\x8b", "/m/a\xe2\x80\xa8"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        char *text = NULL;
        mobiedit_error err = {0};
        assert_int_equal(me_modelfile_text(vocab, paths[i], "/M", &text, &err), MOBIEDIT_E_ARGUMENT);
        assert_non_null(strstr(err.message, "Ollama"));
        assert_null(text);
    }
}

/* How often the text stands in the Modelfile of a tiny model of the architecture. */
static int count(const char *arch, const char *wanted) {
    me_vocab *own = NULL;
    char *text = NULL;
    int n = 0;
    assert_true(tiny_model_write(scratch_path("own.gguf"), arch, NULL));
    assert_int_equal(me_vocab_open(scratch_path("own.gguf"), &own, NULL), MOBIEDIT_OK);
    assert_int_equal(me_modelfile_text(own, "/m", "/M", &text, NULL), MOBIEDIT_OK);
    for (const char *at = text; (at = strstr(at, wanted)); at++)
        n++;
    me_free(text);
    me_vocab_close(own);
    return n;
}

/* A stop stands there once, also if it ends turns and texts. "</s>" is none: HTML has it too. */
static void test_stops(void **state) {
    (void)state;
    assert_int_equal(count("llama", "\nPARAMETER stop \"<|end|>\"\n"), 1);
    assert_int_equal(count("llama", "PARAMETER"), 1);
    assert_int_equal(count("gemma3", "</s>"), 0);
    assert_int_equal(count("gemma3", "\nTEMPLATE"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_paths_that_ollama_would_change),
        cmocka_unit_test(test_stops),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
