/* The minimiser of MobiEdit's estimator on made-up functions: its arithmetic, and every way it ends. */
#include "base/random.h"
#include "edit/spsa.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 16, MAX_EVENTS = 4096, MAX_DIRECTIONS = 8, CARRIERS = 6 };

/* f(x) = sum of slope x + curvature (x - centre)^2 / 2; solved below a level; a budget in deltas. */
typedef struct {
    float slope[N], curvature[N], centre[N];
    double solved_below;              /* of the loss */
    int n_say[MAX_EVENTS];            /* carriers that say the target at each check; the last holds on */
    int n_say_given;                  /* entries of it */
    int budget, spent, refresh_cost;  /* deltas */
    int checks, check_at[MAX_EVENTS]; /* steps taken at each check */
    int refreshes, refresh_at[MAX_EVENTS];
    int reports, cancel_at;  /* report that answers E_CANCELLED; 0: none */
    int loss_calls, fail_at; /* loss call that fails; 0: none */
    double value_at_fail;    /* the loss it gives (NaN), if it does not fail by status */
    double reported[MAX_EVENTS];
} function;

static double value_at(const function *f, const float *x) {
    double sum = 0;
    for (int i = 0; i < N; i++) {
        const double off = (double)x[i] - f->centre[i];
        sum += (double)f->slope[i] * x[i] + .5 * f->curvature[i] * off * off;
    }
    return sum;
}

