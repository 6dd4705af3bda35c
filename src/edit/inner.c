/* Minimises the probe solver's inner problem: the edit's loss with hidden states linear in delta. */
#include "edit/inner.h"

#include "base/logits.h"
#include "base/memory.h"
#include "engine/likeliest.h"

#include <cblas.h>
#include <lbfgs.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tokens that can win ----------------------------------------------------------------------------- */

enum { LBFGS_ITERATIONS = 60 };

typedef struct {
    float log_prob; /* the highest over the rows */
    float mass;     /* the sum of the probabilities over the rows */
    int token;
} ranked;

static int by_log_prob_descending(const void *a, const void *b) {
    float x = ((const ranked *)a)->log_prob, y = ((const ranked *)b)->log_prob;
    return (x < y) - (x > y);
}

/* ranks [n_vocab]: each token over the rows, in the vocabulary's order; all [n_rows]: each row's log sum. */
static mobiedit_status rank_tokens(me_problem *p, const float *hidden, int n_rows, ranked *ranks, float *all,
                                   mobiedit_error *err) {
    size_t n_vocab = (size_t)p->model->n_vocab;
    const int rows = me_logit_rows(p->model, (size_t)n_rows);
    float *logits = me_calloc((size_t)rows * n_vocab, sizeof *logits);
    if (!logits) return me_fail_memory(err, "logits");
    for (size_t i = 0; i < n_vocab; i++)
        ranks[i] = (ranked){.log_prob = -INFINITY, .token = (int)i};
    mobiedit_status status = MOBIEDIT_OK;
    for (int first = 0; first < n_rows && status == MOBIEDIT_OK; first += rows) {
        int m = n_rows - first < rows ? n_rows - first : rows;
        status = p->engine->ops->logits(p->engine, hidden + (size_t)first * (size_t)p->model->d_model, m,
                                        logits, err);
        for (int r = 0; r < m && status == MOBIEDIT_OK; r++) {
            const float *row = logits + (size_t)r * n_vocab, log_sum = me_log_sum_expf(row, (int)n_vocab);
            for (size_t i = 0; i < n_vocab; i++) {
                const float log_prob = row[i] - log_sum;
                if (log_prob > ranks[i].log_prob) ranks[i].log_prob = log_prob;
                ranks[i].mass += expf(log_prob);
            }
            all[first + r] = log_sum;
        }
    }
    me_free(logits);
    return status;
}

static mobiedit_status take_rows(const me_problem *p, const int *tokens, me_vocab_subset *out,
                                 mobiedit_error *err) {
    int d = p->model->d_model;
    const float scale = p->engine->logit_scale != 0 ? p->engine->logit_scale : 1;
    float *norm = me_calloc((size_t)d, sizeof *norm);
    out->rows = me_calloc((size_t)out->n * (size_t)d, sizeof *out->rows);
    if (!norm || !out->rows) {
        me_free(norm);
        return me_fail_memory(err, "unembedding rows");
    }
    me_tensor_row(&p->model->output_norm, 0, norm);
    for (int i = 0; i < out->n; i++) {
        float *row = out->rows + (size_t)i * (size_t)d;
        me_tensor_row(&p->model->output, tokens[i], row);
        for (int j = 0; j < d; j++)
            row[j] *= norm[j] * scale;
    }
    me_free(norm);
    return MOBIEDIT_OK;
}

/* tokens [<= n_target + size]: targets (each once), then the best others; what is taken of ranks
 * has no mass any more. Returns their number. */
static int choose_tokens(const me_problem *p, ranked *ranks, int size, int *tokens, int *target) {
    int n = 0;
    for (int t = 0; t < p->n_target; t++) {
        int at = 0;
        while (at < n && tokens[at] != p->target[t])
            at++;
        if (at == n) tokens[n++] = p->target[t];
        target[t] = at;
    }
    const int n_targets = n;
    for (int i = 0; i < p->model->n_vocab; i++) {
        int at = 0;
        while (at < n_targets && tokens[at] != ranks[i].token)
            at++;
        if (at == n_targets && i >= size) continue;
        if (at == n_targets) tokens[n++] = ranks[i].token;
        ranks[i].mass = 0;
    }
    return n;
}

/* Systematic sampling of at most `size` tokens with probability mass / (sum of mass): tokens and log_count
 * [<= size], the log of how many each stands for. Returns their number. */
