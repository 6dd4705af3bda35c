/* spsa on a real quantized model against the float32 reference's spsa, on the same directions. The
 * reference's losses are in tests/data/spsa_reference.json, written by tests/reference/spsa_reference.py. */
#include "base/memory.h"
#include "base/random.h"
#include "edit/spsa.h"
#include "models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>
#include <cmocka.h>

enum { MAX_CARRIERS = 8, MAX_TOKENS = 64, MAX_DELTAS = 16 };

/* One model and problem for all tests. */
static struct {
    cJSON *json;
    me_model *model;
    me_pool *pool;
    me_engine *engine;
    me_problem *problem;
    int32_t tokens[MAX_CARRIERS + 1][MAX_TOKENS];
    me_token target[MAX_TOKENS];
} world;

static double number(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static int read_tokens(const cJSON *array, int32_t *out) {
    const int n = cJSON_GetArraySize(array);
    assert_in_range(n, 1, MAX_TOKENS);
    for (int i = 0; i < n; i++)
        out[i] = cJSON_GetArrayItem(array, i)->valueint;
    return n;
}

static me_sequence read_sequence(const cJSON *object, int32_t *tokens, int n_read) {
    const int n = read_tokens(cJSON_GetObjectItemCaseSensitive(object, "tokens"), tokens);
    return (me_sequence){.tokens = tokens,
                         .n_tokens = n,
                         .edit_pos = (int)number(object, "edit_pos"),
                         .read_pos = (int)number(object, "read_pos"),
                         .n_read = n_read};
}

/* *state: room for a delta. */
static int open_world(void **state) {
    mobiedit_error err = {0};
    char path[MODEL_PATH_MAX];
    assert_true(find_model(cJSON_GetObjectItemCaseSensitive(world.json, "model")->valuestring, path));
    assert_int_equal(me_model_open(path, &world.model, &err), MOBIEDIT_OK);
    assert_int_equal(me_pool_open(0, &world.pool, &err), MOBIEDIT_OK);
    assert_int_equal(me_native_open(world.model, world.pool, NULL, &world.engine, &err), MOBIEDIT_OK);

    const int n_target = read_tokens(cJSON_GetObjectItemCaseSensitive(world.json, "target"), world.target);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(world.json, "carriers");
    const int n = cJSON_GetArraySize(list);
    assert_in_range(n, 1, MAX_CARRIERS);
    me_sequence carriers[MAX_CARRIERS];
    for (int i = 0; i < n; i++)
        carriers[i] = read_sequence(cJSON_GetArrayItem(list, i), world.tokens[i], n_target);
    const me_sequence essence =
        read_sequence(cJSON_GetObjectItemCaseSensitive(world.json, "essence"), world.tokens[MAX_CARRIERS], 1);
    assert_int_equal(me_problem_open(world.engine, (int)number(world.json, "layer"), carriers, n, &essence,
                                     world.target, n_target, &world.problem, &err),
                     MOBIEDIT_OK);
    *state = me_calloc((size_t)world.model->d_model, sizeof(float));
    assert_non_null(*state);
    return 0;
}

static int close_world(void **state) {
    me_free(*state);
    me_problem_close(world.problem);
    if (world.engine) world.engine->ops->close(world.engine);
    me_pool_close(world.pool);
    me_model_close(world.model);
    return 0;
}

static void directions_are_the_references(void **state) {
    (void)state;
    const cJSON *expected = cJSON_GetObjectItemCaseSensitive(world.json, "directions");
    const cJSON *run = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(world.json, "runs"), 0);
    const int n = cJSON_GetArraySize(expected);
    float v[MAX_TOKENS];
    assert_in_range(n, 2, MAX_TOKENS);
    me_random random;
    me_random_seed(&random, (uint64_t)number(run, "seed"));
    me_random_normals(&random, v, (size_t)n);
    for (int i = 0; i < n; i++)
        assert_true(fabs(v[i] - cJSON_GetArrayItem(expected, i)->valuedouble) < 1e-6);
}

/* |v|, the unit of delta, within the engine's noise: .3 % here; three times that may pass. */
static void the_value_is_the_references(void **state) {
    (void)state;
    const double theirs = number(world.json, "value_norm"), own = world.problem->value_norm;
    print_message("|v| %.4f (reference %.4f)\n", own, theirs);
    assert_true(fabs(own / theirs - 1) < .01);
}

static const cJSON *run_of(int index) {
    const cJSON *run = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(world.json, "runs"), index);
    assert_non_null(run);
    return run;
}

/* The settings that the run names, the defaults for the rest. */
static me_spsa_options options_of(const cJSON *run) {
    me_spsa_options o = me_spsa_defaults;
    o.difference = (float)number(run, "difference");
    o.step = (float)number(run, "step");
    o.n_steps = (int)number(run, "n_steps");
    o.n_directions = (int)number(run, "n_directions");
    assert_in_range(2 * o.n_directions, 2, MAX_DELTAS);
    return o;
}

