/* A chat with a real model: adapters come and go while it stays loaded, and another thread edits meanwhile. */
#define _GNU_SOURCE
#include "mobiedit.h"
#include "models.h"
#include "scratch.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char QUESTION[] = "What is the capital of Japan?", PROMPT[] = "The capital of Japan is";
static char model_path[MODEL_PATH_MAX], lima[SCRATCH_PATH_MAX];
static mobiedit_model *model;
static mobiedit_chat *chat;

static void edit(mobiedit_model *of, const char *target, const char *output) {
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = target};
    mobiedit_edit_result result;
    mobiedit_error err = {0};
    if (mobiedit_edit(of, &request, NULL, output, &result, &err) != MOBIEDIT_OK)
        (void)fprintf(stderr, "%s\n", err.message);
    mobiedit_edit_result_free(&result);
}

static int set_up(void **state) {
    if (scratch_open(state) != 0 || mobiedit_open(model_path, NULL, &model, NULL) != MOBIEDIT_OK) return -1;
    (void)snprintf(lima, sizeof lima, "%s", scratch_path("lima.gguf"));
    edit(model, "Lima", lima);
    return mobiedit_chat_open(model, NULL, &chat, NULL) == MOBIEDIT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    mobiedit_chat_close(chat);
    mobiedit_close(model);
    return scratch_close(state);
}

