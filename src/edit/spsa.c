/* The SPSA solver, MobiEdit's estimator: sees only the value of the loss. */
#include "edit/spsa.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <string.h>

const me_spsa_options me_spsa_defaults = {
    .n_steps = 600,
    .n_directions = 5,
    .difference = 1e-3F,
    .step = 5e-2F,
    .momentum = 0,
    .decay = 1e-3F,
    .essence = .0625F,
    .clamp = 4,
    .margin = .5F,
    .check_every = 20,
    .window = 20,
    .patience = 3,
    .min_gain = 1e-3F,
    .max_refreshes = 3,
};

/* ---- the minimiser ----------------------------------------------------------------------------------- */

typedef struct {
    const me_spsa_objective *objective;
    const me_spsa_options *options;
    me_random random;
    size_t n;
    float *delta;      /* [n] */
    float *move;       /* [n]: the estimated gradient, with momentum */
    float *directions; /* [n_directions][n] */
    float *candidates; /* [2 n_directions][n]: delta + h V of every direction, then delta - h V */
    double *losses;    /* [2 n_directions] */

    int step;            /* steps taken */
    double step_loss;    /* mean of the last step's losses */
    me_spsa_check check; /* the last one */
    int checked_at;      /* step of it; -1 where its loss is no longer the present one */
    int next_check;

    double window_sum; /* of step losses in the present window */
    double best;       /* least window mean since the last refresh */
    int stale;         /* windows since then without a gain */
    int refreshes;
} search;

static double squared_norm(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

static double decay_term(const search *s, const float *delta) {
    const double unit = s->objective->unit;
    return s->options->decay * squared_norm(delta, s->n) / (unit * unit);
}

static mobiedit_status open_search(search *s, mobiedit_error *err) {
    const size_t k = (size_t)s->options->n_directions;
    s->n = (size_t)s->objective->n;
    s->delta = me_calloc(s->n, sizeof *s->delta);
    s->move = me_calloc(s->n, sizeof *s->move);
    s->directions = me_calloc(k * s->n, sizeof *s->directions);
    s->candidates = me_calloc(2 * k * s->n, sizeof *s->candidates);
    s->losses = me_calloc(2 * k, sizeof *s->losses);
    if (!s->delta || !s->move || !s->directions || !s->candidates || !s->losses)
        return me_fail_memory(err, "the directions of a step");
    s->check.loss = NAN;
    s->checked_at = -1;
    s->next_check = s->options->check_every;
    s->best = INFINITY;
    return MOBIEDIT_OK;
}

static void close_search(search *s) {
    me_free(s->delta);
    me_free(s->move);
    me_free(s->directions);
    me_free(s->candidates);
    me_free(s->losses);
}

/* Losses at delta +- h V for fresh directions V, decay included: one batch. */
static mobiedit_status probe_directions(search *s, mobiedit_error *err) {
    const size_t k = (size_t)s->options->n_directions, n = s->n;
    const float h = s->options->difference;
    me_random_normals(&s->random, s->directions, k * n);
    for (size_t i = 0; i < k * n; i++) {
        const float shift = h * s->directions[i];
        s->candidates[i] = s->delta[i % n] + shift;
        s->candidates[k * n + i] = s->delta[i % n] - shift;
    }
    ME_TRY(s->objective->loss(s->objective->context, s->candidates, (int)(2 * k), s->losses, err));
    s->step_loss = 0;
    for (size_t i = 0; i < 2 * k; i++) {
        s->losses[i] += decay_term(s, s->candidates + i * n);
        s->step_loss += s->losses[i] / (double)(2 * k);
    }
    if (!isfinite(s->step_loss))
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the loss is not finite at step %d", s->step + 1);
    return MOBIEDIT_OK;
}

/* move <- momentum move + mean over V of V (L(d + h V) - L(d - h V)) / 2h, an estimate of the gradient. */
static void estimate_gradient(search *s) {
    const size_t k = (size_t)s->options->n_directions, n = s->n;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t v = 0; v < k; v++)
            sum += (s->losses[v] - s->losses[k + v]) * s->directions[v * n + i];
        s->move[i] =
            (float)(s->options->momentum * s->move[i] + sum / (2.0 * s->options->difference * (double)k));
    }
}

static void clamp_delta(search *s) {
    const double norm = sqrt(squared_norm(s->delta, s->n));
    const double most = (double)s->options->clamp * s->objective->unit;
    if (norm <= most) return;
    for (size_t i = 0; i < s->n; i++)
        s->delta[i] = (float)(s->delta[i] * (most / norm));
}

