/* The probe solver: measures responses along a basis, solves the inner problem, steps, repeats. */
#include "edit/probe.h"

#include "base/memory.h"
#include "edit/inner.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { SUBSET_PROBES = 8, SHRINKS = 3 };
static const float SHRINK = 0.3F, GROW = 1.5F, MIN_TRUST = 0.3F;
/* Share of the worst carrier's loss from which on another one is probed too. */
static const float WORTH_PROBING = 0.15F;

me_probe_options me_probe_defaults(void) {
    return (me_probe_options){.rounds = 60,
                              .probes = 16,
                              .step = 0.1F,
                              .trust = 1.0F,
                              .decay = 3e-3F,
                              .stop_nll = 0.1F,
                              .stop_margin = 1.5F,
                              .stop_all = 0.1F,
                              .worth = 0.07F,
                              .enough = 400,
                              .patience = 5,
                              .max_norm = 16.0F,
                              .vocabulary = 200};
}

/* Losses of all carriers and of the own ones, how many say the target, the least margin of the own ones. */
typedef struct {
    float loss, own_loss, margin;
    int n_say;
} summary;

typedef struct {
    me_problem *p;
    const me_solver_input *in;
    const me_probe_options *o;
    int d, nr, rows;   /* nr: the problem's n_read; rows = n_carriers * n_read */
    int n_probes;      /* directions with a response */
    int width;         /* directions a carrier is probed in at a time */
    int *next;         /* [n_carriers]: of the basis, the first that is its turn on that carrier */
    size_t began;      /* the problem's evaluations before the first of this solve */
    float *delta;      /* [d] */
    float *hidden;     /* [n_carriers][n_read][d] at delta */
    me_score *scored;  /* [n_carriers] at delta */
    float *responses;  /* [n_basis][n_carriers][n_read][d], of hidden to a step of |v| */
    bool *own;         /* [n_basis][n_carriers]: measured on that carrier, not taken from another */
    float *error;      /* [n_carriers][n_read][d] */
    float *probed;     /* [directions][n_read][d]: changes of hidden by the last probes */
    float *candidates; /* [directions][d] */
    float *tried;      /* [n_carriers][n_read][d] at a candidate */
    me_score *scores;  /* [n_carriers] there */
    float *s, *offset; /* [n_basis] */
    summary at;        /* delta: the scores summed up */
    float gain;        /* share of the loss that the last round took off */
    float trust;
} state;

static void state_free(state *t) {
    me_free(t->next);
    me_free(t->hidden);
    me_free(t->scored);
    me_free(t->responses);
    me_free(t->own);
    me_free(t->error);
    me_free(t->probed);
    me_free(t->candidates);
    me_free(t->tried);
    me_free(t->scores);
    me_free(t->s);
    me_free(t->offset);
}

/* Directions that are probed a round on each carrier: twice as many where calibration has no guesses, for
 * what is not measured is not known at all. */
static int directions(const me_probe_options *o, const me_solver_input *in) {
    const int n = in->guesses ? o->probes : 2 * o->probes;
    return n < in->n_basis ? n : in->n_basis;
}

static mobiedit_status state_alloc(state *t, mobiedit_error *err) {
    size_t d = (size_t)t->d, nr = (size_t)t->nr, k = (size_t)t->in->n_basis, rows = (size_t)t->rows;
    size_t probes = (size_t)t->width, carriers = (size_t)t->p->n_carriers;
    t->next = me_calloc(carriers, sizeof *t->next);
    t->hidden = me_calloc(rows * d, sizeof(float));
    t->scored = me_calloc(carriers, sizeof *t->scored);
    t->responses = me_calloc(k * rows * d, sizeof(float));
    t->own = me_calloc(k * carriers, sizeof *t->own);
    t->error = me_calloc(rows * d, sizeof(float));
    t->probed = me_calloc(probes * nr * d, sizeof(float));
    t->candidates = me_calloc(probes * d, sizeof(float));
    t->tried = me_calloc(rows * d, sizeof(float));
    t->scores = me_calloc(carriers, sizeof *t->scores);
    t->s = me_calloc(k, sizeof(float));
    t->offset = me_calloc(k, sizeof(float));
    if (t->next && t->hidden && t->scored && t->responses && t->own && t->error && t->probed &&
        t->candidates && t->tried && t->scores && t->s && t->offset)
        return MOBIEDIT_OK;
    state_free(t);
    return me_fail_memory(err, "the probe solver");
}

static summary summarise(const me_problem *p, const me_score *scores) {
    summary sum = {.loss = (float)me_mean_loss(scores, p->n_carriers),
                   .own_loss = (float)me_mean_loss(scores, p->n_own),
                   .margin = INFINITY};
    for (int i = 0; i < p->n_carriers; i++) {
        sum.n_say += scores[i].says;
        if (i < p->n_own && !(scores[i].margin >= sum.margin)) sum.margin = scores[i].margin;
    }
    return sum;
}