static mobiedit_status loss(void *context, const float *deltas, int k, double *out, mobiedit_error *err) {
    function *f = context;
    f->loss_calls++;
    f->spent += k;
    for (int i = 0; i < k; i++)
        out[i] = value_at(f, deltas + (size_t)i * N);
    if (f->loss_calls == f->fail_at) {
        if (!isnan(f->value_at_fail)) return me_fail(err, MOBIEDIT_E_CANCELLED, "stopped");
        out[0] = f->value_at_fail;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status check(void *context, const float *delta, me_spsa_check *out, mobiedit_error *err) {
    (void)err;
    function *f = context;
    f->spent++;
    *out = (me_spsa_check){.loss = value_at(f, delta), .n = CARRIERS};
    out->solved = out->loss < f->solved_below;
    const int entry = f->checks < f->n_say_given ? f->checks : f->n_say_given - 1;
    out->n_say = f->n_say_given > 0 ? f->n_say[entry] : out->solved ? CARRIERS : 0;
    f->check_at[f->checks++] = f->loss_calls;
    return MOBIEDIT_OK;
}

static bool affords(void *context, int k) {
    const function *f = context;
    return f->spent + k <= f->budget;
}

static mobiedit_status refresh(void *context, mobiedit_error *err) {
    (void)err;
    function *f = context;
    f->spent += f->refresh_cost;
    f->refresh_at[f->refreshes++] = f->loss_calls;
    return MOBIEDIT_OK;
}

static mobiedit_status report(void *context, int step, double step_loss, int n_say, mobiedit_error *err) {
    function *f = context;
    assert_int_equal(step, f->reports + 1);
    assert_in_range(n_say, 0, CARRIERS);
    f->reported[f->reports++] = step_loss;
    if (f->reports == f->cancel_at) return me_fail(err, MOBIEDIT_E_CANCELLED, "stopped");
    return MOBIEDIT_OK;
}

static me_spsa_objective objective_of(function *f) {
    return (me_spsa_objective){.context = f,
                               .n = N,
                               .unit = 1,
                               .loss = loss,
                               .check = check,
                               .affords = affords,
                               .refresh = refresh,
                               .report = report};
}

static function plain(void) {
    return (function){.solved_below = -INFINITY, .budget = INT32_MAX - 100, .refresh_cost = 1};
}

/* A bowl of unequal curvatures around a centre of length about 2. */
static function bowl(void) {
    function f = plain();
    for (int i = 0; i < N; i++) {
        f.curvature[i] = .5F + .1F * (float)i;
        f.centre[i] = i % 2 ? .5F : -.5F;
    }
    return f;
}

/* No early end, no decay: the bare descent. */
static me_spsa_options bare(void) {
    me_spsa_options o = me_spsa_defaults;
    o.n_steps = 200;
    o.decay = 0;
    o.clamp = 100;
    o.patience = INT32_MAX;
    return o;
}

typedef struct {
    float delta[N];
    me_solution solution;
    mobiedit_status status;
    mobiedit_error err;
} outcome;

static void minimise(function *f, const me_spsa_options *o, uint64_t seed, outcome *out) {
    const me_spsa_objective objective = objective_of(f);
    memset(out, 0, sizeof *out);
    out->solution.delta = out->delta;
    out->status = me_spsa_minimise(&objective, o, seed, &out->solution, &out->err);
}

/* On a linear function central differences are exact: the whole path follows from the directions, step by
 * step, by the update's definition. */
static void expected_path(const function *f, const me_spsa_options *o, uint64_t seed, double *x) {
    static float v[MAX_DIRECTIONS][N];
    double move[N] = {0};
    me_random random;
    me_random_seed(&random, seed);
    memset(x, 0, N * sizeof *x);
    for (int step = 0; step < o->n_steps; step++) {
        me_random_normals(&random, v[0], (size_t)o->n_directions * N);
        for (int i = 0; i < N; i++)
            move[i] *= o->momentum;
        for (int k = 0; k < o->n_directions; k++) {
            double along = 0;
            for (int i = 0; i < N; i++)
                along += (double)f->slope[i] * v[k][i];
            for (int i = 0; i < N; i++)
                move[i] += along * v[k][i] / o->n_directions;
        }
        for (int i = 0; i < N; i++)
            x[i] -= o->step * .5 * (1 + cos(acos(-1) * step / o->n_steps)) * move[i];
    }
}

static void a_linear_function_gives_the_exact_path(void **state) {
    (void)state;
    const float momenta[] = {0, .7F};
    for (int m = 0; m < 2; m++) {
        function f = plain();
        for (int i = 0; i < N; i++)
            f.slope[i] = (float)(i - 5) * .25F;
        me_spsa_options o = bare();
        o.n_steps = 12;
        o.difference = .25F;
        o.momentum = momenta[m];
        outcome out;
        minimise(&f, &o, 3, &out);
        assert_int_equal(out.status, MOBIEDIT_OK);
        double x[N];
        expected_path(&f, &o, 3, x);
        for (int i = 0; i < N; i++)
            assert_true(fabs(out.delta[i] - x[i]) < 1e-5);
    }
}

static void a_bowl_is_descended_to_its_floor(void **state) {
    (void)state;
    function f = bowl();
    me_spsa_options o = bare();
    outcome out;
    minimise(&f, &o, 1, &out);
    assert_int_equal(out.status, MOBIEDIT_OK);
    assert_int_equal(out.solution.stop, ME_STOP_BUDGET);
    assert_int_equal(out.solution.rounds, o.n_steps);
    assert_int_equal(f.loss_calls, o.n_steps);
    assert_int_equal(f.reports, o.n_steps);
    const float zero[N] = {0};
    assert_true(value_at(&f, out.delta) < .01 * value_at(&f, zero));
    assert_true(fabs(out.solution.loss - value_at(&f, out.delta)) < 1e-6);
    assert_true(f.reported[o.n_steps - 1] < .01 * f.reported[0]);
}

static void the_seed_alone_decides_the_path(void **state) {
    (void)state;
    function f = bowl(), g = bowl(), h = bowl();
    me_spsa_options o = bare();
    o.n_steps = 30;
    outcome a, b, c;
    minimise(&f, &o, 1, &a);
    minimise(&g, &o, 1, &b);
    minimise(&h, &o, 2, &c);
    assert_memory_equal(a.delta, b.delta, sizeof a.delta);
    assert_memory_not_equal(a.delta, c.delta, sizeof a.delta);
}

static double norm_of(const float *x) {
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static void delta_stays_inside_its_ball(void **state) {
    (void)state;
    function f = plain();
    for (int i = 0; i < N; i++)
        f.slope[i] = 1;
    me_spsa_options o = bare();
    o.clamp = 4;
    const me_spsa_objective whole = objective_of(&f);
    me_spsa_objective objective = whole;
    objective.unit = .25F; /* so the ball's radius is 1 */
    float delta[N];
    me_solution solution = {.delta = delta};
    assert_int_equal(me_spsa_minimise(&objective, &o, 1, &solution, NULL), MOBIEDIT_OK);
    assert_true(fabs(norm_of(delta) - 1) < 1e-5);
}

/* With a decay of w |x|^2 / unit^2 the floor of c (x - t)^2 / 2 moves to c t / (c + 2 w / unit^2), and the
 * reported losses contain the term. */
static void decay_pulls_the_floor_to_zero(void **state) {
    (void)state;
    function f = bowl();
    for (int i = 0; i < N; i++)
        f.curvature[i] = 1;
    me_spsa_options o = bare();
    o.n_steps = 500;
    o.decay = 2;
    me_spsa_objective objective = objective_of(&f);
    objective.unit = 2;
    float delta[N];
    me_solution solution = {.delta = delta};
    assert_int_equal(me_spsa_minimise(&objective, &o, 1, &solution, NULL), MOBIEDIT_OK);
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)delta[i] - f.centre[i] / 2) < .01);
    const double term = 2 * norm_of(delta) * norm_of(delta) / 4;
    assert_true(fabs(solution.loss - value_at(&f, delta) - term) < 1e-5);
}

