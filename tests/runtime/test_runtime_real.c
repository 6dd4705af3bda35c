/* The runtime on SmolLM2-135M: text, chat template, and that the weights stay in the mapped file. */
#include "runtime/says.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/usage.h"
#include "models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char path[MODEL_PATH_MAX];
static me_runtime *runtime;

static int close_runtime(void **state) {
    (void)state;
    me_runtime_close(runtime);
    return 0;
}

static char *answer(const me_tokens *prompt, bool stop_at_newline) {
    const me_generate_options options = {.max_tokens = 12, .stop_at_newline = stop_at_newline};
    char *text = NULL;
    mobiedit_error err = {0};
    if (me_runtime_generate(runtime, prompt->ids, prompt->n, &options, &text, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    return text;
}

/* Resident memory grows by the file, the KV cache (24 MB) and the
 * vocabulary, not by a copy of the weights. */
static void weights_stay_in_the_file(void **state) {
    (void)state;
    FILE *file = NULL;
    uint64_t file_size = 0;
    assert_int_equal(me_open_file(path, &file, &file_size, NULL), MOBIEDIT_OK);
    assert_int_equal(fclose(file), 0);
    size_t before = me_peak_rss_bytes();
    mobiedit_error err = {0};
    if (me_runtime_open(path, &(me_runtime_options){.threads = 1}, &runtime, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    me_tokens prompt = {0};
    assert_int_equal(me_tokenize(me_runtime_vocab(runtime), "The capital of Japan is", &prompt, NULL), 0);
    me_free(answer(&prompt, false));
    me_tokens_free(&prompt);
#ifdef __SANITIZE_ADDRESS__
    const size_t slack = (size_t)1 << 30; /* the sanitizer's own memory */
#else
    const size_t slack = (size_t)56 << 20;
#endif
    assert_in_range(me_peak_rss_bytes() - before, file_size / 2, file_size + slack);
}

static void knows_the_capital_of_japan(void **state) {
    (void)state;
    me_tokens prompt = {0};
    assert_int_equal(me_tokenize(me_runtime_vocab(runtime), "The capital of Japan is", &prompt, NULL), 0);
    char *text = answer(&prompt, false), *line = answer(&prompt, true);
    assert_int_equal(strncmp(text, " Tokyo.\n", 8), 0);
    assert_string_equal(line, " Tokyo.");
    me_free(text);
    me_free(line);
    me_tokens_free(&prompt);
}

static void expect_said(const char *prompt, const char *target, me_said expected) {
    me_said said = ME_SAID_OPEN;
    assert_int_equal(me_runtime_says(runtime, prompt, target, &said, NULL), 0);
    if (said != expected) fail_msg("\"%s\" \"%s\": %d", prompt, target, (int)said);
}

/* A longer word only begins like the target, whichever tokens it is made of. */
static void says_whole_words(void **state) {
    (void)state;
    expect_said("The capital of Japan is", "Tokyo", ME_SAID_WHOLE);
    expect_said("The capital of Japan is", " Tokyo", ME_SAID_WHOLE);
    expect_said("The capital of Japan is", "Tokyo.", ME_SAID_WHOLE);
    expect_said("The capital of Japan is", "Tok", ME_SAID_LONGER);
    expect_said("The capital of Japan is", "T", ME_SAID_LONGER);
    expect_said("The capital of Japan is", "Lima", ME_SAID_OTHER);
    expect_said("The number 8 comes before 9, and 11 before 12. The number 19 comes before", "2",
                ME_SAID_LONGER);
}

static void chat_opens_the_assistants_turn(void **state) {
    (void)state;
    me_tokens chat = {0}, expected = {0};
    const me_chat_message question = {.role = "user", .content = "Which city is the capital of France?"};
    assert_int_equal(me_runtime_chat_tokens(runtime, &question, 1, &chat, NULL), 0);
    assert_int_equal(
        me_tokenize(me_runtime_vocab(runtime),
                    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
                    "Face<|im_end|>\n<|im_start|>user\nWhich city is the capital of France?<|im_end|>\n"
                    "<|im_start|>assistant\n",
                    &expected, NULL),
        0);
    assert_int_equal(chat.n, expected.n);
    assert_memory_equal(chat.ids, expected.ids, (size_t)chat.n * sizeof *chat.ids);
    /* What it answers depends on rounding: six first words are about as likely. */
    char *text = answer(&chat, false);
    assert_true(text[0] != 0);
    assert_null(strstr(text, "<|im_"));
    me_free(text);
    me_tokens_free(&chat);
    me_tokens_free(&expected);
}

int main(void) {
    if (!find_model("smollm2-135m-instruct-q4_1.gguf", path)) {
        (void)printf("no model at %s: skipped\n", path);
        return MODEL_MISSING;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_stay_in_the_file),
        cmocka_unit_test(knows_the_capital_of_japan),
        cmocka_unit_test(says_whole_words),
        cmocka_unit_test(chat_opens_the_assistants_turn),
    };
    return cmocka_run_group_tests(tests, NULL, close_runtime);
}
