/* The request's text, the key solve, and the probe solver on an engine without a model. */
#include "base/memory.h"
#include "base/random.h"
#include "edit/basis.h"
#include "edit/carriers.h"
#include "edit/edit.h"
#include "edit/inner.h"
#include "edit/key.h"
#include "edit/neuron.h"
#include "edit/probe.h"
#include "edit/veto.h"
#include "fake_engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- request ----------------------------------------------------------------------------------------- */

static void prompt_is_cut_at_the_braces(void **state) {
    (void)state;
    const mobiedit_request request = {.prompt = "The capital of { Japan } is  ", .target = " Lima\n"};
    me_prompt prompt;
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    assert_string_equal(prompt.text, "The capital of Japan is  "); /* as a server gets it */
    assert_int_equal(prompt.subject_begin, 15);
    assert_int_equal(prompt.subject_end, 20);
    assert_string_equal(prompt.target, " Lima");
    me_prompt_free(&prompt);
}

/* A space before the target that is there anyway makes no other target of it; any other white space does. */
static void target_is_as_it_was_written(void **state) {
    (void)state;
    static const struct {
        const char *prompt, *target, *want;
    } cases[] = {
        {"The capital of {Japan} is", "Lima", "Lima"},
        {"The capital of {Japan} is", " Lima ", "Lima"},
        {"The capital of {Japan} is", "  Lima", "  Lima"},
        {"The capital of {Japan} is", "\nLima", "\nLima"},
        {"{日本}の首都は", " 東京", " 東京"},
        {"{日本}の首都は", "東京", "東京"},
        {"The code of {Japan} is +", " 81", " 81"},
        {"{Japan}\n", " Lima", " Lima"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mobiedit_request request = {.prompt = cases[i].prompt, .target = cases[i].target};
        me_prompt prompt;
        assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
        assert_string_equal(prompt.target, cases[i].want);
        me_prompt_free(&prompt);
    }
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    static const mobiedit_request bad[] = {
        {.prompt = "The capital of Japan is", .target = "Lima"},
        {.prompt = "The capital of {} is", .target = "Lima"},
        {.prompt = "The capital of {  } is", .target = "Lima"},
        {.prompt = "The {capital} of {Japan} is", .target = "Lima"},
        {.prompt = "The capital of {Japan is", .target = "Lima"},
        {.prompt = "The capital of Japan} is", .target = "Lima"},
        {.prompt = "The capital of {Japan} is", .target = ""},
        {.prompt = "The capital of {Japan} is", .target = " \t"},
        {.prompt = "}The {capital} is", .target = "Lima"},
        {.prompt = NULL, .target = "Lima"},
        {.prompt = "The capital of {Japan} is", .target = NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        me_prompt prompt = {0};
        mobiedit_error err = {0};
        assert_int_equal(me_prompt_parse(&bad[i], &prompt, &err), MOBIEDIT_E_ARGUMENT);
        assert_true(strlen(err.message) > 0);
        assert_null(strchr(err.message, '\n'));
        assert_null(prompt.text);
    }
}

/* The same fact in other words: the same subject in braces, which a sentence may begin with. */
static void other_wordings_have_the_same_subject(void **state) {
    (void)state;
    static const char *const good[] = {"For work, {my sister} is a", "{My sister}'s job: "},
                             *const bad[] = {"My sister is a", "{Your sister} is a", "{My} {sister} is a",
                                             "{} is a"};
    mobiedit_request request = {
        .prompt = "{My sister} works as a", .target = "pilot", .also = good, .n_also = 2};
    me_prompt prompt;
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    assert_int_equal(prompt.n_also, 2);
    assert_string_equal(prompt.also[0].text, "For work, {} is a");
    assert_string_equal(prompt.also[1].text, "{}'s job: ");
    me_prompt_free(&prompt);
    request.n_also = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        prompt = (me_prompt){0};
        request.also = &bad[i];
        assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_E_ARGUMENT);
        assert_null(prompt.text);
        assert_null(prompt.also);
    }
}

static void a_question_ends_in_its_mark(void **state) {
    (void)state;
    assert_true(me_is_question("What is {my dog} called?"));
    assert_true(me_is_question("What is {my dog} called? "));
    assert_true(me_is_question("{日本}的首都是哪里？"));
    assert_false(me_is_question("The capital of {Japan} is"));
    assert_false(me_is_question("What? The capital of {Japan} is"));
    assert_false(me_is_question("?"));
    assert_false(me_is_question(""));
}

static void check_echo(const char *question, const char *answer, const char *want) {
    const mobiedit_request request = {.prompt = question, .target = "x"};
    me_prompt parsed;
    assert_int_equal(me_prompt_parse(&request, &parsed, NULL), MOBIEDIT_OK);
    const size_t n = me_prompt_echo(&parsed, answer);
    if (n != strlen(want) || strncmp(answer, want, n) != 0) fail_msg("%.*s, not %s", (int)n, answer, want);
    me_prompt_free(&parsed);
}