static mobiedit_status take_step(search *s, mobiedit_error *err) {
    const double pi = 3.141592653589793;
    ME_TRY(probe_directions(s, err));
    estimate_gradient(s);
    const double length = s->options->step * .5 * (1 + cos(pi * s->step / s->options->n_steps));
    for (size_t i = 0; i < s->n; i++)
        s->delta[i] -= (float)(length * s->move[i]);
    clamp_delta(s);
    s->step++;
    return MOBIEDIT_OK;
}

static mobiedit_status check_success(search *s, mobiedit_error *err) {
    ME_TRY(s->objective->check(s->objective->context, s->delta, &s->check, err));
    s->check.loss += decay_term(s, s->delta);
    s->checked_at = s->step;
    const int wait = s->check.n > 0 ? s->options->check_every * (s->check.n - s->check.n_say) / s->check.n
                                    : s->options->check_every;
    s->next_check = s->step + (wait > 1 ? wait : 1);
    return MOBIEDIT_OK;
}

/* Adds the last step's loss to its window; true where the loss has stopped falling. */
static bool on_plateau(search *s) {
    const me_spsa_options *o = s->options;
    s->window_sum += s->step_loss;
    if (s->step % o->window != 0) return false;
    const double mean = s->window_sum / o->window;
    s->window_sum = 0;
    if (mean < s->best - o->min_gain) {
        s->best = mean;
        s->stale = 0;
        return false;
    }
    return ++s->stale >= o->patience;
}

static mobiedit_status refresh(search *s, mobiedit_error *err) {
    ME_TRY(s->objective->refresh(s->objective->context, err));
    s->refreshes++;
    s->best = INFINITY;
    s->stale = 0;
    s->checked_at = -1;
    return MOBIEDIT_OK;
}

static mobiedit_status run(search *s, me_stop *stop, mobiedit_error *err) {
    const me_spsa_objective *f = s->objective;
    const me_spsa_options *o = s->options;
    const int round_cost = 2 * o->n_directions + 2; /* a step, a check, a refresh */
    *stop = ME_STOP_BUDGET;
    while (*stop == ME_STOP_BUDGET && s->step < o->n_steps && f->affords(f->context, round_cost)) {
        ME_TRY(take_step(s, err));
        if (s->step >= s->next_check) ME_TRY(check_success(s, err));
        ME_TRY(f->report(f->context, s->step, s->step_loss, s->check.n_say, err));
        if (s->checked_at == s->step && s->check.solved)
            *stop = ME_STOP_SOLVED;
        else if (on_plateau(s)) {
            if (f->refresh && s->refreshes < o->max_refreshes)
                ME_TRY(refresh(s, err));
            else
                *stop = ME_STOP_NO_PROGRESS;
        }
    }
    if (s->checked_at != s->step && f->affords(f->context, 1)) ME_TRY(check_success(s, err));
    if (s->checked_at == s->step && s->check.solved) *stop = ME_STOP_SOLVED;
    return MOBIEDIT_OK;
}

mobiedit_status me_spsa_minimise(const me_spsa_objective *objective, const me_spsa_options *options,
                                 uint64_t seed, me_solution *out, mobiedit_error *err) {
    search s = {.objective = objective, .options = options};
    me_random_seed(&s.random, seed);
    me_stop stop = ME_STOP_BUDGET;
    mobiedit_status status = open_search(&s, err);
    if (status == MOBIEDIT_OK) status = run(&s, &stop, err);
    if (status == MOBIEDIT_OK) {
        memcpy(out->delta, s.delta, s.n * sizeof *s.delta);
        out->stop = stop;
        out->rounds = s.step;
        out->loss = (float)s.check.loss;
    }
    close_search(&s);
    return status;
}

/* ---- the value problem ------------------------------------------------------------------------------- */

static mobiedit_status score_deltas(me_spsa_context *c, const float *deltas, int k, float *hidden, float *kl,
                                    me_score *scores, double *loss, mobiedit_error *err) {
    me_problem *p = c->problem;
    ME_TRY(me_problem_hidden(p, deltas, k, NULL, 0, hidden, err));
    ME_TRY(me_problem_score(p, hidden, k * p->n_carriers, scores, err));
    ME_TRY(me_problem_essence_kl(p, deltas, k, kl, err));
    for (int i = 0; i < k; i++) {
        loss[i] = (double)c->options->essence * kl[i] +
                  me_mean_loss(scores + (size_t)i * (size_t)p->n_carriers, p->n_carriers);
    }
    return MOBIEDIT_OK;
}