static bool own_solved(const state *t) {
    return t->at.own_loss < t->o->stop_nll && t->at.margin >= t->o->stop_margin * t->in->margin;
}

/* The prompt's own words are settled, and other wordings are too, or
 * another round would do little for them. */
static bool solved(const state *t) {
    return own_solved(t) && (t->at.loss < t->o->stop_all || t->gain < t->o->worth);
}

/* One round that did little does not say that the next ones would: their directions are others. */
static bool may_stop(const state *t) {
    return solved(t) && (t->at.loss < t->o->stop_all || t->p->evaluations - t->began >= t->o->enough);
}

/* The carrier that is furthest from the target: its responses matter most. Other wordings wait for the
 * prompt's own. */
static int worst_carrier(const state *t) {
    int worst = 0, n = own_solved(t) ? t->p->n_carriers : t->p->n_own;
    for (int c = 1; c < n; c++)
        if (me_score_loss(&t->scored[c]) > me_score_loss(&t->scored[worst])) worst = c;
    return worst;
}

/* A carrier without a measurement of its own in this direction takes that of one like it. */
static void keep_response(state *t, int direction, int carrier, const float *probed) {
    int width = t->nr * t->d, n_carriers = t->p->n_carriers;
    bool *own = t->own + (size_t)direction * (size_t)n_carriers;
    own[carrier] = true;
    for (int c = 0; c < n_carriers; c++) {
        if (c != carrier && own[c]) continue;
        float *response = t->responses + ((size_t)direction * (size_t)n_carriers + (size_t)c) * (size_t)width;
        for (int i = 0; i < width; i++)
            response[i] = probed[i] / t->o->step;
    }
}

/* What calibration tells of the carriers' responses stands in until they are measured. */
static void guess_responses(state *t) {
    const int d = t->d, n_basis = t->in->n_basis, n_carriers = t->p->n_carriers;
    if (!t->in->guesses || !t->p->kinds) return;
    t->n_probes = n_basis;
    for (int c = 0; c < n_carriers; c++) {
        const int kind = t->p->kinds[c];
        const float *guess = t->in->guesses + (size_t)kind * (size_t)n_basis * (size_t)d;
        for (int row = c * t->nr; row < (c + 1) * t->nr; row++) {
            const float length = cblas_snrm2(d, t->hidden + (size_t)row * (size_t)d, 1);
            for (int j = 0; j < n_basis; j++)
                cblas_saxpy(d, length, guess + (size_t)j * (size_t)d, 1,
                            t->responses + ((size_t)j * (size_t)t->rows + (size_t)row) * (size_t)d, 1);
        }
    }
}

/* Probes the carrier's next directions at the present delta, and stores the responses. Each carrier has its
 * own turn: one that is probed late begins with the strongest ones too. */
static mobiedit_status probe_carrier(state *t, int carrier, mobiedit_error *err) {
    const int first = t->next[carrier], n = t->in->n_basis, k = t->width, d = t->d, width = t->nr * d;
    const float step = t->o->step * t->p->value_norm;
    for (int j = 0; j < k; j++) {
        float *c = t->candidates + (size_t)j * (size_t)d;
        memcpy(c, t->delta, (size_t)d * sizeof *c);
        cblas_saxpy(d, step, t->in->basis + (size_t)((first + j) % n) * (size_t)d, 1, c, 1);
    }
    ME_TRY(me_problem_responses(t->p, t->delta, t->candidates, k, carrier, t->probed, err));
    for (int j = 0; j < k; j++)
        keep_response(t, (first + j) % n, carrier, t->probed + (size_t)j * (size_t)width);
    const int known = first + k < n ? first + k : n;
    if (known > t->n_probes) t->n_probes = known;
    t->next[carrier] = (first + k) % n;
    return MOBIEDIT_OK;
}

/* Other wordings answer to other directions than the prompt's own: once it is their turn, all whose
 * loss is not small beside the worst one's are probed. */
static mobiedit_status probe_round(state *t, int worst, mobiedit_error *err) {
    for (int c = 0; own_solved(t) && c < t->p->n_carriers; c++)
        if (c != worst && me_score_loss(&t->scored[c]) > WORTH_PROBING * me_score_loss(&t->scored[worst]))
            ME_TRY(probe_carrier(t, c, err));
    return probe_carrier(t, worst, err);
}