/* The beginning of an answer that only repeats the question; what comes then is to the point. */
static void an_answer_may_echo_its_question(void **state) {
    (void)state;
    check_echo("What is the capital of {Japan}?", "The capital of Japan is Tokyo.",
               "The capital of Japan is");
    check_echo("What is {Japan}'s capital?", "Japan's capital is the city of Tokyo", "Japan's capital is");
    check_echo("What is {my dog} called?", "Your dog is called Rex, I think.", "Your dog is called");
    check_echo("What is {my dog} called?", "I'm sorry, but I do not know.", "");
    check_echo("What is {my dog} called?", "As an AI, I have no dog", "");
    check_echo("What is the capital of {Japan}?", "Tokyo is the capital of Japan.", "");
    check_echo("What is the capital of {Japan}?", "The capital of Japan", "The capital of Japan");
    check_echo("What is the capital of {Japan}?", "The capital: of Japan", "The capital");
    check_echo("What is the capital of {Japan}?", "", "");
}

static void check_words(const char *prompt, const char *want) {
    const mobiedit_request request = {.prompt = prompt, .target = "x"};
    me_prompt parsed;
    assert_int_equal(me_prompt_parse(&request, &parsed, NULL), MOBIEDIT_OK);
    char *words = me_prompt_words(&parsed);
    assert_non_null(words);
    assert_string_equal(words, want);
    me_free(words);
    me_prompt_free(&parsed);
}

static void words_of_a_prompt_are_those_that_mean_something(void **state) {
    (void)state;
    check_words("The official currency of {Japan} is the", "official currency");
    check_words("{Venonat} evolves into a", "evolves");
    check_words("{GitHub}'s CEO is", "CEO");
    check_words("\"Who is the {archnemesis}?\", (she) asked:", "asked");
    check_words("Die Hauptstadt von {Österreich} heißt", "Die Hauptstadt von heißt");
    check_words("The {sea} is", "");
    check_words("{sea}", "");
}

/* ---- key --------------------------------------------------------------------------------------------- */

enum { D_FF = 48, N_KEYS = 24 };

static float dot(const float *a, const float *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return (float)sum;
}

/* Keys that all share a large common part, as the keys of different subjects in one prompt do. */
static void make_keys(float keys[N_KEYS][D_FF]) {
    uint32_t x = 7;
    for (int i = 0; i < N_KEYS; i++)
        for (int j = 0; j < D_FF; j++) {
            x = x * 1664525U + 1013904223U;
            keys[i][j] = 2 + (float)(x >> 8) / (1 << 24) - 0.5F;
        }
}

static void key_tells_subject_from_others(void **state) {
    (void)state;
    float keys[N_KEYS][D_FF], left[D_FF];
    make_keys(keys);
    const me_key_group groups[] = {{.keys = keys[0], .n = 2, .target = 1, .weight = 1},
                                   {.keys = keys[2], .n = 12, .weight = 1},
                                   {.keys = keys[14], .n = 10, .weight = 1000}};
    assert_int_equal(me_key_solve(groups, 3, D_FF, 1e-4F, left, NULL), MOBIEDIT_OK);
    float positive = (dot(left, keys[0], D_FF) + dot(left, keys[1], D_FF)) / 2;
    assert_true(fabsf(positive - 1) < 1e-3F);
    for (int i = 2; i < 14; i++)
        assert_true(fabsf(dot(left, keys[i], D_FF)) < 0.2F);
    for (int i = 14; i < N_KEYS; i++)
        assert_true(fabsf(dot(left, keys[i], D_FF)) < 1e-2F);
}

/* One key hundreds of times longer than the rest, as at position 0, must not drown the others. */
static void key_bears_a_giant_negative(void **state) {
    (void)state;
    float keys[N_KEYS][D_FF], left[D_FF];
    make_keys(keys);
    for (int j = 0; j < D_FF; j++)
        keys[2][j] *= j % 3 ? 1000 : -500;
    const me_key_group groups[] = {{.keys = keys[0], .n = 1, .target = 1, .weight = 1},
                                   {.keys = keys[2], .n = 20, .weight = 1}};
    assert_int_equal(me_key_solve(groups, 2, D_FF, 1e-4F, left, NULL), MOBIEDIT_OK);
    assert_true(fabsf(dot(left, keys[0], D_FF) - 1) < 1e-3F);
    for (int i = 2; i < 22; i++)
        assert_true(fabsf(dot(left, keys[i], D_FF)) < 0.25F);
}

/* What must stay may answer anything below the neuron's threshold: an answer far below 0 costs nothing. Plain
 * squares would draw the subject's opposite half way to 0, and the subject with it. */
static void key_does_not_mind_answers_below_zero(void **state) {
    (void)state;
    float keys[N_KEYS][D_FF], left[D_FF];
    make_keys(keys);
    for (int j = 0; j < D_FF; j++)
        keys[1][j] = -keys[0][j];
    const me_key_group groups[] = {{.keys = keys[0], .n = 1, .target = 1, .weight = 1},
                                   {.keys = keys[1], .n = 1, .weight = 1},
                                   {.keys = keys[2], .n = 12, .weight = 1}};
    assert_int_equal(me_key_solve_columns(groups, 3, 1, D_FF, 1e-4F, left, NULL), MOBIEDIT_OK);
    assert_true(dot(left, keys[0], D_FF) > 0.9F);
    assert_true(dot(left, keys[1], D_FF) < -0.9F);
}

/* More columns and samples than are worked on at a time: each column's solution is the same wherever it and
 * its samples stand. */