static int sample_tail(const ranked *ranks, int n_vocab, int size, int *tokens, float *log_count) {
    double total = 0, sum = 0;
    for (int i = 0; i < n_vocab; i++)
        total += ranks[i].mass;
    int n = 0;
    for (int i = 0, points = 0; i < n_vocab && total > 0; i++) {
        if (!(ranks[i].mass > 0)) continue;
        sum += ranks[i].mass;
        const int before = points;
        while (points < size && (points + 0.5) / size * total <= sum)
            points++;
        if (points == before) continue;
        tokens[n] = ranks[i].token;
        log_count[n++] = (float)log((points - before) * total / (size * (double)ranks[i].mass));
    }
    return n;
}

mobiedit_status me_vocab_subset_open(me_problem *p, const float *hidden, int n_rows, int size,
                                     me_vocab_subset *out, mobiedit_error *err) {
    const size_t n_target = (size_t)p->n_target, n_vocab = (size_t)p->model->n_vocab,
                 most = n_target + 2 * (size_t)size;
    *out = (me_vocab_subset){.target = me_calloc(n_target, sizeof *out->target),
                             .all = me_calloc((size_t)n_rows, sizeof *out->all),
                             .log_count = me_calloc(most, sizeof *out->log_count)};
    ranked *ranks = me_calloc(n_vocab, sizeof *ranks);
    int *tokens = me_calloc(most, sizeof *tokens);
    mobiedit_status status = out->target && out->all && out->log_count && ranks && tokens
                                 ? MOBIEDIT_OK
                                 : me_fail_memory(err, "the vocabulary subset");
    if (status == MOBIEDIT_OK) status = rank_tokens(p, hidden, n_rows, ranks, out->all, err);
    if (status == MOBIEDIT_OK) {
        qsort(ranks, n_vocab, sizeof *ranks, by_log_prob_descending);
        const int n = choose_tokens(p, ranks, size, tokens, out->target);
        out->n_kept = n;
        out->n = n + sample_tail(ranks, (int)n_vocab, size, tokens + n, out->log_count + n);
        status = take_rows(p, tokens, out, err);
    }
    me_free(ranks);
    me_free(tokens);
    if (status != MOBIEDIT_OK) me_vocab_subset_close(out);
    return status;
}

void me_vocab_subset_close(me_vocab_subset *subset) {
    me_free(subset->rows);
    me_free(subset->target);
    me_free(subset->all);
    me_free(subset->log_count);
    *subset = (me_vocab_subset){0};
}

/* ---- loss and gradient ------------------------------------------------------------------------------- */

typedef struct {
    const me_inner_problem *l;
    int rows;     /* n_carriers * n_read */
    float *s;     /* [n_probes] */
    float *move;  /* [rows][d]: the step's change of hidden; then the gradient of the loss in it */
    float *h;     /* [rows][d]: normed hidden, then gradient */
    float *scale; /* [rows]: 1 / rms */
    float *back;  /* [rows][d] */
    float *logit; /* [rows][vocabulary] */
    float *tail;  /* [rows]: added to log_count, so that the sampled tokens have the tail's share at s = 0 */
    float *z;     /* [vocabulary]: logits of one row, each with the log of how many tokens it stands for */
    float *grad;  /* [n_probes] */
} evaluation;

/* Takes the mean of x [d] off. */
static void centre(float *x, int d) {
    double mean = 0;
    for (int i = 0; i < d; i++)
        mean += (double)x[i] / d;
    for (int i = 0; i < d; i++)
        x[i] -= (float)mean;
}

static void normed_hidden(evaluation *e) {
    const me_inner_problem *l = e->l;
    int d = l->problem->model->d_model;
    float eps = l->problem->model->norm_eps;
    for (int r = 0; r < e->rows; r++) {
        const float *h = l->hidden + (size_t)r * (size_t)d, *move = e->move + (size_t)r * (size_t)d;
        float *out = e->h + (size_t)r * (size_t)d;
        double sum = 0;
        for (int i = 0; i < d; i++)
            out[i] = h[i] + move[i];
        if (l->problem->model->layer_norm) centre(out, d);
        for (int i = 0; i < d; i++)
            sum += (double)out[i] * out[i];
        e->scale[r] = 1.0F / sqrtf((float)(sum / d) + eps);
        for (int i = 0; i < d; i++)
            out[i] *= e->scale[r];
    }
}

/* Fills e->z with row r's logits, counted. */
static void count_logits(evaluation *e, int r) {
    const me_vocab_subset *v = e->l->vocabulary;
    const float *logit = e->logit + (size_t)r * (size_t)v->n;
    for (int i = 0; i < v->n; i++)
        e->z[i] = logit[i] + (i < v->n_kept ? 0 : v->log_count[i] + e->tail[r]);
}