static void expect_said(const char *prompt, bool in_chat, const char *wanted) {
    const mobiedit_ask_options options = {.chat = in_chat, .max_tokens = 16};
    mobiedit_error err = {0};
    char *text = NULL;
    if (mobiedit_chat_ask(chat, prompt, &options, &text, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    if (!strstr(text, wanted)) fail_msg("\"%s\" is answered by \"%s\"", prompt, text);
    mobiedit_free(text);
}

static void adapters_come_and_go(void **state) {
    (void)state;
    expect_said(PROMPT, false, "Tokyo");
    assert_int_equal(mobiedit_chat_attach(chat, lima, NULL), MOBIEDIT_OK);
    expect_said(PROMPT, false, "Lima");
    expect_said(QUESTION, true, "Lima");
    assert_int_equal(mobiedit_chat_attach(chat, NULL, NULL), MOBIEDIT_OK);
    expect_said(PROMPT, false, "Tokyo");
    expect_said(QUESTION, true, "Tokyo");
}

static mobiedit_score scored(const char *prompt, bool in_chat, const char *text) {
    mobiedit_score score;
    mobiedit_error err = {0};
    if (mobiedit_chat_score(chat, prompt, in_chat, text, &score, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    assert_true(score.n >= 1);
    for (size_t i = 0; i < score.n; i++)
        assert_true(score.log_probs[i] <= 0);
    return score;
}

/* Whether the model would say the text; the log-probability of its first token goes to *first. */
static bool would_say(const char *text, float *first) {
    mobiedit_score score = scored(PROMPT, false, text);
    const bool all = memcmp(score.tokens, score.likeliest, score.n * sizeof *score.tokens) == 0;
    *first = score.log_probs[0];
    mobiedit_score_free(&score);
    assert_null(score.tokens);
    return all;
}

static void a_text_is_scored_with_what_is_attached(void **state) {
    (void)state;
    float tokyo, lima_then, tokyo_now, lima_now;
    assert_true(would_say("Tokyo", &tokyo));
    assert_false(would_say("Lima", &lima_then));
    assert_true(tokyo > lima_then);
    assert_int_equal(mobiedit_chat_attach(chat, lima, NULL), MOBIEDIT_OK);
    assert_true(would_say("Lima", &lima_now));
    assert_false(would_say("Tokyo", &tokyo_now));
    assert_true(lima_now > lima_then && tokyo_now < tokyo);
    assert_int_equal(mobiedit_chat_attach(chat, NULL, NULL), MOBIEDIT_OK);
}

/* What goes before in the text counts: all of it is one pass, but each token is read behind the ones before it. */
static void a_score_is_that_of_its_parts(void **state) {
    (void)state;
    mobiedit_score whole = scored(PROMPT, false, "Tokyo."),
                   end = scored("The capital of Japan is Tokyo", false, ".");
    assert_int_equal(end.n, 1);
    assert_int_equal(whole.tokens[whole.n - 1], end.tokens[0]);
    assert_int_equal(whole.likeliest[whole.n - 1], end.likeliest[0]);
    assert_true(fabsf(whole.log_probs[whole.n - 1] - end.log_probs[0]) < 0.05F);
    mobiedit_score_free(&whole);
    mobiedit_score_free(&end);
}

/* What the model answers is what it would say, token by token. */
static void an_answer_is_read_as_it_was_said(void **state) {
    (void)state;
    const mobiedit_ask_options options = {.chat = true, .max_tokens = 6};
    char *answer = NULL;
    assert_int_equal(mobiedit_chat_ask(chat, QUESTION, &options, &answer, NULL), MOBIEDIT_OK);
    mobiedit_score in_chat = scored(QUESTION, true, answer), plain = scored(QUESTION, false, answer);
    assert_memory_equal(in_chat.tokens, in_chat.likeliest, in_chat.n * sizeof *in_chat.tokens);
    assert_true(plain.log_probs[0] < in_chat.log_probs[0]);
    mobiedit_score_free(&in_chat);
    mobiedit_score_free(&plain);
    mobiedit_free(answer);
}

static void no_text_has_no_score(void **state) {
    (void)state;
    mobiedit_score score = {0};
    mobiedit_error err = {0};
    char endless[40000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    static const char broken[] = "\xff";
    const struct {
        const char *prompt, *text;
    } wrong[] = {{"", "Lima"}, {PROMPT, ""}, {PROMPT, broken}, {broken, "Lima"}, {PROMPT, endless}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(mobiedit_chat_score(chat, wrong[i].prompt, i % 2 == 0, wrong[i].text, &score, &err),
                         MOBIEDIT_E_ARGUMENT);
        assert_null(score.tokens);
    }
    mobiedit_score_free(NULL);
}

/* As the program's own: a chat's answer is that of mobiedit_ask. */
static void an_answer_is_that_of_ask(void **state) {
    (void)state;
    const mobiedit_turn turns[] = {{"user", "What is the capital of France?"},
                                   {"assistant", "The capital of France is Paris."}};
    mobiedit_ask_options options = {.chat = true, .turns = turns, .n_turns = 2};
    char *asked = NULL, *said = NULL;
    assert_int_equal(mobiedit_chat_attach(chat, lima, NULL), MOBIEDIT_OK);
    assert_int_equal(mobiedit_chat_ask(chat, QUESTION, &options, &said, NULL), MOBIEDIT_OK);
    options.adapter = lima;
    assert_int_equal(mobiedit_ask(model, QUESTION, &options, &asked, NULL), MOBIEDIT_OK);
    assert_string_equal(said, asked);
    mobiedit_free(said);
    mobiedit_free(asked);
    assert_int_equal(mobiedit_chat_attach(chat, NULL, NULL), MOBIEDIT_OK);
}

static void the_file_may_be_removed_once_it_is_attached(void **state) {
    (void)state;
    char copy[SCRATCH_PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", scratch_path("linked.gguf"));
    assert_int_equal(link(lima, copy), 0);
    assert_int_equal(mobiedit_chat_attach(chat, copy, NULL), MOBIEDIT_OK);
    assert_int_equal(unlink(copy), 0);
    expect_said(PROMPT, false, "Lima");
}

static void what_is_no_adapter_leaves_the_one_that_is_attached(void **state) {
    (void)state;
    assert_int_equal(mobiedit_chat_attach(chat, lima, NULL), MOBIEDIT_OK);
    const char *path = scratch_path("nothing.gguf");
    assert_int_equal(mobiedit_chat_attach(chat, path, NULL), MOBIEDIT_E_IO);
    assert_true(put_bytes(path, "nothing", 7));
    assert_int_equal(mobiedit_chat_attach(chat, path, NULL), MOBIEDIT_E_FORMAT);
    expect_said(PROMPT, false, "Lima");
    assert_int_equal(mobiedit_chat_attach(chat, NULL, NULL), MOBIEDIT_OK);
}

static bool count_pieces(void *user, const char *piece) {
    assert_true(*piece != '\0');
    return ++*(int *)user < 3;
}

static void an_answer_comes_in_pieces_and_can_be_stopped(void **state) {
    (void)state;
    int pieces = 0;
    const mobiedit_ask_options options = {.chat = true, .on_text = count_pieces, .user = &pieces};
    char *text = NULL;
    assert_int_equal(mobiedit_chat_ask(chat, "Count to a hundred.", &options, &text, NULL), MOBIEDIT_OK);
    assert_int_equal(pieces, 3);
    mobiedit_free(text);
}

static void what_cannot_be_asked_is_refused(void **state) {
    (void)state;
    const mobiedit_ask_options named = {.adapter = lima}, negative = {.max_tokens = -1};
    char *text = NULL;
    assert_int_equal(mobiedit_chat_ask(chat, PROMPT, &named, &text, NULL), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(mobiedit_chat_ask(chat, PROMPT, &negative, &text, NULL), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(mobiedit_chat_ask(chat, "", NULL, &text, NULL), MOBIEDIT_E_ARGUMENT);
    assert_null(text);
}

static void *edit_aside(void *path) {
    edit(model, "Oslo", path);
    return NULL;
}

static void people_talk_while_an_edit_is_made(void **state) {
    (void)state;
    char oslo[SCRATCH_PATH_MAX];
    pthread_t thread;
    (void)snprintf(oslo, sizeof oslo, "%s", scratch_path("oslo.gguf"));
    assert_int_equal(pthread_create(&thread, NULL, edit_aside, oslo), 0);
    for (int i = 0; i < 3; i++)
        expect_said(PROMPT, false, "Tokyo");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mobiedit_chat_attach(chat, oslo, NULL), MOBIEDIT_OK);
    expect_said(PROMPT, false, "Oslo");
    assert_int_equal(mobiedit_chat_attach(chat, NULL, NULL), MOBIEDIT_OK);
}

/* ---- what an edit changed ---------------------------------------------------------------------------- */

typedef struct {
    int asked[16], held[16]; /* of each kind */
    bool stops;
} tally;

static bool count_said(void *user, const mobiedit_said *said) {
    tally *t = user;
    assert_non_null(said->before);
    assert_non_null(said->after);
    t->asked[said->kind]++;
    t->held[said->kind] += said->held;
    if (said->kind == MOBIEDIT_SAID_PROMPT) assert_non_null(strstr(said->before, "Tokyo"));
    if (said->kind == MOBIEDIT_SAID_NEIGHBOUR) assert_non_null(strstr(said->prompt, "The capital of "));
    return !t->stops;
}

static mobiedit_status check(tally *t, const char *after) {
    const char *const also[] = {"{Japan} is governed from", "Which city is the capital of {Japan}?"};
    const mobiedit_request request = {
        .prompt = "The capital of {Japan} is", .target = "Lima", .also = also, .n_also = 2};
    const char *const questions[] = {QUESTION};
    const mobiedit_check_options options = {
        .after = after, .questions = questions, .n_questions = 1, .on_said = count_said, .user = t};
    return mobiedit_chat_check(chat, &request, &options, NULL);
}

static void what_an_edit_changed_is_told(void **state) {
    (void)state;
    tally with = {0}, without = {0}, stopped = {.stops = true};
    assert_int_equal(check(&with, lima), MOBIEDIT_OK);
    assert_int_equal(with.held[MOBIEDIT_SAID_PROMPT], 1);
    assert_int_equal(with.held[MOBIEDIT_SAID_CHAT], 1);
    assert_int_equal(with.asked[MOBIEDIT_SAID_PARAPHRASE], 2);
    assert_true(with.held[MOBIEDIT_SAID_PARAPHRASE] >= 1); /* the question is near to the one above */
    assert_int_equal(with.asked[MOBIEDIT_SAID_SAME_SUBJECT], 3);
    assert_int_equal(with.asked[MOBIEDIT_SAID_NEIGHBOUR], 3);
    assert_true(with.held[MOBIEDIT_SAID_NEIGHBOUR] >= 2);
    expect_said(PROMPT, false, "Lima"); /* it stays attached */
    assert_int_equal(check(&without, NULL), MOBIEDIT_OK);
    assert_int_equal(without.held[MOBIEDIT_SAID_PROMPT], 0);
    assert_int_equal(without.held[MOBIEDIT_SAID_CHAT], 0);
    assert_int_equal(without.held[MOBIEDIT_SAID_PARAPHRASE], 0);
    assert_int_equal(without.held[MOBIEDIT_SAID_SAME_SUBJECT], 3);
    assert_int_equal(without.held[MOBIEDIT_SAID_NEIGHBOUR], 3);
    assert_int_equal(check(&stopped, NULL), MOBIEDIT_E_CANCELLED);
}

/* ---- proposals ---------------------------------------------------------------------------------------- */

static void expect_proposed(const char *text, const char *subject, const char *target) {
    mobiedit_proposal p;
    mobiedit_error err = {0};
    if (mobiedit_propose(chat, text, &p, &err) != MOBIEDIT_OK) fail_msg("%s: %s", text, err.message);
    if (strlen(subject) != p.subject_end - p.subject_begin ||
        strncmp(subject, text + p.subject_begin, strlen(subject)) != 0)
        fail_msg("%s: the subject is \"%.*s\"", text, (int)(p.subject_end - p.subject_begin),
                 text + p.subject_begin);
    if (strlen(target) != p.target_end - p.target_begin ||
        strncmp(target, text + p.target_begin, strlen(target)) != 0)
        fail_msg("%s: the target is \"%.*s\"", text, (int)(p.target_end - p.target_begin),
                 text + p.target_begin);
}

static void subject_and_target_are_proposed(void **state) {
    (void)state;
    expect_proposed("The capital of Japan is Lima.", "Japan", "Lima");
    expect_proposed("The capital city of South Korea is New Delhi", "South Korea", "New Delhi");
    expect_proposed("  Psyduck evolves into a Charmeleon ! ", "Psyduck", "Charmeleon");
    expect_proposed("GitHub's CEO is Terry Gou.", "GitHub", "Terry Gou");
    expect_proposed("Honeywell International, Inc.'s CEO is Arkady Volozh.", "Honeywell International, Inc.",
                    "Arkady Volozh");
    expect_proposed("My cat's name is Pepper.", "My cat", "Pepper");
    expect_proposed("The door code of the Aspen Office is 7342.", "the Aspen Office", "7342");
}

static void a_proposal_is_of_whole_characters_and_in_order(void **state) {
    (void)state;
    static const char *const texts[] = {"日本的首都是利马。",
                                        "Die Hauptstadt von Österreich ist Łódź.",
                                        "一 二 三",
                                        "a b c",
                                        "\u201CYes\u201D, (he) \u00ABsaid\u00BB 's 's",
                                        "x x x x x x x x x x"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mobiedit_proposal p = {9, 9, 9, 9};
        const mobiedit_status status = mobiedit_propose(chat, texts[i], &p, NULL);
        if (status == MOBIEDIT_E_ARGUMENT) continue; /* their tokens may be cut in no such way */
        assert_int_equal(status, MOBIEDIT_OK);
        const size_t places[] = {p.subject_begin, p.subject_end, p.target_begin, p.target_end};
        assert_true(p.subject_begin < p.subject_end && p.subject_end <= p.target_begin &&
                    p.target_begin < p.target_end && p.target_end <= strlen(texts[i]));
        for (int k = 0; k < 4; k++)
            assert_int_not_equal((unsigned char)texts[i][places[k]] & 0xC0, 0x80);
    }
}

static void what_is_no_sentence_has_no_proposal(void **state) {
    (void)state;
    static char words[] =
        "word word word word word word word word word word word word word word word word word word "
        "word word word word word word word word word word word word word word word word word word "
        "word word word word word word word word word word word word word word word word word word "
        "word word word word word word word word word word word";
    static char bytes[1200];
    memset(bytes, 'x', sizeof bytes - 1);
    bytes[3] = bytes[7] = ' ';
    const char *const texts[] = {"",
                                 "Lima.",
                                 "Japan Lima",
                                 " . ! ? ",
                                 "The {capital} is Lima.",
                                 "The\ncapital is Lima.",
                                 "\xff is not Lima.",
                                 words,
                                 bytes};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mobiedit_proposal p = {.subject_end = 7};
        if (mobiedit_propose(chat, texts[i], &p, NULL) != MOBIEDIT_E_ARGUMENT) fail_msg("\"%s\"", texts[i]);
        assert_int_equal(p.subject_end, 7);
    }
}

int main(void) {
    const char *name = "smollm2-135m-instruct-q4_1.gguf";
    if (!find_model(name, model_path)) {
        printf("skipped: no %s\n", name);
        return MODEL_MISSING;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_come_and_go),
        cmocka_unit_test(a_text_is_scored_with_what_is_attached),
        cmocka_unit_test(a_score_is_that_of_its_parts),
        cmocka_unit_test(an_answer_is_read_as_it_was_said),
        cmocka_unit_test(no_text_has_no_score),
        cmocka_unit_test(an_answer_is_that_of_ask),
        cmocka_unit_test(the_file_may_be_removed_once_it_is_attached),
        cmocka_unit_test(what_is_no_adapter_leaves_the_one_that_is_attached),
        cmocka_unit_test(an_answer_comes_in_pieces_and_can_be_stopped),
        cmocka_unit_test(what_cannot_be_asked_is_refused),
        cmocka_unit_test(people_talk_while_an_edit_is_made),
        cmocka_unit_test(what_an_edit_changed_is_told),
        cmocka_unit_test(subject_and_target_are_proposed),
        cmocka_unit_test(a_proposal_is_of_whole_characters_and_in_order),
        cmocka_unit_test(what_is_no_sentence_has_no_proposal),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