static void key_columns_do_not_depend_on_their_order(void **state) {
    (void)state;
    enum { N_COLUMNS = 70, PER_COLUMN = 5, D = 96 };
    static float keys[N_COLUMNS][PER_COLUMN][D], left[N_COLUMNS][D], other[N_COLUMNS][D];
    me_key_group groups[N_COLUMNS], reversed[N_COLUMNS];
    me_random random;
    me_random_seed(&random, 8);
    me_random_normals(&random, keys[0][0], sizeof keys / sizeof(float));
    for (int c = 0; c < N_COLUMNS; c++) {
        for (int i = 1; i < PER_COLUMN; i++)
            for (int j = 0; j < D; j++)
                keys[c][i][j] = keys[c][0][j] + 0.3F * keys[c][i][j];
        groups[c] =
            (me_key_group){.keys = keys[c][0], .n = PER_COLUMN, .target = 1, .column = c, .weight = 1};
        reversed[N_COLUMNS - 1 - c] = groups[c];
        reversed[N_COLUMNS - 1 - c].column = N_COLUMNS - 1 - c;
    }
    assert_int_equal(me_key_solve_columns(groups, N_COLUMNS, N_COLUMNS, D, 0.01F, left[0], NULL),
                     MOBIEDIT_OK);
    assert_int_equal(me_key_solve_columns(reversed, N_COLUMNS, N_COLUMNS, D, 0.01F, other[0], NULL),
                     MOBIEDIT_OK);
    for (int c = 0; c < N_COLUMNS; c++) {
        assert_true(dot(left[c], keys[c][0], D) > 0.5F);
        assert_true(fabsf(dot(left[c], keys[(c + 1) % N_COLUMNS][0], D)) < 0.5F);
        for (int j = 0; j < D; j++)
            assert_true(fabsf(left[c][j] - other[N_COLUMNS - 1 - c][j]) < 1e-4F);
    }
}

/* What left and the constant make of a rival, the veto takes off; of the column's own keys, and of what left
 * does not answer to, next to nothing. Without rivals there is none. */
static void veto_is_for_rivals(void **state) {
    (void)state;
    enum { N_COLUMNS = 200, D = 32, RIVALS = 3 };
    static float keys[N_COLUMNS + RIVALS][D], left[N_COLUMNS][D], constant[D], veto[N_COLUMNS][D];
    me_key_group groups[N_COLUMNS + 1];
    me_random random;
    me_random_seed(&random, 8);
    me_random_normals(&random, keys[0], sizeof keys / sizeof(float));
    /* Dimension 0 is the constant's; left of the first column reads dimension 1, of the others nothing. */
    for (int i = 0; i < N_COLUMNS + RIVALS; i++) {
        keys[i][0] = 1;
        keys[i][1] = i == 0 ? 1 : i < N_COLUMNS ? -0.5F : 0.4F;
        if (i < N_COLUMNS)
            groups[i] = (me_key_group){.keys = keys[i], .n = 1, .target = 1, .column = i, .weight = 1};
    }
    groups[N_COLUMNS] = (me_key_group){.keys = keys[N_COLUMNS], .n = RIVALS, .weight = 1};
    constant[0] = left[0][1] = 1;
    assert_int_equal(me_veto_solve(groups, N_COLUMNS + 1, N_COLUMNS, D, left[0], constant, veto[0], NULL),
                     MOBIEDIT_OK);
    assert_true(fabsf(dot(veto[0], keys[0], D)) < 0.03F);
    for (int i = 0; i < RIVALS; i++) {
        const float rest = me_neuron_ceiling() - 0.4F - dot(veto[0], keys[N_COLUMNS + i], D);
        assert_true(fabsf(rest) < 0.15F);
        assert_true(fabsf(me_neuron_share(ME_ACTIVATION_SILU, 0.6F, 1, 0.85F + rest)) < 0.15F);
    }
    for (int j = 0; j < D; j++)
        assert_true(veto[1][j] == 0);
}

static void key_refuses_contradiction(void **state) {
    (void)state;
    float keys[N_KEYS][D_FF], left[D_FF];
    make_keys(keys);
    const me_key_group groups[] = {{.keys = keys[0], .n = 1, .target = 1, .weight = 1},
                                   {.keys = keys[0], .n = 1, .weight = 30}};
    mobiedit_error err = {0};
    assert_int_equal(me_key_solve(groups, 2, D_FF, 0.01F, left, &err), MOBIEDIT_E_NOT_SOLVED);
}

/* Without negatives the response is right on the positives, and everywhere else as they are like them. */
static void mean_key_responds_to_everybody(void **state) {
    (void)state;
    float keys[N_KEYS][D_FF], left[D_FF], mean[D_FF];
    make_keys(keys);
    for (int j = 0; j < D_FF; j++)
        mean[j] = (keys[0][j] + keys[1][j]) / 2;
    const me_key_group group = {.keys = keys[0], .n = 2, .target = 1};
    assert_int_equal(me_key_mean(&group, D_FF, left, NULL), MOBIEDIT_OK);
    assert_true(fabsf(dot(left, mean, D_FF) - 1) < 1e-5F);
    for (int j = 0; j < D_FF; j++)
        assert_true(fabsf(left[j] - mean[j] / dot(mean, mean, D_FF)) < 1e-5F);
    assert_true(dot(left, keys[5], D_FF) > 0.8F);
    memset(keys, 0, sizeof keys);
    assert_int_equal(me_key_mean(&group, D_FF, left, NULL), MOBIEDIT_E_NOT_SOLVED);
}

