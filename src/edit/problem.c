/* The value problem of one edit: delta on the carriers, losses and responses, counted and budgeted. */
#include "edit/problem.h"

#include "base/logits.h"
#include "base/memory.h"
#include "engine/likeliest.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

static size_t sequence_tokens(const me_prefix *prefix, size_t n_deltas, size_t n_which) {
    return prefix->suffix_tokens * n_deltas * n_which / (size_t)prefix->n_sequences;
}

/* deltas [n][d] with the offset added; the same array where there is none. Freed with lifted_free. */
static const float *lifted(const me_problem *p, const float *deltas, int n) {
    const size_t d = (size_t)p->model->d_model;
    if (!p->offset) return deltas;
    float *out = me_calloc((size_t)n * d, sizeof *out);
    for (size_t i = 0; out && i < (size_t)n * d; i++)
        out[i] = deltas[i] + p->offset[i % d];
    return out;
}

static void lifted_free(const me_problem *p, const float *deltas) {
    if (p->offset) me_free((void *)deltas);
}

static mobiedit_status suffix(me_problem *p, const me_prefix *prefix, const float *deltas, int n,
                              const int *which, int n_which, float *hidden, mobiedit_error *err) {
    const float *real = lifted(p, deltas, n);
    if (!real) return me_fail_memory(err, "deltas");
    const mobiedit_status status =
        p->engine->ops->suffix(p->engine, prefix, real, n, which, n_which, hidden, err);
    lifted_free(p, real);
    return status;
}

static mobiedit_status open_essence(me_problem *p, const me_sequence *essence, mobiedit_error *err) {
    const struct me_engine_ops *ops = p->engine->ops;
    ME_TRY(ops->prefix(p->engine, p->layer, essence, 1, &p->essence, err));
    p->essence_logits = me_calloc((size_t)p->model->n_vocab, sizeof(float));
    if (!p->essence_logits) return me_fail_memory(err, "the essence distribution");
    return ops->logits(p->engine, p->essence->hidden, 1, p->essence_logits, err);
}

static mobiedit_status open_carriers(me_problem *p, const me_sequence *carriers, int n, mobiedit_error *err) {
    ME_TRY(p->engine->ops->prefix(p->engine, p->layer, carriers, n, &p->carriers, err));
    p->value_norm = cblas_snrm2(p->model->d_model, p->carriers->values, 1);
    if (!(p->value_norm > 0) || !isfinite(p->value_norm))
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "layer %d gives no usable value at the subject", p->layer);
    return MOBIEDIT_OK;
}

/* Where token number t stands first in the target. */
static int first_place(const me_problem *p, int t) {
    int first = 0;
    while (p->target[first] != p->target[t])
        first++;
    return first;
}