/* Of a row that should say token number t of the target: e->z -> the gradient in it; returns the negative
 * log-likelihood. */
static float saying_loss(evaluation *e, int t) {
    const int n = e->l->vocabulary->n, target = e->l->vocabulary->target[t];
    const float own = e->z[target], log_sum = me_log_sum_expf(e->z, n);
    for (int i = 0; i < n; i++)
        e->z[i] = expf(e->z[i] - log_sum) - (i == target ? 1.0F : 0.0F);
    return log_sum - own;
}

/* Of a row behind the target, where carrier c should not say it again: the same of -log(1 - P(barred tokens)),
 * whose gradient is p_i P / (1 - P) with a minus sign for tokens that are not barred. */
static float again_loss(evaluation *e, int c) {
    const me_problem *p = e->l->problem;
    const me_vocab_subset *v = e->l->vocabulary;
    const float log_sum = me_log_sum_expf(e->z, v->n);
    double share = 0;
    for (int i = 0; i < v->n; i++)
        e->z[i] = expf(e->z[i] - log_sum);
    for (int t = 0; t < p->n_target; t++) {
        float *z = &e->z[v->target[t]];
        if (!p->barred[c * p->n_target + t]) continue;
        share += (double)*z;
        *z = -*z;
    }
    const double rest = fmax(1 - share, ME_LEAST_REST), odds = share / rest;
    for (int i = 0; i < v->n; i++)
        e->z[i] = e->z[i] < 0 ? -e->z[i] : (float)(-(double)e->z[i] * odds);
    return (float)-log(rest);
}

/* Logits of one row -> their gradient, in place; returns the row's loss times its weight. */
static double row_loss(evaluation *e, int r) {
    const me_problem *p = e->l->problem;
    const int n = e->l->vocabulary->n, c = r / p->n_read, t = r % p->n_read;
    const bool behind = t >= p->n_target;
    const float cap = p->model->logit_softcap,
                weight = 1 / (float)(p->n_carriers * (behind ? p->n_behind : p->n_target));
    float *logit = e->logit + (size_t)r * (size_t)n;
    count_logits(e, r);
    const float loss = behind ? again_loss(e, c) : saying_loss(e, t);
    for (int i = 0; i < n; i++) {
        float slope = cap > 0 ? 1 - (logit[i] / cap) * (logit[i] / cap) : 1;
        logit[i] = weight * slope * e->z[i];
    }
    return (double)weight * (double)loss;
}

/* Through the RMS norm: dh = scale (g - hn (hn.g) / d), into move. */
static void norm_gradient(evaluation *e) {
    int d = e->l->problem->model->d_model;
    for (int r = 0; r < e->rows; r++) {
        const float *hn = e->h + (size_t)r * (size_t)d, *g = e->back + (size_t)r * (size_t)d;
        float *out = e->move + (size_t)r * (size_t)d;
        float along = cblas_sdot(d, hn, 1, g, 1) / (float)d;
        for (int i = 0; i < d; i++)
            out[i] = e->scale[r] * (g[i] - hn[i] * along);
        if (e->l->problem->model->layer_norm) centre(out, d);
    }
}

static double penalties(evaluation *e, int n) {
    const me_inner_problem *l = e->l;
    double s2 = cblas_sdot(n, e->s, 1, e->s, 1), cross = cblas_sdot(n, e->s, 1, l->offset, 1);
    double norm = sqrt(s2), over = norm / l->trust - 1, loss = l->decay * (l->offset_norm2 + 2 * cross + s2);
    for (int i = 0; i < n; i++)
        e->grad[i] += 2 * l->decay * (l->offset[i] + e->s[i]);
    if (over > 0) {
        loss += 0.5 * over * over;
        cblas_saxpy(n, (float)(over / (l->trust * norm)), e->s, 1, e->grad, 1);
    }
    return loss;
}

/* Logits at s, capped where the model has a cap. */
static void find_logits(evaluation *e) {
    const me_inner_problem *l = e->l;
    int d = l->problem->model->d_model, width = e->rows * d, n_vocab = l->vocabulary->n;
    cblas_sgemv(CblasRowMajor, CblasTrans, l->n_probes, width, 1.0F, l->responses, width, e->s, 1, 0.0F,
                e->move, 1);
    normed_hidden(e);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, e->rows, n_vocab, d, 1.0F, e->h, d,
                l->vocabulary->rows, d, 0.0F, e->logit, n_vocab);
    const float cap = l->problem->model->logit_softcap;
    for (size_t i = 0; cap > 0 && i < (size_t)e->rows * (size_t)n_vocab; i++)
        e->logit[i] = cap * tanhf(e->logit[i] / cap);
}