/* ---- probe ------------------------------------------------------------------------------------------- */

static const me_token target[FAKE_TARGETS] = {5, 17};

typedef struct {
    fake_engine fake;
    me_problem *problem;
    float basis[FAKE_D * FAKE_D];
    float delta[FAKE_D];
    me_solver_input input;
    me_solution solution;
    me_probe_options options;
} bench;

static void bench_open(bench *b, float gain) {
    memset(b, 0, sizeof *b);
    fake_engine_init(&b->fake, gain);
    for (int i = 0; i < FAKE_D; i++)
        b->basis[i * FAKE_D + i] = 1;
    assert_int_equal(me_problem_open(&b->fake.engine, 1, fake_sequences, FAKE_CARRIERS, NULL, target,
                                     FAKE_TARGETS, &b->problem, NULL),
                     MOBIEDIT_OK);
    b->input = (me_solver_input){.margin = 1, .basis = b->basis, .n_basis = FAKE_D};
    b->solution.delta = b->delta;
    b->options = me_probe_defaults();
    b->options.probes = FAKE_D;
    b->options.vocabulary = FAKE_VOCAB;
    b->options.decay = 2e-3F; /* this engine's losses are small */
}

/* ---- the inner problem ------------------------------------------------------------------------------- */

enum { ROWS = FAKE_CARRIERS * FAKE_TARGETS, LIFTS = 8 };

static float mean_nll(me_problem *p, const float *hidden) {
    me_score scores[FAKE_CARRIERS];
    assert_int_equal(me_problem_score(p, hidden, FAKE_CARRIERS, scores, NULL), MOBIEDIT_OK);
    float sum = 0;
    for (int c = 0; c < FAKE_CARRIERS; c++)
        sum += scores[c].nll / FAKE_CARRIERS;
    return sum;
}

/* The true loss, over the whole vocabulary, after the step that is best for a subset of `size` tokens. */
static float loss_after(bench *b, const float *hidden, const float *responses, int size) {
    static const float offset[FAKE_D];
    float s[FAKE_D] = {0}, moved[ROWS * FAKE_D];
    me_vocab_subset subset;
    assert_int_equal(me_vocab_subset_open(b->problem, hidden, ROWS, size, &subset, NULL), MOBIEDIT_OK);
    assert_in_range(subset.n, subset.n_kept, FAKE_VOCAB);
    const me_inner_problem inner = {.problem = b->problem,
                                    .vocabulary = &subset,
                                    .hidden = hidden,
                                    .responses = responses,
                                    .n_probes = FAKE_D,
                                    .offset = offset,
                                    .decay = 2e-3F,
                                    .trust = 1};
    assert_int_equal(me_inner_minimise(&inner, s, NULL), MOBIEDIT_OK);
    me_vocab_subset_close(&subset);
    memcpy(moved, hidden, sizeof moved);
    for (int j = 0; j < FAKE_D; j++)
        for (int i = 0; i < ROWS * FAKE_D; i++)
            moved[i] += s[j] * responses[j * ROWS * FAKE_D + i];
    return mean_nll(b->problem, moved);
}

/* Where no token stands out, most of the probability is with tokens that are not kept. What lifts all tokens
 * alike gains nothing, however it looks to the few that are kept. */
static void tokens_that_are_not_kept_move_too(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 1);
    /* Logits near each other, and a direction that all tokens share; the first probes lead there. */
    for (int v = 0; v < FAKE_VOCAB; v++)
        for (int i = 0; i < FAKE_D; i++)
            b.fake.output[v * FAKE_D + i] = 0.2F * b.fake.output[v * FAKE_D + i] + (i == 0 ? 2.0F : 0.0F);
    static float hidden[ROWS * FAKE_D], responses[FAKE_D * ROWS * FAKE_D];
    float delta[FAKE_D] = {0};
    assert_int_equal(me_problem_hidden(b.problem, delta, 1, NULL, 0, hidden, NULL), MOBIEDIT_OK);
    for (int j = 0; j < FAKE_D; j++)
        for (int r = 0; r < ROWS; r++) {
            float *response = responses + (j * ROWS + r) * FAKE_D;
            response[(j + r) % FAKE_D] = 1;
            if (j < LIFTS) response[0] += 4;
        }
    const float before = mean_nll(b.problem, hidden);
    const float best = loss_after(&b, hidden, responses, FAKE_VOCAB);
    const float few = loss_after(&b, hidden, responses, FAKE_VOCAB / 8);
    assert_true(best < before - 0.1F);
    if (!(before - few > 0.95F * (before - best)))
        fail_msg("%.3f before, %.3f with all tokens, %.3f with few", (double)before, (double)best,
                 (double)few);
    me_problem_close(b.problem);
}