static void success_ends_the_search(void **state) {
    (void)state;
    function f = bowl();
    f.solved_below = 1;
    me_spsa_options o = bare();
    outcome out;
    minimise(&f, &o, 1, &out);
    assert_int_equal(out.status, MOBIEDIT_OK);
    assert_int_equal(out.solution.stop, ME_STOP_SOLVED);
    assert_true(out.solution.loss < 1);
    assert_true(out.solution.rounds < o.n_steps);
    assert_int_equal(out.solution.rounds % o.check_every, 0);
    assert_int_equal(f.checks, out.solution.rounds / o.check_every);
}

/* The nearer the edit, the sooner the next look: 20 steps, then 20 x 1/2, then 20 x 1/6, then every step
 * where only the margin is missing. */
static void checks_come_sooner_as_carriers_say_the_target(void **state) {
    (void)state;
    function f = plain();
    f.n_say_given = 4;
    f.n_say[1] = 3;
    f.n_say[2] = 5;
    f.n_say[3] = 6;
    me_spsa_options o = bare();
    o.n_steps = 56;
    outcome out;
    minimise(&f, &o, 1, &out);
    const int expected[] = {20, 40, 50, 53, 54, 55, 56};
    assert_int_equal(f.checks, 7);
    assert_memory_equal(f.check_at, expected, sizeof expected);
    assert_int_equal(out.solution.stop, ME_STOP_BUDGET);
}

static void success_at_the_last_step_counts(void **state) {
    (void)state;
    function f = bowl();
    f.solved_below = 1e9;
    me_spsa_options o = bare();
    o.n_steps = 7;
    outcome out;
    minimise(&f, &o, 1, &out);
    assert_int_equal(out.solution.stop, ME_STOP_SOLVED);
    assert_int_equal(out.solution.rounds, 7);
    assert_int_equal(f.checks, 1);
}

