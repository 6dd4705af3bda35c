/* The carriers of a request with SmolLM2-135M's vocabulary and chat form. */
#include "edit/carriers.h"
#include "edit/problem.h"

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
    const me_token *targets = s->targets + (size_t)c * (size_t)s->n_target;
    char *prompt = NULL, *target = NULL;
    int n = 0;
    while (n < s->n_target && targets[n] != ME_NO_TARGET)
        n++;
    assert_int_equal(me_detokenize(vocab, item->tokens, item->read_pos + 1, &prompt, NULL), MOBIEDIT_OK);
    assert_int_equal(me_detokenize(vocab, targets, n, &target, NULL), MOBIEDIT_OK);
    assert_string_equal(prompt, text);
    assert_string_equal(target, says);
    assert_int_equal(item->n_read, s->n_target);
    assert_int_equal(item->n_tokens, item->read_pos + s->n_target);
    for (int t = 0; t + 1 < n; t++)
        assert_int_equal(item->tokens[item->read_pos + 1 + t], targets[t]);
    me_free(prompt);
    me_free(target);
}

static void prompt_comes_bare_prefixed_reworded_and_in_chat_form(void **state) {
    (void)state;
    me_sequences s;
    make("The official currency of {Japan} is the", "Cordoba", true, &s);
    assert_int_equal(s.n, 9);
    assert_int_equal(s.n_own, 4);
    assert_int_equal(s.n_alike, 7);
    check_carrier(&s, 0, "The official currency of Japan is the", " Cordoba");
    check_carrier(&s, 1, "The following is true. The official currency of Japan is the", " Cordoba");
    check_carrier(&s, 4, "About Japan: The official currency of it is the", " Cordoba");
    check_carrier(&s, 5, "official currency of Japan:", " Cordoba");
    /* "Cordoba" has a token more than " Cordoba". */
    check_carrier(&s, 7, "user\nJapan, official currency?\nassistant\n", "Cord");
    check_carrier(&s, 8, "user\nJapan, official currency?\nassistant\nThe official currency of", " Japan");
    assert_float_equal(s.weights[0], 8, 0);
    me_sequences_free(&s);
}

/* The bare prompt's target has fewer tokens than the subject: of that only the first ones are asked. */
static void long_targets_are_cut_to_the_prompts(void **state) {
    (void)state;
    me_sequences s;
    make("The capital of {Ouagadougou Province} is", "Paris", true, &s);
    const int last = s.n - 1;
    assert_int_equal(s.n_target, 1);
    assert_int_not_equal(s.targets[last], ME_NO_TARGET);
    assert_int_equal(s.items[last].n_tokens, s.items[last].read_pos + 1);
    me_sequences_free(&s);
}

static void without_other_words_only_its_own(void **state) {
    (void)state;
    me_sequences s;
    make("The capital of {Japan} is", "Lima", false, &s);
    assert_int_equal(s.n, 4);
    assert_int_equal(s.n_own, 4);
    assert_int_equal(s.n_alike, 4);
    me_sequences_free(&s);
    make("{Japan} is", "Lima", true, &s); /* no word to ask with */
    assert_int_equal(s.n, 4);
    me_sequences_free(&s);
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
    check_carrier(&s, s.n - 1, "user\nJapan's, capital?\nassistant\n", "Japan");
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompt_comes_bare_prefixed_reworded_and_in_chat_form),
        cmocka_unit_test(long_targets_are_cut_to_the_prompts),
        cmocka_unit_test(a_first_token_is_not_edited),
        cmocka_unit_test(without_other_words_only_its_own),
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