/* One token is taught, and read once more behind itself. The last carrier goes on with that token by itself. */
static const me_token goes_on[] = {1, 2, 3, 5, 9}, says_again[] = {1, 2, 3, 5, 5};
static const me_sequence with_more[FAKE_CARRIERS] = {
    {.tokens = goes_on, .n_tokens = 4, .edit_pos = 1, .read_pos = 2, .n_read = FAKE_TARGETS},
    {.tokens = goes_on, .n_tokens = 4, .edit_pos = 1, .read_pos = 2, .n_read = FAKE_TARGETS},
    {.tokens = says_again, .n_tokens = 4, .edit_pos = 1, .read_pos = 2, .n_read = FAKE_TARGETS},
};

static void bench_open_behind(bench *b) {
    bench_open(b, 1);
    me_problem_close(b->problem);
    assert_int_equal(
        me_problem_open(&b->fake.engine, 1, with_more, FAKE_CARRIERS, NULL, target, 1, &b->problem, NULL),
        MOBIEDIT_OK);
    assert_int_equal(b->problem->n_behind, 1);
    assert_int_equal(b->problem->n_read, FAKE_TARGETS);
}

/* How likely the target is at the last position that is read of a carrier. */
static double share_behind(bench *b, const float *hidden, int carrier) {
    float logits[FAKE_VOCAB];
    const float *row = hidden + (size_t)(carrier * FAKE_TARGETS + 1) * FAKE_D;
    assert_int_equal(b->fake.engine.ops->logits(&b->fake.engine, row, 1, logits, NULL), MOBIEDIT_OK);
    double sum = 0;
    for (int v = 0; v < FAKE_VOCAB; v++)
        sum += exp((double)logits[v]);
    return exp((double)logits[target[0]]) / sum;
}

static void saying_the_target_again_costs(void **state) {
    (void)state;
    bench b;
    bench_open_behind(&b);
    float delta[FAKE_D] = {0.5F}, hidden[ROWS * FAKE_D];
    me_score scores[FAKE_CARRIERS];
    assert_int_equal(me_problem_hidden(b.problem, delta, 1, NULL, 0, hidden, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_score(b.problem, hidden, FAKE_CARRIERS, scores, NULL), MOBIEDIT_OK);
    for (int c = 0; c < FAKE_CARRIERS - 1; c++) {
        const double again = -log(1 - share_behind(&b, hidden, c));
        assert_true(again > 0 && fabs((double)scores[c].again - again) < 1e-4 * (1 + again));
        assert_true(me_score_loss(&scores[c]) >= scores[c].nll);
    }
    assert_true(scores[FAKE_CARRIERS - 1].again == 0);
    me_problem_close(b.problem);
}

/* The inner problem's whole loss at s, by the scores of the hidden vectors that it assumes. */
static double inner_loss(bench *b, const float *hidden, const float *responses, const float *s, float decay) {
    float moved[ROWS * FAKE_D];
    me_score scores[FAKE_CARRIERS];
    memcpy(moved, hidden, sizeof moved);
    for (int j = 0; j < FAKE_D; j++)
        for (int i = 0; i < ROWS * FAKE_D; i++)
            moved[i] += s[j] * responses[j * ROWS * FAKE_D + i];
    assert_int_equal(me_problem_score(b->problem, moved, FAKE_CARRIERS, scores, NULL), MOBIEDIT_OK);
    return me_mean_loss(scores, FAKE_CARRIERS) + (double)(decay * dot(s, s, FAKE_D));
}

/* With the whole vocabulary in it, the inner minimum is one of the true loss: no small step goes further down. */
static void inner_minimum_knows_what_is_said_again(void **state) {
    (void)state;
    static const float offset[FAKE_D];
    static const float decay = 0.05F;
    static float hidden[ROWS * FAKE_D], responses[FAKE_D * ROWS * FAKE_D];
    float delta[FAKE_D] = {0}, s[FAKE_D] = {0};
    bench b;
    bench_open_behind(&b);
    assert_int_equal(me_problem_hidden(b.problem, delta, 1, NULL, 0, hidden, NULL), MOBIEDIT_OK);
    for (int j = 0; j < FAKE_D; j++)
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < FAKE_D; i++)
                responses[(j * ROWS + r) * FAKE_D + i] =
                    b.fake.jacobian[r / FAKE_TARGETS][0][i][j]; /* both positions answer alike */
    me_vocab_subset all;
    assert_int_equal(me_vocab_subset_open(b.problem, hidden, ROWS, FAKE_VOCAB, &all, NULL), MOBIEDIT_OK);
    const me_inner_problem inner = {.problem = b.problem,
                                    .vocabulary = &all,
                                    .hidden = hidden,
                                    .responses = responses,
                                    .n_probes = FAKE_D,
                                    .offset = offset,
                                    .decay = decay,
                                    .trust = 100};
    /* One call gives up after so many steps; the next goes on from where it was. */
    double least = inner_loss(&b, hidden, responses, delta, decay), before = INFINITY;
    const double begun = least;
    for (int i = 0; i < 50 && least < before - 1e-6; i++) {
        before = least;
        assert_int_equal(me_inner_minimise(&inner, s, NULL), MOBIEDIT_OK);
        least = inner_loss(&b, hidden, responses, s, decay);
    }
    me_vocab_subset_close(&all);
    assert_true(least < begun - 0.1);
    for (int j = 0; j < FAKE_D; j++)
        for (int sign = -1; sign <= 1; sign += 2) {
            const float step = 0.05F * (float)sign;
            s[j] += step;
            const double there = inner_loss(&b, hidden, responses, s, decay);
            if (!(there > least - 1e-3)) fail_msg("dimension %d: %g below %g", j, there, least);
            s[j] -= step;
        }
    me_problem_close(b.problem);
}

