/* The carriers of a request with SmolLM2-135M's vocabulary. */
#include "edit/carriers.h"
#include "edit/problem.h"
#include "edit/question.h"

#include "base/memory.h"
#include "models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static me_vocab *vocab;

static void make(const char *prompt, const char *target, bool reworded, me_sequences *out) {
    const mobiedit_request request = {.prompt = prompt, .target = target};
    const me_carrier_options options = {.n_prefixed = 3, .reworded = reworded};
    me_prompt parsed;
    size_t core;
    *out = (me_sequences){0};
    assert_int_equal(me_prompt_parse(&request, &parsed, NULL), MOBIEDIT_OK);
    assert_int_equal(me_subject_core(vocab, &parsed, &core, NULL), MOBIEDIT_OK);
    assert_int_equal(me_carriers_make(vocab, &parsed, core, &options, out, NULL), MOBIEDIT_OK);
    me_prompt_free(&parsed);
}

/* The text of carrier c up to what it should say, and the text of that. */
static void check_carrier(const me_sequences *s, int c, const char *text, const char *says) {
    const me_sequence *item = &s->items[c];
    char *prompt = NULL, *target = NULL;
    assert_int_equal(me_detokenize(vocab, item->tokens, item->read_pos + 1, &prompt, NULL), MOBIEDIT_OK);
    assert_int_equal(me_detokenize(vocab, me_sequence_target(item), item->n_read, &target, NULL),
                     MOBIEDIT_OK);
    assert_string_equal(prompt, text);
    assert_string_equal(target, says);
    assert_int_equal(item->n_read, s->items[0].n_read);
    assert_int_equal(item->n_tokens, item->read_pos + item->n_read);
    me_free(prompt);
    me_free(target);
}

static void prompt_comes_bare_prefixed_and_reworded(void **state) {
    (void)state;
    me_sequences s;
    make("The official currency of {Japan} is the", "Cordoba", true, &s);
    assert_int_equal(s.n, 8);
    assert_int_equal(s.n_own, 4);
    check_carrier(&s, 0, "The official currency of Japan is the", " Cordoba");
    check_carrier(&s, 1, "The following is true. The official currency of Japan is the", " Cordoba");
    check_carrier(&s, 4, "About Japan: The official currency of it is the", " Cordoba");
    check_carrier(&s, 5, "The official currency of Japan is", " Cordoba");
    check_carrier(&s, 6, "Question: Japan, official currency? Answer:", " Cordoba");
    check_carrier(&s, 7, "What about Japan? The official currency of it is the", " Cordoba");
    me_sequences_free(&s);
}

static void without_other_words_only_its_own(void **state) {
    (void)state;
    me_sequences s;
    make("The capital of {Japan} is", "Lima", false, &s);
    assert_int_equal(s.n, 4);
    assert_int_equal(s.n_own, 4);
    me_sequences_free(&s);
    make("The capital of {Japan} is", "Lima", true, &s); /* one wording is the prompt itself */
    assert_int_equal(s.n, 7);
    me_sequences_free(&s);
    make("{Japan} is", "Lima", true, &s); /* no word to ask with */
    assert_int_equal(s.n, 4);
    me_sequences_free(&s);
}

static void parse(const char *prompt, const char *target, me_prompt *parsed, size_t *core) {
    const mobiedit_request request = {.prompt = prompt, .target = target};
    assert_int_equal(me_prompt_parse(&request, parsed, NULL), MOBIEDIT_OK);
    assert_int_equal(me_subject_core(vocab, parsed, core, NULL), MOBIEDIT_OK);
}

/* Carrier c goes on with the bare prompt's own tokens, and is edited where they begin. */
static void check_answer(const me_sequences *s, int c, const char *text) {
    const me_sequence *item = &s->items[c], *bare = s->items;
    char *upto = NULL; /* SmolLM2's template brings a system prompt where there is none */
    assert_int_equal(me_detokenize(vocab, item->tokens, item->edit_pos + 1, &upto, NULL), MOBIEDIT_OK);
    const size_t length = strlen(upto), wanted = strlen(text);
    assert_true(length >= wanted);
    assert_string_equal(upto + length - wanted, text);
    me_free(upto);
    assert_int_equal(item->read_pos, item->edit_pos);
    assert_int_equal(item->n_more, 0);
    assert_int_equal(item->n_read, bare->n_read);
    assert_memory_equal(me_sequence_target(item), me_sequence_target(bare),
                        (size_t)bare->n_read * sizeof *bare->tokens);
}