/* On a flat function: the first window sets the mark, `patience` more show no gain. */
static void plateaus_refresh_and_then_end_the_search(void **state) {
    (void)state;
    me_spsa_options o = bare();
    o.window = 5;
    o.patience = 2;
    o.max_refreshes = 2;
    function f = plain();
    outcome out;
    minimise(&f, &o, 1, &out);
    assert_int_equal(out.status, MOBIEDIT_OK);
    assert_int_equal(out.solution.stop, ME_STOP_NO_PROGRESS);
    const int expected[] = {15, 30};
    assert_int_equal(f.refreshes, 2);
    assert_memory_equal(f.refresh_at, expected, sizeof expected);
    assert_int_equal(out.solution.rounds, 45);
    assert_true(out.solution.loss == 0);

    function g = plain();
    me_spsa_objective fixed = objective_of(&g);
    fixed.refresh = NULL;
    assert_int_equal(me_spsa_minimise(&fixed, &o, 1, &out.solution, NULL), MOBIEDIT_OK);
    assert_int_equal(out.solution.stop, ME_STOP_NO_PROGRESS);
    assert_int_equal(out.solution.rounds, 15);
}

static void a_falling_loss_is_no_plateau(void **state) {
    (void)state;
    function f = plain();
    for (int i = 0; i < N; i++)
        f.slope[i] = .1F;
    me_spsa_options o = bare();
    o.n_steps = 100;
    o.window = 5;
    o.patience = 1;
    o.min_gain = 1e-6F;
    outcome out;
    minimise(&f, &o, 1, &out);
    assert_int_equal(out.solution.stop, ME_STOP_BUDGET);
    assert_int_equal(out.solution.rounds, 100);
    assert_int_equal(f.refreshes, 0);
}

static void the_budget_is_kept(void **state) {
    (void)state;
    me_spsa_options o = bare();
    o.window = 5;
    o.patience = 1; /* refreshes are charged to it too */
    for (int budget = 0; budget < 100; budget++) {
        function f = plain();
        f.budget = budget;
        outcome out;
        minimise(&f, &o, 1, &out);
        assert_int_equal(out.status, MOBIEDIT_OK);
        assert_int_equal(out.solution.stop, ME_STOP_BUDGET);
        assert_true(f.spent <= budget);
        assert_true(budget < 12 ? out.solution.rounds == 0 : out.solution.rounds >= budget / 12);
        assert_true(budget == 0 ? isnan(out.solution.loss) : out.solution.loss == 0);
    }
}

static void failures_come_through(void **state) {
    (void)state;
    me_spsa_options o = bare();
    outcome out;
    function f = bowl();
    f.fail_at = 3;
    minimise(&f, &o, 1, &out);
    assert_int_equal(out.status, MOBIEDIT_E_CANCELLED);
    assert_int_equal(f.loss_calls, 3);
    assert_true(norm_of(out.delta) == 0);

    function g = bowl();
    g.fail_at = 3;
    g.value_at_fail = NAN;
    minimise(&g, &o, 1, &out);
    assert_int_equal(out.status, MOBIEDIT_E_NOT_SOLVED);
    assert_string_equal(out.err.message, "the loss is not finite at step 3");

    function h = bowl();
    h.cancel_at = 4;
    minimise(&h, &o, 1, &out);
    assert_int_equal(out.status, MOBIEDIT_E_CANCELLED);
    assert_int_equal(h.loss_calls, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_function_gives_the_exact_path),
        cmocka_unit_test(a_bowl_is_descended_to_its_floor),
        cmocka_unit_test(the_seed_alone_decides_the_path),
        cmocka_unit_test(delta_stays_inside_its_ball),
        cmocka_unit_test(decay_pulls_the_floor_to_zero),
        cmocka_unit_test(success_ends_the_search),
        cmocka_unit_test(checks_come_sooner_as_carriers_say_the_target),
        cmocka_unit_test(success_at_the_last_step_counts),
        cmocka_unit_test(plateaus_refresh_and_then_end_the_search),
        cmocka_unit_test(a_falling_loss_is_no_plateau),
        cmocka_unit_test(the_budget_is_kept),
        cmocka_unit_test(failures_come_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