/* Tokens of the target that a carrier does not go on with anyway. One that occurs twice counts once. */
static mobiedit_status bar_tokens(me_problem *p, const me_sequence *carriers, mobiedit_error *err) {
    p->barred = me_calloc((size_t)p->n_carriers * (size_t)p->n_target, sizeof *p->barred);
    if (!p->barred) return me_fail_memory(err, "the value problem");
    for (int c = 0; c < p->n_carriers; c++) {
        const me_token *behind = carriers[c].tokens + carriers[c].read_pos + 1 + p->n_target;
        for (int t = 0; t < p->n_target; t++) {
            bool *barred = &p->barred[c * p->n_target + t];
            *barred = first_place(p, t) == t;
            for (int i = 0; i < p->n_behind; i++)
                if (behind[i] == p->target[t]) *barred = false;
        }
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_problem_open(me_engine *engine, int layer, const me_sequence *carriers, int n_carriers,
                                const me_sequence *essence, const me_token *target, int n_target,
                                me_problem **out, mobiedit_error *err) {
    me_problem *p = me_calloc(1, sizeof *p);
    if (!p) return me_fail_memory(err, "the value problem");
    *p = (me_problem){.engine = engine,
                      .model = engine->model,
                      .layer = layer,
                      .n_carriers = n_carriers,
                      .n_own = n_carriers,
                      .n_target = n_target,
                      .n_behind = carriers->n_read - n_target,
                      .n_read = carriers->n_read,
                      .target = target,
                      .max_evaluations = SIZE_MAX};
    mobiedit_status status = open_carriers(p, carriers, n_carriers, err);
    if (status == MOBIEDIT_OK && p->n_behind) status = bar_tokens(p, carriers, err);
    if (status == MOBIEDIT_OK && essence) status = open_essence(p, essence, err);
    if (status != MOBIEDIT_OK) {
        me_problem_close(p);
        return status;
    }
    *out = p;
    return MOBIEDIT_OK;
}

void me_problem_close(me_problem *p) {
    if (!p) return;
    if (p->carriers) p->engine->ops->prefix_free(p->engine, p->carriers);
    if (p->essence) p->engine->ops->prefix_free(p->engine, p->essence);
    me_free(p->essence_logits);
    me_free(p->barred);
    me_free(p->offset);
    me_free(p);
}

static mobiedit_status count(me_problem *p, size_t n, size_t n_which, mobiedit_error *err) {
    p->evaluations += n * n_which;
    p->token_passes += sequence_tokens(p->carriers, n, n_which);
    if (p->progress) p->progress->state.evaluations = p->evaluations;
    return me_progress_tell(p->progress, err);
}

mobiedit_status me_problem_hidden(me_problem *p, const float *deltas, int n, const int *which, int n_which,
                                  float *hidden, mobiedit_error *err) {
    int *all = NULL;
    if (!which) {
        all = me_calloc((size_t)p->n_carriers, sizeof *all);
        if (!all) return me_fail_memory(err, "the carriers");
        for (int i = 0; i < p->n_carriers; i++)
            all[i] = i;
        which = all;
        n_which = p->n_carriers;
    }
    mobiedit_status status = suffix(p, p->carriers, deltas, n, which, n_which, hidden, err);
    me_free(all);
    ME_TRY(status);
    return count(p, (size_t)n, (size_t)n_which, err);
}

mobiedit_status me_problem_responses(me_problem *p, const float *base, const float *deltas, int n,
                                     int carrier, float *responses, mobiedit_error *err) {
    const float *from = lifted(p, base, 1), *to = lifted(p, deltas, n);
    mobiedit_status status = from && to ? MOBIEDIT_OK : me_fail_memory(err, "deltas");
    if (status == MOBIEDIT_OK)
        status = p->engine->ops->responses(p->engine, p->carriers, from, to, n, &carrier, 1, responses, err);
    lifted_free(p, from);
    lifted_free(p, to);
    ME_TRY(status);
    return count(p, (size_t)n + 1, 1, err);
}

/* -log(1 - P(barred tokens)) of one position. */
static float again_at(const me_problem *p, const bool *barred, const float *logits) {
    const float all = me_log_sum_expf(logits, p->model->n_vocab);
    double share = 0;
    for (int t = 0; t < p->n_target; t++)
        if (barred[t]) share += exp((double)(logits[p->target[t]] - all));
    return (float)-log1p(-fmin(share, 1 - ME_LEAST_REST));
}

/* logits [n_read][n_vocab]. */
static me_score score_one(const me_problem *p, int carrier, const float *logits) {
    const int n_vocab = p->model->n_vocab;
    me_score score = {.nll = 0, .says = true, .margin = INFINITY};
    for (int t = 0; t < p->n_target; t++) {
        const float *x = logits + (size_t)t * (size_t)n_vocab;
        float other = -INFINITY;
        for (int i = 0; i < n_vocab; i++)
            if (i != p->target[t] && x[i] > other) other = x[i];
        const float own = x[p->target[t]];
        score.nll += (me_log_sum_expf(x, n_vocab) - own) / (float)p->n_target;
        /* NaN must count as failure, hence the form of the comparison. */
        if (!(own > other)) score.says = false;
        if (!(own - other >= score.margin)) score.margin = own - other;
    }
    for (int i = 0; i < p->n_behind; i++)
        score.again += again_at(p, p->barred + (size_t)carrier * (size_t)p->n_target,
                                logits + (size_t)(p->n_target + i) * (size_t)n_vocab) /
                       (float)p->n_behind;
    return score;
}

mobiedit_status me_problem_score(me_problem *p, const float *hidden, int n, me_score *scores,
                                 mobiedit_error *err) {
    size_t n_vocab = (size_t)p->model->n_vocab, d = (size_t)p->model->d_model, nr = (size_t)p->n_read;
    size_t chunk = (size_t)me_logit_rows(p->model, (size_t)n * nr) / nr;
    if (chunk < 1) chunk = 1;
    float *logits = me_calloc(chunk * nr * n_vocab, sizeof *logits);
    if (!logits) return me_fail_memory(err, "logits");
    mobiedit_status status = MOBIEDIT_OK;
    for (size_t first = 0; first < (size_t)n && status == MOBIEDIT_OK; first += chunk) {
        size_t m = (size_t)n - first < chunk ? (size_t)n - first : chunk;
        status = p->engine->ops->logits(p->engine, hidden + first * nr * d, (int)(m * nr), logits, err);
        for (size_t i = 0; i < m && status == MOBIEDIT_OK; i++)
            scores[first + i] =
                score_one(p, (int)((first + i) % (size_t)p->n_carriers), logits + i * nr * n_vocab);
    }
    me_free(logits);
    return status;
}

float me_score_loss(const me_score *score) {
    return score->nll + score->again;
}

double me_mean_loss(const me_score *scores, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)me_score_loss(&scores[i]);
    return sum / n;
}

mobiedit_status me_problem_essence_kl(me_problem *p, const float *deltas, int n, float *kl,
                                      mobiedit_error *err) {
    if (!p->essence) {
        memset(kl, 0, (size_t)n * sizeof *kl);
        return MOBIEDIT_OK;
    }
    const int which = 0;
    size_t n_vocab = (size_t)p->model->n_vocab, d = (size_t)p->model->d_model;
    float *hidden = me_calloc((size_t)n * d, sizeof *hidden);
    float *logits = me_calloc((size_t)n * n_vocab, sizeof *logits);
    mobiedit_status status = hidden && logits ? MOBIEDIT_OK : me_fail_memory(err, "the essence term");
    if (status == MOBIEDIT_OK) status = suffix(p, p->essence, deltas, n, &which, 1, hidden, err);
    if (status == MOBIEDIT_OK) status = p->engine->ops->logits(p->engine, hidden, n, logits, err);
    for (int i = 0; i < n && status == MOBIEDIT_OK; i++)
        kl[i] = (float)me_kl(p->essence_logits, logits + (size_t)i * n_vocab, (int)n_vocab);
    me_free(hidden);
    me_free(logits);
    p->evaluations += (size_t)n;
    p->token_passes += sequence_tokens(p->essence, (size_t)n, 1);
    return status;
}

/* The hidden vectors of the carriers at a delta of 0, which solvers start from. */
static mobiedit_status lift_start(me_problem *p, mobiedit_error *err) {
    float *zero = me_calloc((size_t)p->model->d_model, sizeof *zero);
    if (!zero) return me_fail_memory(err, "a delta");
    const mobiedit_status status = me_problem_hidden(p, zero, 1, NULL, 0, p->carriers->hidden, err);
    me_free(zero);
    return status;
}

mobiedit_status me_problem_set_offset(me_problem *p, const float *offset, mobiedit_error *err) {
    const size_t bytes = (size_t)p->model->d_model * sizeof *offset;
    if (!p->offset) p->offset = me_calloc(1, bytes);
    if (!p->offset) return me_fail_memory(err, "what other edits add");
    memcpy(p->offset, offset, bytes);
    return lift_start(p, err);
}

size_t me_problem_left(const me_problem *p) {
    return p->evaluations < p->max_evaluations ? p->max_evaluations - p->evaluations : 0;
}

mobiedit_status me_problem_refresh(me_problem *p, mobiedit_error *err) {
    if (!p->redraw) return MOBIEDIT_OK;
    const me_sequence *sequences = NULL;
    ME_TRY(p->redraw(p->source, &sequences, err));
    me_prefix *old = p->carriers;
    p->carriers = NULL;
    mobiedit_status status = open_carriers(p, sequences, p->n_carriers, err);
    if (status == MOBIEDIT_OK) {
        p->engine->ops->prefix_free(p->engine, old);
        p->evaluations += (size_t)p->n_carriers;
        if (p->offset) status = lift_start(p, err);
    } else {
        if (p->carriers) p->engine->ops->prefix_free(p->engine, p->carriers);
        p->carriers = old;
    }
    return status;
}

mobiedit_status me_problem_report(me_problem *p, int round, float loss, int n_say, mobiedit_error *err) {
    if (!p->progress) return MOBIEDIT_OK;
    p->progress->state.round = round;
    p->progress->state.loss = loss;
    p->progress->state.carriers_say = n_say;
    p->progress->state.carriers = p->n_carriers;
    p->progress->state.evaluations = p->evaluations;
    ME_TRY(me_progress_trace(p->progress, p->evaluations, loss, err));
    return me_progress_tell(p->progress, err);
}