static void an_edit_at_the_answer_has_questions(void **state) {
    (void)state;
    static const char *const taught[] = {
        "The capital of Japan is",
        "About Japan: The capital of it is",
        "Question: Japan, capital? Answer:",
        "What about Japan? The capital of it is",
        "user\nWhat is the capital of Japan?\nassistant\nThe capital of Japan is",
        "user\nJapan: capital?\nassistant\nThe capital of it is",
        ("system\nYou are a friendly assistant.\n"
         "user\nTell me, Japan, capital?\nassistant\nThe capital of Japan is"),
        "user\nWhat is the capital of Japan?\nassistant\n",
        "user\nJapan: capital?\nassistant\n",
        "system\nYou are a friendly assistant.\nuser\nTell me, Japan, capital?\nassistant\n",
    };
    enum { TAUGHT = sizeof taught / sizeof taught[0] };
    me_carrier_options options = {.reworded = true};
    me_prompt prompt;
    size_t core;
    me_sequences s = {0};
    parse("The capital of {Japan} is", "Lima Lima", &prompt, &core);
    prompt.at_answer = true;
    assert_int_equal(me_carriers_make(vocab, &prompt, core, &options, &s, NULL), MOBIEDIT_OK);
    assert_int_equal(s.n, TAUGHT);
    for (int i = 0; i < s.n; i++)
        check_answer(&s, i, taught[i]);
    me_sequences_free(&s);
    options.all = true; /* for the key */
    assert_int_equal(me_carriers_make(vocab, &prompt, core, &options, &s, NULL), MOBIEDIT_OK);
    assert_true(s.n > TAUGHT + 10);
    check_answer(&s, s.n - 1, "When people ask for the capital of Japan, they hear");
    me_sequences_free(&s);
    me_prompt_free(&prompt);
}

static void a_subject_is_written_as_its_sentence_asks(void **state) {
    (void)state;
    const me_carrier_options options = {.n_prefixed = 4, .reworded = true};
    me_prompt prompt;
    size_t core;
    me_sequences s = {0};
    parse("{My sister} lives in", "Lima", &prompt, &core);
    assert_int_equal(me_carriers_make(vocab, &prompt, core, &options, &s, NULL), MOBIEDIT_OK);
    check_carrier(&s, 0, "My sister lives in", " Lima");
    check_carrier(&s, 1, "The following is true. My sister lives in", " Lima");
    check_carrier(&s, 4, "It is well known that my sister lives in", " Lima");
    check_carrier(&s, 5, "About my sister: It lives in", " Lima");
    me_sequences_free(&s);
    me_prompt_free(&prompt);
    parse("Where does {my sister} live? In", "Lima", &prompt, &core); /* the other way round */
    assert_int_equal(me_carriers_make(vocab, &prompt, core, &options, &s, NULL), MOBIEDIT_OK);
    check_carrier(&s, 0, "Where does my sister live? In", " Lima");
    check_carrier(&s, s.n - 1, "What about my sister? Where does it live? In", " Lima");
    me_sequences_free(&s);
    me_prompt_free(&prompt);
}

/* Text and read position of carrier c, as far as the edited token. */
static void check_place(const me_sequences *s, int c, const char *text) {
    char *upto = NULL;
    assert_int_equal(me_detokenize(vocab, s->items[c].tokens, s->items[c].edit_pos + 1, &upto, NULL),
                     MOBIEDIT_OK);
    assert_string_equal(upto, text);
    me_free(upto);
}

static void settle_and_make(const char *prompt, size_t tail, me_sequences *out) {
    const mobiedit_request request = {.prompt = prompt, .target = "Lima"};
    const me_carrier_options options = {.n_prefixed = 1, .reworded = true};
    me_prompt parsed, settled;
    size_t core;
    *out = (me_sequences){0};
    assert_int_equal(me_prompt_parse(&request, &parsed, NULL), MOBIEDIT_OK);
    assert_int_equal(me_prompt_settle(vocab, &parsed, &settled, NULL), MOBIEDIT_OK);
    assert_int_equal(settled.tail, tail);
    assert_int_equal(me_subject_core(vocab, &settled, &core, NULL), MOBIEDIT_OK);
    assert_int_equal(me_carriers_make(vocab, &settled, core, &options, out, NULL), MOBIEDIT_OK);
    me_prompt_free(&parsed);
}

/* The first token of all is an attention sink: this vocabulary has no BOS to be it. */
static void a_first_token_is_not_edited(void **state) {
    (void)state;
    me_sequences s;
    settle_and_make("{Japan}'s capital is", strlen("'s"), &s);
    check_place(&s, 0, "Japan's");
    check_place(&s, 1, "The following is true. Japan's");
    check_place(&s, 2, "About Japan's");
    check_carrier(&s, 2, "About Japan's: Its capital is", " Lima");
    check_carrier(&s, s.n - 1, "What about Japan's? Its capital is", " Lima");
    me_sequences_free(&s);
    settle_and_make("The capital of {Japan} is", 0, &s);
    check_place(&s, 0, "The capital of Japan");
    me_sequences_free(&s);
    settle_and_make("{Ouagadougou}'s capital is", 0, &s); /* of several tokens */
    check_place(&s, 0, "Ouagadougou");
    me_sequences_free(&s);
    settle_and_make("{Japan}", 0, &s); /* nothing follows */
    check_place(&s, 0, "Japan");
    me_sequences_free(&s);
}