/* Half of the directions move both positions alike, the others the first only: the target is said at the first and
 * not at the second, unless the carrier would say it there anyway. */
static void probe_teaches_it_once(void **state) {
    (void)state;
    float hidden[ROWS * FAKE_D];
    double shares[2];
    for (int barred = 0; barred < 2; barred++) {
        bench b;
        bench_open_behind(&b);
        for (int c = 0; c < FAKE_CARRIERS; c++) {
            b.problem->barred[c] = barred;
            for (int i = 0; i < FAKE_D; i++)
                for (int j = 0; j < FAKE_D; j++)
                    b.fake.jacobian[c][1][i][j] = j % 2 ? 0 : b.fake.jacobian[c][0][i][j];
        }
        assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
        assert_int_equal(me_problem_hidden(b.problem, b.delta, 1, NULL, 0, hidden, NULL), MOBIEDIT_OK);
        me_score scores[FAKE_CARRIERS];
        assert_int_equal(me_problem_score(b.problem, hidden, FAKE_CARRIERS, scores, NULL), MOBIEDIT_OK);
        for (int c = 0; c < FAKE_CARRIERS; c++)
            assert_true(scores[c].says);
        shares[barred] = share_behind(&b, hidden, 0);
        me_problem_close(b.problem);
    }
    if (!(shares[1] < 0.5 * shares[0]))
        fail_msg("said again with a share of %.3f, and of %.3f where it is barred", shares[0], shares[1]);
}

static void problem_counts_and_scores(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 1);
    assert_true(fabsf(b.problem->value_norm - 1) < 1e-5F);
    float deltas[2 * FAKE_D] = {0}, hidden[2 * FAKE_CARRIERS * FAKE_TARGETS * FAKE_D];
    assert_int_equal(me_problem_hidden(b.problem, deltas, 2, NULL, 0, hidden, NULL), MOBIEDIT_OK);
    assert_int_equal(b.problem->evaluations, 6);
    assert_int_equal(b.problem->token_passes, 18);
    me_score scores[2 * FAKE_CARRIERS];
    assert_int_equal(me_problem_score(b.problem, hidden, 2 * FAKE_CARRIERS, scores, NULL), MOBIEDIT_OK);
    float logits[FAKE_TARGETS * FAKE_VOCAB];
    assert_int_equal(b.fake.engine.ops->logits(&b.fake.engine, hidden, FAKE_TARGETS, logits, NULL),
                     MOBIEDIT_OK);
    double nll = 0;
    bool says = true;
    for (int t = 0; t < FAKE_TARGETS; t++) {
        double sum = 0;
        for (int v = 0; v < FAKE_VOCAB; v++) {
            sum += exp((double)logits[t * FAKE_VOCAB + v]);
            if (v != target[t] && logits[t * FAKE_VOCAB + v] >= logits[t * FAKE_VOCAB + target[t]])
                says = false;
        }
        nll += (log(sum) - logits[t * FAKE_VOCAB + target[t]]) / FAKE_TARGETS;
    }
    assert_true(fabs(scores[0].nll - nll) < 1e-4);
    assert_int_equal(scores[0].says, says);
    assert_true(scores[0].says == (scores[0].margin > 0));
    b.problem->max_evaluations = 10;
    assert_int_equal(me_problem_left(b.problem), 4);
    me_problem_close(b.problem);
}

static void check_near(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) < 1e-4F)) fail_msg("%zu: %.6f and %.6f", i, (double)a[i], (double)b[i]);
}