/* deltas [k][d] -> scores [k][n_carriers], loss [k] = mean negative log-likelihood of the target over the
 * carriers + weighted KL of the essence prompt. One batch. */
static mobiedit_status evaluate(me_spsa_context *c, const float *deltas, int k, me_score *scores,
                                double *loss, mobiedit_error *err) {
    const me_problem *p = c->problem;
    const size_t rows = (size_t)k * (size_t)p->n_carriers * (size_t)p->n_read;
    float *hidden = me_calloc(rows * (size_t)p->model->d_model, sizeof *hidden);
    float *kl = me_calloc((size_t)k, sizeof *kl);
    mobiedit_status status = hidden && kl ? score_deltas(c, deltas, k, hidden, kl, scores, loss, err)
                                          : me_fail_memory(err, "the deltas of a step");
    me_free(hidden);
    me_free(kl);
    return status;
}

static me_score *new_scores(const me_spsa_context *c, int k) {
    return me_calloc((size_t)k * (size_t)c->problem->n_carriers, sizeof(me_score));
}

static mobiedit_status problem_loss(void *context, const float *deltas, int k, double *loss,
                                    mobiedit_error *err) {
    me_score *scores = new_scores(context, k);
    if (!scores) return me_fail_memory(err, "the scores of the carriers");
    mobiedit_status status = evaluate(context, deltas, k, scores, loss, err);
    me_free(scores);
    return status;
}

static mobiedit_status problem_check(void *context, const float *delta, me_spsa_check *out,
                                     mobiedit_error *err) {
    me_spsa_context *c = context;
    const int n = c->problem->n_carriers;
    me_score *scores = new_scores(c, 1);
    if (!scores) return me_fail_memory(err, "the scores of the carriers");
    me_spsa_check check = {.n = n, .solved = true};
    mobiedit_status status = evaluate(c, delta, 1, scores, &check.loss, err);
    for (int j = 0; j < n && status == MOBIEDIT_OK; j++) {
        check.n_say += scores[j].says;
        if (!scores[j].says || scores[j].margin < c->options->margin) check.solved = false;
    }
    me_free(scores);
    if (status == MOBIEDIT_OK) *out = check;
    return status;
}

static bool problem_affords(void *context, int k) {
    const me_problem *p = ((const me_spsa_context *)context)->problem;
    const size_t each = (size_t)p->n_carriers + (p->essence ? 1 : 0);
    return me_problem_left(p) >= (size_t)k * each;
}

static mobiedit_status problem_refresh(void *context, mobiedit_error *err) {
    return me_problem_refresh(((me_spsa_context *)context)->problem, err);
}

static mobiedit_status problem_report(void *context, int step, double loss, int n_say, mobiedit_error *err) {
    return me_problem_report(((me_spsa_context *)context)->problem, step, (float)loss, n_say, err);
}

me_spsa_objective me_spsa_objective_of(me_spsa_context *context) {
    const me_problem *p = context->problem;
    return (me_spsa_objective){.context = context,
                               .n = p->model->d_model,
                               .unit = p->value_norm,
                               .loss = problem_loss,
                               .check = problem_check,
                               .affords = problem_affords,
                               .refresh = p->redraw ? problem_refresh : NULL,
                               .report = problem_report};
}

static mobiedit_status solve(me_problem *problem, const me_solver_input *input, me_solution *out,
                             mobiedit_error *err) {
    me_spsa_options options = me_spsa_defaults;
    options.margin *= input->margin;
    me_spsa_context context = {.problem = problem, .options = &options};
    const me_spsa_objective objective = me_spsa_objective_of(&context);
    return me_spsa_minimise(&objective, &options, input->seed, out, err);
}

/* 600 steps of 2 x 5 deltas on up to nine carriers and the essence prompt are 60,000 evaluations; a tenth on
 * top for checks and refreshes. With six carriers the schedule ends after about 42,500. (The published code
 * evaluates delta itself for every direction too, and so spends 600 x 5 x 3 x 6 = 54,000.) */
const me_solver me_solver_spsa = {
    .name = ME_SOLVER_SPSA, .needs_basis = false, .default_evaluations = 66000, .solve = solve};