static double evaluate(evaluation *e) {
    const me_inner_problem *l = e->l;
    int d = l->problem->model->d_model, width = e->rows * d, n_vocab = l->vocabulary->n;
    find_logits(e);
    double loss = 0;
    for (int r = 0; r < e->rows; r++)
        loss += row_loss(e, r);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, e->rows, d, n_vocab, 1.0F, e->logit, n_vocab,
                l->vocabulary->rows, d, 0.0F, e->back, d);
    norm_gradient(e);
    cblas_sgemv(CblasRowMajor, CblasNoTrans, l->n_probes, width, 1.0F, l->responses, width, e->move, 1, 0.0F,
                e->grad, 1);
    return loss + penalties(e, l->n_probes);
}

/* What the tokens that are not kept hold of the probability at s = 0 is known
 * exactly; the sampled ones share it. */
static void find_tail(evaluation *e) {
    const me_vocab_subset *v = e->l->vocabulary;
    find_logits(e);
    for (int r = 0; r < e->rows; r++) {
        e->tail[r] = 0;
        count_logits(e, r);
        const float all = v->all[r], kept = me_log_sum_expf(e->z, v->n_kept);
        const float sampled =
            v->n > v->n_kept ? me_log_sum_expf(e->z + v->n_kept, v->n - v->n_kept) : -INFINITY;
        e->tail[r] =
            all > kept && sampled > -INFINITY ? all + log1pf(-expf(kept - all)) - sampled : -INFINITY;
    }
}

/* x is s in units of the trust radius: a first step of length 1 is then neither too short nor too long. */
static lbfgsfloatval_t lbfgs_value(void *instance, const lbfgsfloatval_t *x, lbfgsfloatval_t *g, int n,
                                   lbfgsfloatval_t step) {
    (void)step;
    evaluation *e = instance;
    for (int i = 0; i < n; i++)
        e->s[i] = (float)x[i] * e->l->trust;
    double loss = evaluate(e);
    for (int i = 0; i < n; i++)
        g[i] = e->grad[i] * e->l->trust;
    return loss;
}

static void evaluation_free(evaluation *e) {
    me_free(e->s);
    me_free(e->move);
    me_free(e->h);
    me_free(e->scale);
    me_free(e->back);
    me_free(e->logit);
    me_free(e->tail);
    me_free(e->z);
    me_free(e->grad);
}

mobiedit_status me_inner_minimise(const me_inner_problem *l, float *s, mobiedit_error *err) {
    size_t d = (size_t)l->problem->model->d_model, nr = (size_t)l->problem->n_read, k = (size_t)l->n_probes;
    size_t rows = nr * (size_t)l->problem->n_carriers;
    evaluation e = {.l = l,
                    .rows = (int)rows,
                    .s = me_calloc(k, sizeof(float)),
                    .move = me_calloc(rows * d, sizeof(float)),
                    .h = me_calloc(rows * d, sizeof(float)),
                    .scale = me_calloc(rows, sizeof(float)),
                    .back = me_calloc(rows * d, sizeof(float)),
                    .logit = me_calloc(rows * (size_t)l->vocabulary->n, sizeof(float)),
                    .tail = me_calloc(rows, sizeof(float)),
                    .z = me_calloc((size_t)l->vocabulary->n, sizeof(float)),
                    .grad = me_calloc(k, sizeof(float))};
    double *x = me_calloc(k, sizeof *x);
    mobiedit_status status = MOBIEDIT_OK;
    if (!e.s || !e.move || !e.h || !e.scale || !e.back || !e.logit || !e.tail || !e.z || !e.grad || !x) {
        status = me_fail_memory(err, "the inner problem");
    } else {
        find_tail(&e);
        lbfgs_parameter_t parameters;
        lbfgs_parameter_init(&parameters);
        parameters.max_iterations = LBFGS_ITERATIONS;
        parameters.epsilon = 1e-4;
        for (size_t i = 0; i < k; i++)
            x[i] = s[i] / l->trust;
        /* A line search that gives up on float noise still leaves the best point so far in x: any status but
         * lack of memory is a usable answer, and the caller checks the true loss. */
        if (lbfgs((int)k, x, NULL, lbfgs_value, NULL, &e, &parameters) == LBFGSERR_OUTOFMEMORY)
            status = me_fail_memory(err, "L-BFGS");
        for (size_t i = 0; i < k; i++)
            s[i] = (float)x[i] * l->trust;
    }
    evaluation_free(&e);
    me_free(x);
    return status;
}