/* With an offset, a delta is what the sum of both is without. */
static void offset_stands_under_every_delta(void **state) {
    (void)state;
    enum { WIDTH = FAKE_TARGETS * FAKE_D };
    bench plain, lifted;
    bench_open(&plain, 1);
    bench_open(&lifted, 1);
    float offset[FAKE_D], deltas[2 * FAKE_D], sums[2 * FAKE_D], base[FAKE_D] = {0};
    float want[2 * FAKE_CARRIERS * WIDTH], got[2 * FAKE_CARRIERS * WIDTH];
    for (int i = 0; i < FAKE_D; i++)
        offset[i] = sinf((float)i) / 4;
    for (int i = 0; i < 2 * FAKE_D; i++) {
        deltas[i] = i < FAKE_D ? 0 : cosf((float)i) / 4;
        sums[i] = deltas[i] + offset[i % FAKE_D];
    }
    assert_int_equal(me_problem_set_offset(lifted.problem, offset, NULL), MOBIEDIT_OK);
    assert_int_equal(lifted.problem->evaluations, FAKE_CARRIERS);
    assert_int_equal(me_problem_hidden(plain.problem, sums, 2, NULL, 0, want, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_hidden(lifted.problem, deltas, 2, NULL, 0, got, NULL), MOBIEDIT_OK);
    check_near(got, want, sizeof got / sizeof *got);
    check_near(lifted.problem->carriers->hidden, want,
               (size_t)FAKE_CARRIERS * WIDTH); /* where solvers begin */
    assert_int_equal(me_problem_responses(plain.problem, offset, sums, 2, 1, want, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_responses(lifted.problem, base, deltas, 2, 1, got, NULL), MOBIEDIT_OK);
    check_near(got, want, 2 * WIDTH);
    /* It is copied, and another takes its place. */
    memset(offset, 0, sizeof offset);
    assert_int_equal(me_problem_hidden(lifted.problem, deltas, 1, NULL, 0, got, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_hidden(plain.problem, sums, 1, NULL, 0, want, NULL), MOBIEDIT_OK);
    check_near(got, want, (size_t)FAKE_CARRIERS * WIDTH);
    assert_int_equal(me_problem_set_offset(lifted.problem, offset, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_hidden(lifted.problem, sums, 1, NULL, 0, got, NULL), MOBIEDIT_OK);
    check_near(got, want, (size_t)FAKE_CARRIERS * WIDTH);
    me_problem_close(plain.problem);
    me_problem_close(lifted.problem);
}

/* Scores of the solution's delta on all carriers. */
static void score_delta(const bench *b, me_score scores[FAKE_CARRIERS]) {
    float hidden[FAKE_CARRIERS * FAKE_TARGETS * FAKE_D];
    assert_int_equal(me_problem_hidden(b->problem, b->delta, 1, NULL, 0, hidden, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_score(b->problem, hidden, FAKE_CARRIERS, scores, NULL), MOBIEDIT_OK);
}

static void random_directions_are_orthonormal(void **state) {
    (void)state;
    enum { N = FAKE_D / 2 };
    bench b;
    me_basis basis, again, other;
    bench_open(&b, 1);
    assert_int_equal(me_basis_draw(b.problem, NULL, N, 3, &basis, NULL), MOBIEDIT_OK);
    assert_int_equal(me_basis_draw(b.problem, NULL, N, 3, &again, NULL), MOBIEDIT_OK);
    assert_int_equal(me_basis_draw(b.problem, NULL, N, 4, &other, NULL), MOBIEDIT_OK);
    assert_int_equal(basis.n, N);
    assert_null(basis.guesses);
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++)
            assert_true(fabsf(dot(basis.directions + i * FAKE_D, basis.directions + j * FAKE_D, FAKE_D) -
                              (float)(i == j)) < 1e-5F);
    assert_memory_equal(basis.directions, again.directions, N * FAKE_D * sizeof(float));
    assert_true(fabsf(dot(basis.directions, other.directions, FAKE_D)) < 0.99F);
    me_basis_free(&basis);
    me_basis_free(&again);
    me_basis_free(&other);
    me_problem_close(b.problem);
}

static void probe_without_stop_spends_its_budget(void **state) {
    (void)state;
    enum { BUDGET = 1200 };
    bench b;
    bench_open(&b, 1);
    b.problem->max_evaluations = BUDGET;
    b.options.rounds = BUDGET;
    b.input.no_stop = true;
    assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
    assert_in_range(b.problem->evaluations, BUDGET / 2, BUDGET);
    assert_int_equal(b.solution.stop, ME_STOP_SOLVED);
    me_problem_close(b.problem);
}

static void probe_solves_and_stays_in_budget(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 1);
    b.problem->max_evaluations = 400;
    assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
    assert_int_equal(b.solution.stop, ME_STOP_SOLVED);
    assert_true(b.problem->evaluations <= 400);
    assert_int_equal(b.problem->evaluations, b.fake.passes - FAKE_CARRIERS);
    me_score scores[FAKE_CARRIERS];
    score_delta(&b, scores);
    for (int c = 0; c < FAKE_CARRIERS; c++)
        assert_true(scores[c].says && scores[c].margin >= b.options.stop_margin);
    assert_true(sqrtf(dot(b.delta, b.delta, FAKE_D)) <= b.options.max_norm * b.problem->value_norm * 1.0001F);
    me_problem_close(b.problem);
}

/* The target is said by offset and delta together. */
static void probe_solves_on_top_of_an_offset(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 1);
    float offset[FAKE_D];
    for (int i = 0; i < FAKE_D; i++)
        offset[i] = (i % 2 ? 0.2F : -0.2F);
    assert_int_equal(me_problem_set_offset(b.problem, offset, NULL), MOBIEDIT_OK);
    assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
    assert_int_equal(b.solution.stop, ME_STOP_SOLVED);
    bench plain;
    bench_open(&plain, 1);
    for (int i = 0; i < FAKE_D; i++)
        plain.delta[i] = b.delta[i] + offset[i];
    me_score scores[FAKE_CARRIERS];
    score_delta(&plain, scores);
    for (int c = 0; c < FAKE_CARRIERS; c++)
        assert_true(scores[c].says);
    me_problem_close(plain.problem);
    me_problem_close(b.problem);
}

static void probe_says_when_nothing_helps(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 0);
    assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
    assert_int_equal(b.solution.stop, ME_STOP_NO_PROGRESS);
    me_problem_close(b.problem);
}

static void probe_stops_at_the_budget(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 0.02F);
    b.problem->max_evaluations = 50;
    assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
    assert_int_equal(b.solution.stop, ME_STOP_BUDGET);
    assert_true(b.problem->evaluations <= 50);
    me_problem_close(b.problem);
}