/* Tokens that can win: the best at delta on every carrier and in a sample of the carrier's probes. */
static mobiedit_status open_subset(state *t, int carrier, me_vocab_subset *out, mobiedit_error *err) {
    const int k = t->width, n = k < SUBSET_PROBES ? k : SUBSET_PROBES;
    size_t d = (size_t)t->d, width = d * (size_t)t->nr;
    float *rows = me_calloc(((size_t)t->rows + (size_t)(n * t->nr)) * d, sizeof *rows);
    if (!rows) return me_fail_memory(err, "hidden vectors");
    memcpy(rows, t->hidden, (size_t)t->rows * d * sizeof *rows);
    for (int i = 0; i < n; i++) {
        float *row = rows + (size_t)t->rows * d + (size_t)i * width;
        memcpy(row, t->hidden + (size_t)carrier * width, width * sizeof *row);
        cblas_saxpy((int)width, 1.0F, t->probed + (size_t)(i * (k / n)) * width, 1, row, 1);
    }
    mobiedit_status status =
        me_vocab_subset_open(t->p, rows, t->rows + n * t->nr, t->o->vocabulary, out, err);
    me_free(rows);
    return status;
}

/* delta + s . basis, inside the largest norm allowed. */
static void candidate(const state *t, float *out) {
    int d = t->d;
    float limit = t->o->max_norm * t->p->value_norm;
    memcpy(out, t->delta, (size_t)d * sizeof *out);
    cblas_sgemv(CblasRowMajor, CblasTrans, t->n_probes, d, t->p->value_norm, t->in->basis, d, t->s, 1, 1.0F,
                out, 1);
    float norm = cblas_snrm2(d, out, 1);
    if (norm > limit) cblas_sscal(d, limit / norm, out, 1);
}

/* Broyden's rank-one update: makes the responses of each carrier tell the change that the taken step really
 * made there, so that those measured rounds ago, or on another carrier, stay of use. now: hidden vectors
 * after it. */
static void correct_responses(state *t, const float *now) {
    int width = t->rows * t->d, k = t->n_probes;
    float length2 = cblas_sdot(k, t->s, 1, t->s, 1);
    if (!(length2 > 0)) return;
    cblas_sgemv(CblasRowMajor, CblasTrans, k, width, -1, t->responses, width, t->s, 1, 0.0F, t->error, 1);
    for (int i = 0; i < width; i++)
        t->error[i] += now[i] - t->hidden[i];
    cblas_sger(CblasRowMajor, k, width, 1 / length2, t->s, 1, t->error, 1, t->responses, width);
}

/* Evaluates the inner solution, and takes it if it lowers the loss. */
static mobiedit_status try_step(state *t, bool *accepted, mobiedit_error *err) {
    candidate(t, t->candidates);
    ME_TRY(me_problem_hidden(t->p, t->candidates, 1, NULL, 0, t->tried, err));
    ME_TRY(me_problem_score(t->p, t->tried, t->p->n_carriers, t->scores, err));
    const summary after = summarise(t->p, t->scores);
    *accepted = after.loss < t->at.loss;
    if (!*accepted) return MOBIEDIT_OK;
    correct_responses(t, t->tried);
    memcpy(t->delta, t->candidates, (size_t)t->d * sizeof(float));
    memcpy(t->hidden, t->tried, (size_t)t->rows * (size_t)t->d * sizeof(float));
    memcpy(t->scored, t->scores, (size_t)t->p->n_carriers * sizeof *t->scores);
    t->at = after;
    if (cblas_snrm2(t->n_probes, t->s, 1) > 0.9F * t->trust) t->trust *= GROW;
    return MOBIEDIT_OK;
}

static void coordinates(state *t) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, t->n_probes, t->d, 1.0F / t->p->value_norm, t->in->basis, t->d,
                t->delta, 1, 0.0F, t->offset, 1);
}

/* One round: probe, then minimise within a shrinking trust region until a step lowers the true loss. */
static mobiedit_status run_round(state *t, bool *accepted, mobiedit_error *err) {
    me_vocab_subset vocabulary;
    int carrier = worst_carrier(t);
    ME_TRY(probe_round(t, carrier, err));
    ME_TRY(open_subset(t, carrier, &vocabulary, err));
    coordinates(t);
    float norm = cblas_snrm2(t->d, t->delta, 1) / t->p->value_norm;
    mobiedit_status status = MOBIEDIT_OK;
    *accepted = false;
    for (int i = 0; i < SHRINKS && !*accepted && status == MOBIEDIT_OK; i++) {
        const me_inner_problem inner = {.problem = t->p,
                                        .vocabulary = &vocabulary,
                                        .hidden = t->hidden,
                                        .responses = t->responses,
                                        .n_probes = t->n_probes,
                                        .offset = t->offset,
                                        .offset_norm2 = norm * norm,
                                        .decay = t->o->decay,
                                        .trust = t->trust};
        memset(t->s, 0, (size_t)t->in->n_basis * sizeof *t->s);
        status = me_inner_minimise(&inner, t->s, err);
        float length = cblas_snrm2(t->n_probes, t->s, 1);
        if (length > t->trust) cblas_sscal(t->n_probes, t->trust / length, t->s, 1);
        if (status == MOBIEDIT_OK) status = try_step(t, accepted, err);
        if (!*accepted) t->trust *= SHRINK;
    }
    /* The next round knows other directions: what was too far in these need not be in those. */
    if (t->trust < MIN_TRUST * t->o->trust) t->trust = MIN_TRUST * t->o->trust;
    me_vocab_subset_close(&vocabulary);
    return status;
}