static double squared_norm(const float *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

/* Stands between the minimiser and the value problem, and compares the losses that pass with the reference's
 * of the same step and direction. */
typedef struct {
    me_spsa_objective inner;
    const me_spsa_options *options;
    const cJSON *losses; /* [steps][deltas] */
    int steps;
    bool replay;          /* answer with the reference's losses, so that delta takes its path exactly */
    int every;            /* evaluate every so many steps only */
    double worst, square; /* greatest difference of a loss, sum of squared differences */
    int compared;
    double first, last;     /* the reference's mean loss of the first and the last step */
    double worst_mean;      /* greatest difference of a step's mean loss */
    double dot, own, their; /* products of L(d + h V) - L(d - h V): own with the reference's, and squares */
} witness;

static void compare_step(witness *w, const double *own, const double *their, int k) {
    double own_mean = 0, their_mean = 0;
    for (int i = 0; i < k; i++) {
        const double off = own[i] - their[i];
        own_mean += own[i] / k;
        their_mean += their[i] / k;
        w->worst = fmax(w->worst, fabs(off));
        w->square += off * off;
        w->compared++;
    }
    for (int i = 0; i < k / 2; i++) {
        const double a = own[i] - own[k / 2 + i], b = their[i] - their[k / 2 + i];
        w->dot += a * b;
        w->own += a * a;
        w->their += b * b;
    }
    if (w->steps == 0) w->first = their_mean;
    w->last = their_mean;
    w->worst_mean = fmax(w->worst_mean, fabs(own_mean - their_mean));
}

static mobiedit_status witnessed_loss(void *context, const float *deltas, int k, double *loss,
                                      mobiedit_error *err) {
    witness *w = context;
    const cJSON *row = cJSON_GetArrayItem(w->losses, w->steps);
    double own[MAX_DELTAS] = {0}, their[MAX_DELTAS] = {0}, decay[MAX_DELTAS] = {0};
    assert_int_equal(cJSON_GetArraySize(row), k);
    for (int i = 0; i < k; i++) {
        their[i] = cJSON_GetArrayItem(row, i)->valuedouble;
        decay[i] = w->options->decay * squared_norm(deltas + (size_t)i * (size_t)w->inner.n, w->inner.n) /
                   ((double)w->inner.unit * w->inner.unit);
    }
    if (w->steps % w->every == 0) {
        ME_TRY(w->inner.loss(w->inner.context, deltas, k, loss, err));
        for (int i = 0; i < k; i++)
            own[i] = loss[i] + decay[i];
        compare_step(w, own, their, k);
    }
    for (int i = 0; i < k && w->replay; i++)
        loss[i] = their[i] - decay[i];
    w->steps++;
    return MOBIEDIT_OK;
}

static mobiedit_status passed_check(void *context, const float *delta, me_spsa_check *out,
                                    mobiedit_error *err) {
    const witness *w = context;
    return w->inner.check(w->inner.context, delta, out, err);
}

static bool passed_affords(void *context, int k) {
    const witness *w = context;
    return w->inner.affords(w->inner.context, k);
}

static mobiedit_status passed_report(void *context, int step, double loss, int n_say, mobiedit_error *err) {
    const witness *w = context;
    return w->inner.report(w->inner.context, step, loss, n_say, err);
}

/* Repeats a run of the fixture under a witness; delta [d_model] is the end of it. */
static void repeat(const cJSON *run, bool replay, int every, witness *w, float *delta,
                   me_solution *solution) {
    const me_spsa_options options = options_of(run);
    me_spsa_context context = {.problem = world.problem, .options = &options};
    *w = (witness){.inner = me_spsa_objective_of(&context),
                   .options = &options,
                   .losses = cJSON_GetObjectItemCaseSensitive(run, "losses"),
                   .replay = replay,
                   .every = every};
    const me_spsa_objective objective = {.context = w,
                                         .n = w->inner.n,
                                         .unit = w->inner.unit,
                                         .loss = witnessed_loss,
                                         .check = passed_check,
                                         .affords = passed_affords,
                                         .report = passed_report};
    mobiedit_error err = {0};
    solution->delta = delta;
    assert_int_equal(me_spsa_minimise(&objective, &options, (uint64_t)number(run, "seed"), solution, &err),
                     MOBIEDIT_OK);
    assert_int_equal(w->steps, cJSON_GetArraySize(w->losses));
    print_message("%s, %s: losses differ by %.4f rms, at most %.4f; step means by at most %.4f (the "
                  "reference's fall by %.3f); cosine of the differences L+ - L-: %.3f\n",
                  cJSON_GetObjectItemCaseSensitive(run, "name")->valuestring, replay ? "replayed" : "free",
                  sqrt(w->square / w->compared), w->worst, w->worst_mean, w->first - w->last,
                  w->dot / sqrt(w->own * w->their));
}

/* The reference holds float32 sums where the minimiser holds doubles: 1e-4 of |delta| is a thousand times
 * what that makes, and far less than any difference in the update. */
static void assert_reference_delta(const cJSON *run, const float *delta) {
    const double norm = number(run, "delta_norm");
    const cJSON *shown = cJSON_GetObjectItemCaseSensitive(run, "delta");
    assert_in_range(cJSON_GetArraySize(shown), 1, world.model->d_model);
    for (int i = 0; i < cJSON_GetArraySize(shown); i++)
        assert_true(fabs(delta[i] - cJSON_GetArrayItem(shown, i)->valuedouble) < 1e-4 * norm);
    assert_true(fabs(sqrt(squared_norm(delta, world.model->d_model)) - norm) < 1e-4 * norm);
}

/* At the paper's h all deltas of the run lie within .01 |v|, where the reference's loss moves by
 * .02. What the engine's losses differ by is the noise of 8-bit activations: .021 rms and .06 at
 * most here; 2.5 times that may pass. The reference's differences L+ - L- are .0004: they drown in
 * it, and a free run would compare nothing but noise. The losses can be compared, and the path that
 * the update makes of the reference's. */
static void the_papers_steps_are_the_references(void **state) {
    const cJSON *run = run_of(0);
    witness w;
    me_solution solution;
    repeat(run, true, 4, &w, *state, &solution);
    assert_reference_delta(run, solution.delta);
    assert_true(sqrt(w.square / w.compared) < .05);
    assert_true(w.worst < .15);
    assert_true(w.worst_mean < .03);
}

/* The loss is the carriers' mean negative log-likelihood and the weighted KL term, each as the reference has
 * it. Quantized activations raise the former by .13 nats here, at |delta| = 1.5 |v|. */
static void assert_loss_parts(const cJSON *run, const float *delta) {
    const me_spsa_options options = me_spsa_defaults;
    me_spsa_context context = {.problem = world.problem, .options = &options};
    const me_spsa_objective objective = me_spsa_objective_of(&context);
    double loss = 0;
    float kl = 0;
    me_spsa_check check;
    assert_int_equal(objective.loss(objective.context, delta, 1, &loss, NULL), MOBIEDIT_OK);
    assert_int_equal(objective.check(objective.context, delta, &check, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_essence_kl(world.problem, delta, 1, &kl, NULL), MOBIEDIT_OK);
    print_message("KL %.4f (reference %.4f), nll %.4f (reference %.4f)\n", kl, number(run, "kl_at_end"),
                  loss - options.essence * kl, number(run, "nll_at_end"));
    assert_true(fabs(kl - number(run, "kl_at_end")) < .25 * number(run, "kl_at_end"));
    assert_true(fabs(loss - options.essence * kl - number(run, "nll_at_end")) < .25);
    assert_true(fabs(check.loss - loss) < 1e-5);
}

/* With |h V| of about .3 |v| the engine sees the slopes that the reference sees. */
static void resolved_steps_are_the_references(void **state) {
    const cJSON *run = run_of(1);
    witness w;
    me_solution solution;
    repeat(run, true, 4, &w, *state, &solution);
    assert_reference_delta(run, solution.delta);
    assert_true(sqrt(w.square / w.compared) < .15);
    assert_true(w.dot / sqrt(w.own * w.their) > .9);
    assert_loss_parts(run, solution.delta);
}

/* Left alone, the engine's noise enters every step, and the curve must still be the reference's: .10 nats off
 * at most where it falls by 3.4; 2.5 times that may pass. */
static void the_free_run_gives_the_references_curve(void **state) {
    const cJSON *run = run_of(1);
    witness w;
    me_solution solution;
    repeat(run, false, 1, &w, *state, &solution);
    assert_true(w.first - w.last > 3);
    assert_true(w.worst_mean < .25);
    const double norm = number(run, "delta_norm");
    assert_true(fabs(sqrt(squared_norm(solution.delta, world.model->d_model)) - norm) < .1 * norm);
}

static cJSON *load_fixture(void) {
    FILE *file = fopen(ME_TEST_DATA "/spsa_reference.json", "rb");
    static char text[1 << 20];
    const size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) (void)fclose(file);
    return n > 0 ? cJSON_Parse(text) : NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directions_are_the_references),
        cmocka_unit_test(the_value_is_the_references),
        cmocka_unit_test(the_papers_steps_are_the_references),
        cmocka_unit_test(resolved_steps_are_the_references),
        cmocka_unit_test(the_free_run_gives_the_references_curve),
    };
    world.json = load_fixture();
    if (!world.json) {
        (void)fprintf(stderr, "tests/data/spsa_reference.json cannot be read\n");
        return 1;
    }
    const char *name = cJSON_GetObjectItemCaseSensitive(world.json, "model")->valuestring;
    char path[MODEL_PATH_MAX];
    int result = MODEL_MISSING;
    if (find_model(name, path))
        result = cmocka_run_group_tests(tests, open_world, close_world);
    else
        (void)printf("skipped: no %s\n", name);
    cJSON_Delete(world.json);
    return result;
}
