/* What an edit keeps of its subject, on an engine without a model. */
#include "edit/inner.h"
#include "edit/kept.h"
#include "edit/probe.h"
#include "fake_engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N = 2, WIDTH = FAKE_TARGETS * FAKE_D, ROWS = (FAKE_CARRIERS + N) * FAKE_TARGETS };
static const me_token target[FAKE_TARGETS] = {5, 17};

static me_problem *open_problem(fake_engine *fake, float weight) {
    me_problem *problem = NULL;
    me_prefix *prefix = NULL;
    fake_engine_init(fake, 1);
    assert_int_equal(me_problem_open(&fake->engine, 1, fake_sequences, FAKE_CARRIERS, NULL, target,
                                     FAKE_TARGETS, &problem, NULL),
                     MOBIEDIT_OK);
    assert_int_equal(fake->engine.ops->prefix(&fake->engine, 1, fake_sequences, N, &prefix, NULL),
                     MOBIEDIT_OK);
    assert_int_equal(me_kept_of(&fake->engine, prefix, &problem->kept, NULL), MOBIEDIT_OK);
    problem->kept_weight = weight;
    return problem;
}

static void some_delta(float delta[FAKE_D]) {
    for (int i = 0; i < FAKE_D; i++)
        delta[i] = 0.3F * cosf((float)i);
}

/* Probabilities of one row, over the whole vocabulary. */
static void probabilities(fake_engine *fake, const float *hidden, double p[FAKE_VOCAB]) {
    float logits[FAKE_VOCAB];
    double sum = 0;
    assert_int_equal(fake->engine.ops->logits(&fake->engine, hidden, 1, logits, NULL), MOBIEDIT_OK);
    for (int v = 0; v < FAKE_VOCAB; v++)
        sum += p[v] = exp((double)logits[v]);
    for (int v = 0; v < FAKE_VOCAB; v++)
        p[v] /= sum;
}

/* KL of one row; where few tokens are named, the others count as one. */
static double kl_row(fake_engine *fake, const me_kept *kept, int row, const float *hidden) {
    double before[FAKE_VOCAB], after[FAKE_VOCAB], kl = 0, rest = 1, rest_after = 1;
    probabilities(fake, kept->prefix->hidden + row * FAKE_D, before);
    probabilities(fake, hidden + row * FAKE_D, after);
    for (int i = 0; i < kept->n_likely; i++) {
        const me_token v = kept->likely[row * ME_KEPT_LIKELY + i];
        kl += before[v] * log(before[v] / after[v]);
        rest -= before[v];
        rest_after -= after[v];
    }
    return rest > 1e-6 ? kl + rest * log(rest / rest_after) : kl;
}

static void check_loss(fake_engine *fake, me_kept *kept, const float *hidden) {
    float kl[N];
    assert_int_equal(me_kept_loss(&fake->engine, kept, hidden, kl, NULL), MOBIEDIT_OK);
    for (int i = 0; i < N; i++) {
        double want = 0;
        for (int t = 0; t < FAKE_TARGETS; t++)
            want += kl_row(fake, kept, i * FAKE_TARGETS + t, hidden) / FAKE_TARGETS;
        assert_true(want > 0.05);
        if (!(fabs(kl[i] - want) < 1e-3)) fail_msg("%d: %.4f, not %.4f", i, (double)kl[i], want);
    }
}

static void loss_is_the_divergence(void **state) {
    (void)state;
    fake_engine fake;
    float delta[FAKE_D], hidden[N * WIDTH], kl[N];
    const int which[N] = {0, 1};
    me_problem *p = open_problem(&fake, 1);
    some_delta(delta);
    assert_int_equal(fake.engine.ops->suffix(&fake.engine, p->kept->prefix, delta, 1, which, N, hidden, NULL),
                     MOBIEDIT_OK);
    check_loss(&fake, p->kept, hidden);
    p->kept->n_likely = FAKE_VOCAB / 8;
    assert_int_equal(me_kept_take(&fake.engine, p->kept, NULL), MOBIEDIT_OK);
    check_loss(&fake, p->kept, hidden);
    assert_int_equal(me_kept_loss(&fake.engine, p->kept, p->kept->prefix->hidden, kl, NULL), MOBIEDIT_OK);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(kl[i]) < 1e-5F);
    me_problem_close(p);
}

static void the_likeliest_tokens_are_named(void **state) {
    (void)state;
    fake_engine fake;
    me_problem *p = open_problem(&fake, 1);
    p->kept->n_likely = FAKE_VOCAB / 8;
    assert_int_equal(me_kept_take(&fake.engine, p->kept, NULL), MOBIEDIT_OK);
    for (int row = 0; row < N * FAKE_TARGETS; row++) {
        double before[FAKE_VOCAB], least = 1;
        bool named[FAKE_VOCAB] = {false};
        probabilities(&fake, p->kept->prefix->hidden + row * FAKE_D, before);
        for (int i = 0; i < p->kept->n_likely; i++) {
            const me_token v = p->kept->likely[row * ME_KEPT_LIKELY + i];
            assert_false(named[v]);
            named[v] = true;
            least = fmin(least, before[v]);
            assert_true(fabs(exp(p->kept->log_probs[row * ME_KEPT_LIKELY + i]) - before[v]) < 1e-5);
        }
        for (int v = 0; v < FAKE_VOCAB; v++)
            assert_true(named[v] || before[v] <= least);
    }
    me_problem_close(p);
}