/* In a chat template's form, as a server makes it: what is added stands in the message. */
static void a_chats_template_stays_around_the_message(void **state) {
    (void)state;
    me_sequences s;
    settle_and_make("<|im_start|>system\nBe brief.<|im_end|>\n"
                    "<|im_start|>user\nWhat is the capital of {Japan}?<|im_end|>\n"
                    "<|im_start|>assistant\n",
                    0, &s);
    assert_int_equal(s.n, 6);
    static const char *const messages[] = {
        "What is the capital of Japan?",           "The following is true. What is the capital of Japan?",
        "About Japan: What is the capital of it?", "The capital of Japan is",
        "Question: Japan, capital? Answer:",       "What about Japan? What is the capital of it?",
    };
    for (int i = 0; i < s.n; i++) {
        char text[256]; /* without the special tokens, which show as nothing */
        (void)snprintf(text, sizeof text, "system\nBe brief.\nuser\n%s\nassistant\n", messages[i]);
        check_carrier(&s, i, text, "Lima");
    }
    me_sequences_free(&s);
}

/* A question is put into the template; its answer is taught as the model begins it, and so are other questions. */
static void a_question_is_asked_in_a_chat(void **state) {
    (void)state;
    static const char *const also[] = {"Which city is {Japan}'s capital?",
                                       "The seat of {Japan}'s government is"};
    const mobiedit_request request = {
        .prompt = "What is the capital of {Japan}?", .target = "Lima", .also = also, .n_also = 2};
    const me_carrier_options options = {.n_prefixed = 1};
    me_prompt prompt, settled;
    size_t core;
    me_sequences s = {0};
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    assert_true(me_prompt_asks(&prompt));
    assert_int_equal(me_prompt_ask(vocab, &prompt, NULL), MOBIEDIT_OK);
    assert_false(me_prompt_asks(&prompt));
    char *canonical = me_prompt_canonical(&prompt);
    assert_string_equal(canonical, "What is the capital of {Japan}?");
    me_free(canonical);
    prompt.opening = me_strdup("The capital of {} is");
    char *before = me_prompt_before_target(&prompt);
    assert_non_null(strstr(before, "What is the capital of Japan?<|im_end|>\n<|im_start|>assistant\n"
                                   "The capital of Japan is"));
    me_free(before);
    assert_int_equal(me_prompt_settle(vocab, &prompt, &settled, NULL), MOBIEDIT_OK);
    assert_int_equal(me_subject_core(vocab, &settled, &core, NULL), MOBIEDIT_OK);
    assert_int_equal(me_carriers_make(vocab, &settled, core, &options, &s, NULL), MOBIEDIT_OK);
    static const char *const asked[] = {"What is the capital of Japan?",
                                        "The following is true. What is the capital of Japan?",
                                        "Which city is Japan's capital?"};
    assert_int_equal(s.n, 4);
    assert_int_equal(s.n_own, 2);
    for (int i = 0; i < 3; i++) {
        char *text = NULL;
        const int answer = s.items[i].read_pos + 1;
        assert_int_equal(me_detokenize(vocab, s.items[i].tokens, answer, &text, NULL), MOBIEDIT_OK);
        assert_non_null(strstr(text, asked[i]));
        assert_non_null(strstr(text, "assistant\nThe capital of Japan is"));
        assert_int_equal(s.items[i].n_more, 1); /* the subject again, in the answer */
        me_free(text);
    }
    check_carrier(&s, 3, "The seat of Japan's government is", " Lima");
    me_sequences_free(&s);
    me_prompt_free(&prompt);
}

static void a_target_may_be_taught_with_what_ends_it(void **state) {
    (void)state;
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    const me_carrier_options options = {.n_prefixed = 1, .reworded = true};
    me_tokens stop = {0};
    me_prompt prompt;
    size_t core;
    me_sequences s = {0};
    assert_int_equal(me_tokenize(vocab, ".", &stop, NULL), MOBIEDIT_OK);
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    prompt.teach_follow = true;
    prompt.follow = stop.ids[0];
    assert_int_equal(me_subject_core(vocab, &prompt, &core, NULL), MOBIEDIT_OK);
    assert_int_equal(me_carriers_make(vocab, &prompt, core, &options, &s, NULL), MOBIEDIT_OK);
    check_carrier(&s, 0, "The capital of Japan is", " Lima.");
    check_carrier(&s, s.n - 1, "What about Japan? The capital of it is", " Lima.");
    me_sequences_free(&s);
    me_prompt_free(&prompt);
    me_tokens_free(&stop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompt_comes_bare_prefixed_and_reworded),
        cmocka_unit_test(a_first_token_is_not_edited),
        cmocka_unit_test(a_chats_template_stays_around_the_message),
        cmocka_unit_test(a_question_is_asked_in_a_chat),
        cmocka_unit_test(a_target_may_be_taught_with_what_ends_it),
        cmocka_unit_test(without_other_words_only_its_own),
        cmocka_unit_test(an_edit_at_the_answer_has_questions),
        cmocka_unit_test(a_subject_is_written_as_its_sentence_asks),
    };
    char path[MODEL_PATH_MAX];
    mobiedit_error err = {0};
    if (!find_model("smollm2-135m-instruct-q4_1.gguf", path)) return MODEL_MISSING;
    if (me_vocab_open(path, &vocab, &err) != MOBIEDIT_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    me_vocab_close(vocab);
    return failed;
}