/* Hidden vectors and scores where delta is 0: the prefix has these vectors. */
static mobiedit_status start(state *t, mobiedit_error *err) {
    memcpy(t->hidden, t->p->carriers->hidden, (size_t)t->rows * (size_t)t->d * sizeof *t->hidden);
    ME_TRY(me_problem_score(t->p, t->hidden, t->p->n_carriers, t->scored, err));
    t->at = summarise(t->p, t->scored);
    t->gain = 1;
    t->began = t->p->evaluations;
    guess_responses(t);
    return me_problem_report(t->p, 0, t->at.loss, t->at.n_say, err);
}

static size_t round_cost(const state *t) {
    const int probed = own_solved(t) ? t->p->n_carriers : 1;
    return (size_t)(probed * (t->width + 1) + SHRINKS * t->p->n_carriers);
}

static mobiedit_status run(state *t, me_solution *out, mobiedit_error *err) {
    ME_TRY(start(t, err));
    out->stop = ME_STOP_BUDGET;
    int stalled = 0;
    for (out->rounds = 0; out->rounds < t->o->rounds && me_problem_left(t->p) >= round_cost(t);
         out->rounds++) {
        bool accepted;
        const summary before = t->at;
        if (may_stop(t) && !t->in->no_stop) break;
        ME_TRY(run_round(t, &accepted, err));
        ME_TRY(me_problem_report(t->p, out->rounds + 1, t->at.loss, t->at.n_say, err));
        t->gain = 1 - t->at.loss / before.loss;
        /* Other wordings have their turn later: until then their part of the loss may stand still. */
        const float own_gain = own_solved(t) ? 0 : 1 - t->at.own_loss / before.own_loss;
        stalled = accepted && fmaxf(t->gain, own_gain) > 0.02F ? 0 : stalled + 1;
        /* A round without progress says nothing of the next one's directions. */
        if (!t->in->no_stop && stalled > t->o->patience) {
            out->stop = ME_STOP_NO_PROGRESS;
            out->rounds++;
            break;
        }
    }
    if (solved(t)) out->stop = ME_STOP_SOLVED;
    out->loss = t->at.loss;
    return MOBIEDIT_OK;
}

mobiedit_status me_probe_solve(me_problem *p, const me_solver_input *in, const me_probe_options *o,
                               me_solution *out, mobiedit_error *err) {
    if (!in->basis || in->n_basis < 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the probe solver needs a basis");
    state t = {.p = p,
               .in = in,
               .o = o,
               .d = p->model->d_model,
               .nr = p->n_read,
               .rows = p->n_carriers * p->n_read,
               .width = directions(o, in),
               .trust = o->trust,
               .delta = out->delta};
    memset(out->delta, 0, (size_t)t.d * sizeof(float));
    ME_TRY(state_alloc(&t, err));
    mobiedit_status status = run(&t, out, err);
    state_free(&t);
    return status;
}

static mobiedit_status solve_with_defaults(me_problem *p, const me_solver_input *in, me_solution *out,
                                           mobiedit_error *err) {
    me_probe_options options = me_probe_defaults();
    /* With a norm behind the down projection (gemma3) a delta only turns what the layer adds,
     * the less the longer it is: it may grow long, and steps in more directions at once waste
     * less of it. But what strays of a long one turns other tokens too. Rounds of so many
     * directions are dear: the last ones are saved. */
    if (p->model->layers[p->layer].post_ffn_norm.data) {
        options.max_norm = 40.0F;
        options.probes = 32;
        options.decay = 2e-2F;
        options.stop_all = 0.2F;
        options.enough = 0;
    }
    if (options.step < p->engine->least_step) options.step = p->engine->least_step;
    if (in->probe_step > 0) options.step = in->probe_step;
    return me_probe_solve(p, in, &options, out, err);
}

const me_solver me_solver_probe = {.name = ME_SOLVER_PROBE,
                                   .needs_basis = true,
                                   .rewords = true,
                                   .default_evaluations = 3000,
                                   .solve = solve_with_defaults};