static void rows_follow_the_carriers(void **state) {
    (void)state;
    fake_engine fake;
    float delta[FAKE_D], all[ROWS * FAKE_D], carriers[FAKE_CARRIERS * WIDTH];
    me_score scores[FAKE_CARRIERS + N], alone[FAKE_CARRIERS];
    float kl[N];
    me_problem *p = open_problem(&fake, 0.5F);
    assert_int_equal(me_problem_n_sequences(p), FAKE_CARRIERS + N);
    assert_int_equal(me_problem_first_row(p, FAKE_CARRIERS + N), ROWS);
    some_delta(delta);
    const size_t before = p->evaluations;
    assert_int_equal(me_problem_all_hidden(p, delta, all, NULL), MOBIEDIT_OK);
    assert_int_equal(p->evaluations, before + FAKE_CARRIERS + N);
    assert_int_equal(me_problem_hidden(p, delta, 1, NULL, 0, carriers, NULL), MOBIEDIT_OK);
    assert_memory_equal(all, carriers, sizeof carriers);
    assert_int_equal(me_problem_all_scores(p, all, scores, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_score(p, carriers, FAKE_CARRIERS, alone, NULL), MOBIEDIT_OK);
    assert_int_equal(me_kept_loss(&fake.engine, p->kept, all + FAKE_CARRIERS * WIDTH, kl, NULL), MOBIEDIT_OK);
    for (int i = 0; i < FAKE_CARRIERS; i++)
        assert_true(scores[i].nll == alone[i].nll);
    for (int i = 0; i < N; i++)
        assert_true(scores[FAKE_CARRIERS + i].nll == kl[i]);
    const double loss = me_mean_nll(alone, FAKE_CARRIERS) + 0.5 * (kl[0] + kl[1]) / N;
    assert_true(fabs(me_problem_loss(p, scores) - loss) < 1e-6);
    me_problem_close(p);
}

/* The whole loss after the inner problem's best step, where all responses are exact. */
static double loss_after(me_problem *p, float weight) {
    static float hidden[ROWS * FAKE_D], responses[FAKE_D * ROWS * FAKE_D], moved[ROWS * FAKE_D];
    const float offset[FAKE_D] = {0};
    float s[FAKE_D] = {0}, delta[FAKE_D];
    me_vocab_subset subset;
    me_score scores[FAKE_CARRIERS + N];
    assert_int_equal(me_problem_all_hidden(p, NULL, hidden, NULL), MOBIEDIT_OK);
    for (int j = 0; j < FAKE_D; j++) {
        memset(delta, 0, sizeof delta);
        delta[j] = 1;
        float *response = responses + (size_t)j * ROWS * FAKE_D;
        assert_int_equal(me_problem_all_hidden(p, delta, response, NULL), MOBIEDIT_OK);
        for (int i = 0; i < ROWS * FAKE_D; i++)
            response[i] -= hidden[i];
    }
    const float real = p->kept_weight;
    p->kept_weight = weight;
    assert_int_equal(me_vocab_subset_open(p, hidden, ROWS, FAKE_VOCAB / 4, &subset, NULL), MOBIEDIT_OK);
    const me_inner_problem inner = {.problem = p,
                                    .vocabulary = &subset,
                                    .hidden = hidden,
                                    .responses = responses,
                                    .n_probes = FAKE_D,
                                    .offset = offset,
                                    .decay = 1e-4F,
                                    .trust = 4};
    assert_int_equal(me_inner_minimise(&inner, s, NULL), MOBIEDIT_OK);
    me_vocab_subset_close(&subset);
    p->kept_weight = real;
    memcpy(moved, hidden, sizeof moved);
    for (int j = 0; j < FAKE_D; j++)
        for (int i = 0; i < ROWS * FAKE_D; i++)
            moved[i] += s[j] * responses[j * ROWS * FAKE_D + i];
    assert_int_equal(me_problem_all_scores(p, moved, scores, NULL), MOBIEDIT_OK);
    return me_problem_loss(p, scores);
}

static void the_inner_problem_weighs_what_is_to_stay(void **state) {
    (void)state;
    fake_engine fake;
    me_problem *p = open_problem(&fake, 2);
    const double blind = loss_after(p, 0), seeing = loss_after(p, 2);
    if (!(seeing < 0.8 * blind)) fail_msg("%.3f without, %.3f with", blind, seeing);
    me_problem_close(p);
}

static float changed_by_probe(float weight, me_solution *solution) {
    static float basis[FAKE_D * FAKE_D], delta[FAKE_D];
    fake_engine fake;
    me_problem *p = open_problem(&fake, weight);
    for (int i = 0; i < FAKE_D; i++)
        basis[i * FAKE_D + i] = 1;
    const me_solver_input input = {.margin = 1, .basis = basis, .n_basis = FAKE_D};
    me_probe_options options = me_probe_defaults();
    options.probes = FAKE_D;
    options.vocabulary = FAKE_VOCAB;
    options.rounds = 12;
    *solution = (me_solution){.delta = delta};
    assert_int_equal(me_probe_solve(p, &input, &options, solution, NULL), MOBIEDIT_OK);
    assert_true(fake.n_probed[0] > 0);
    me_problem_close(p);
    return solution->changed;
}

static void probe_keeps_what_is_to_stay(void **state) {
    (void)state;
    me_solution without, with;
    const float free_change = changed_by_probe(1e-3F, &without), change = changed_by_probe(3, &with);
    if (!(change < 0.7F * free_change)) fail_msg("%.3f and %.3f", (double)change, (double)free_change);
    assert_true(with.loss > without.loss); /* the loss told is the carriers' alone */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_is_the_divergence),
        cmocka_unit_test(the_likeliest_tokens_are_named),
        cmocka_unit_test(rows_follow_the_carriers),
        cmocka_unit_test(the_inner_problem_weighs_what_is_to_stay),
        cmocka_unit_test(probe_keeps_what_is_to_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