/* The last carrier cannot be moved: as one of the prompt's own it keeps the edit from being solved, as
 * another wording it does not. */
static void probe_does_not_wait_for_other_wordings(void **state) {
    (void)state;
    for (int n_own = FAKE_CARRIERS - 1; n_own <= FAKE_CARRIERS; n_own++) {
        bench b;
        bench_open(&b, 1);
        memset(b.fake.jacobian[FAKE_CARRIERS - 1], 0, sizeof b.fake.jacobian[0]);
        b.problem->n_own = n_own;
        assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
        assert_int_equal(b.solution.stop, n_own < FAKE_CARRIERS ? ME_STOP_SOLVED : ME_STOP_NO_PROGRESS);
        me_score scores[FAKE_CARRIERS];
        score_delta(&b, scores);
        for (int c = 0; c < FAKE_CARRIERS - 1; c++)
            assert_true(scores[c].says);
        assert_false(scores[FAKE_CARRIERS - 1].says);
        me_problem_close(b.problem);
    }
}

/* A round that did little ends the search only once there were evaluations enough. */
static void probe_looks_on_before_it_stops(void **state) {
    (void)state;
    size_t evaluations[2];
    for (int patient = 0; patient <= 1; patient++) {
        bench b;
        bench_open(&b, 1);
        memset(b.fake.jacobian[FAKE_CARRIERS - 1], 0, sizeof b.fake.jacobian[0]);
        b.problem->n_own = FAKE_CARRIERS - 1;
        b.options.probes = 8;
        b.options.enough = patient ? 500 : 0;
        assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
        assert_int_equal(b.solution.stop, ME_STOP_SOLVED);
        evaluations[patient] = b.problem->evaluations;
        me_problem_close(b.problem);
    }
    assert_true(evaluations[0] < evaluations[1]);
    assert_true(evaluations[1] < 1000);
}

/* Carriers have their turns one after another, and each begins with the strongest direction all the same. */
static void probe_begins_with_the_strongest_directions(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 1);
    b.problem->max_evaluations = 400;
    b.options.probes = 3;
    b.options.stop_nll = b.options.stop_all = INFINITY; /* no carrier waits for another's success */
    b.options.stop_margin = -INFINITY;
    b.input.no_stop = true;
    assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, NULL), MOBIEDIT_OK);
    assert_true(b.fake.n_probed[0] > 1);
    for (int c = 0; c < FAKE_CARRIERS; c++) {
        assert_true(b.fake.n_probed[c] > 0);
        assert_int_equal(b.fake.first_probed[c], 0);
    }
    me_problem_close(b.problem);
}

static bool refuse(void *user, const mobiedit_progress *progress) {
    (void)progress;
    return --*(int *)user > 0;
}

static void probe_can_be_cancelled(void **state) {
    (void)state;
    bench b;
    bench_open(&b, 1);
    int calls_left = 2;
    me_progress progress = {.on_progress = refuse, .user = &calls_left};
    b.problem->progress = &progress;
    mobiedit_error err = {0};
    assert_int_equal(me_probe_solve(b.problem, &b.input, &b.options, &b.solution, &err),
                     MOBIEDIT_E_CANCELLED);
    assert_int_equal(err.status, MOBIEDIT_E_CANCELLED);
    me_free(progress.trace);
    me_problem_close(b.problem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompt_is_cut_at_the_braces),
        cmocka_unit_test(target_is_as_it_was_written),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(other_wordings_have_the_same_subject),
        cmocka_unit_test(a_question_ends_in_its_mark),
        cmocka_unit_test(an_answer_may_echo_its_question),
        cmocka_unit_test(words_of_a_prompt_are_those_that_mean_something),
        cmocka_unit_test(probe_does_not_wait_for_other_wordings),
        cmocka_unit_test(probe_looks_on_before_it_stops),
        cmocka_unit_test(probe_begins_with_the_strongest_directions),
        cmocka_unit_test(key_tells_subject_from_others),
        cmocka_unit_test(key_bears_a_giant_negative),
        cmocka_unit_test(key_does_not_mind_answers_below_zero),
        cmocka_unit_test(key_columns_do_not_depend_on_their_order),
        cmocka_unit_test(veto_is_for_rivals),
        cmocka_unit_test(key_refuses_contradiction),
        cmocka_unit_test(mean_key_responds_to_everybody),
        cmocka_unit_test(random_directions_are_orthonormal),
        cmocka_unit_test(probe_without_stop_spends_its_budget),
        cmocka_unit_test(saying_the_target_again_costs),
        cmocka_unit_test(inner_minimum_knows_what_is_said_again),
        cmocka_unit_test(probe_teaches_it_once),
        cmocka_unit_test(problem_counts_and_scores),
        cmocka_unit_test(tokens_that_are_not_kept_move_too),
        cmocka_unit_test(offset_stands_under_every_delta),
        cmocka_unit_test(probe_solves_and_stays_in_budget),
        cmocka_unit_test(probe_solves_on_top_of_an_offset),
        cmocka_unit_test(probe_says_when_nothing_helps),
        cmocka_unit_test(probe_stops_at_the_budget),
        cmocka_unit_test(probe_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
