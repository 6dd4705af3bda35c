/* Solves the key side of an edit: the vector that is 1 on the subject and about 0 on all else. */
#include "edit/key.h"

#include "base/memory.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* A sample weighs at most so much against the ridge: keys at position 0 are hundreds of times longer than
 * others, and would leave nothing of the factor's precision to those. */
static const double MOST_WEIGHT = 1e6;
/* An answer of no more than that to what must stay is as good as 0: the neuron is silent up to
 * me_neuron's threshold, which is twice as high. */
static const float SLACK = 0.2F;
/* Rounds of one-sided residuals. More of them change next to nothing. */
enum { ONE_SIDED_ROUNDS = 6 };
/* Columns that are worked on at a time, and samples that are summed up at a time. */
enum { COLUMNS = 64, CHUNK = 256 };
/* In the solve for the constant: of all subjects' keys together, and of all others together. */
static const float CONSTANT_WEIGHT = 4;

/* Row i is the sample's key times its root: (row.left - root * y)^2 is what it costs, beside |left|^2. */
typedef struct {
    int n, d;
    float *rows;    /* [n][d] */
    float *root;    /* [n]: square root of the weight, relative to the ridge */
    float *asked;   /* [n]: what its column should answer; 0: to be silent */
    int *column;    /* [n] */
    float *answers; /* [COLUMNS][n], then the residuals */
    double *factor; /* [d][d]: of the sum of row row^T, and 1 on the diagonal */
    double *step;   /* [COLUMNS][d] */
    float *sums;    /* [COLUMNS][d] */
} samples;

static void samples_free(samples *s) {
    me_free(s->rows);
    me_free(s->root);
    me_free(s->asked);
    me_free(s->column);
    me_free(s->answers);
    me_free(s->factor);
    me_free(s->step);
    me_free(s->sums);
}

static mobiedit_status samples_alloc(samples *s, int n, int d, mobiedit_error *err) {
    const size_t count = (size_t)n, size = (size_t)d;
    *s = (samples){.n = n,
                   .d = d,
                   .rows = me_calloc(count * size, sizeof(float)),
                   .root = me_calloc(count, sizeof(float)),
                   .asked = me_calloc(count, sizeof(float)),
                   .column = me_calloc(count, sizeof(int)),
                   .answers = me_calloc(COLUMNS * count, sizeof(float)),
                   .factor = me_calloc(size * size, sizeof(double)),
                   .step = me_calloc(COLUMNS * size, sizeof(double)),
                   .sums = me_calloc(COLUMNS * size, sizeof(float))};
    if (s->rows && s->root && s->asked && s->column && s->answers && s->factor && s->step && s->sums)
        return MOBIEDIT_OK;
    samples_free(s);
    return me_fail_memory(err, "the key samples");
}

static double mean_square(const me_key_group *groups, int n_groups, int d) {
    double sum = 0;
    int n = 0;
    for (int g = 0; g < n_groups; g++) {
        if (groups[g].target == 0) continue;
        for (int i = 0; i < groups[g].n; i++) {
            const float *k = groups[g].keys + (size_t)i * (size_t)d;
            sum += (double)cblas_sdot(d, k, 1, k, 1);
        }
        n += groups[g].n;
    }
    return n ? sum / n : 1;
}

static void samples_fill(samples *s, const me_key_group *groups, int n_groups, float lambda) {
    const double ridge = lambda * mean_square(groups, n_groups, s->d);
    int at = 0;
    for (int g = 0; g < n_groups; g++) {
        const double weight = (double)groups[g].weight / groups[g].n / ridge;
        for (int i = 0; i < groups[g].n; i++, at++) {
            float *row = s->rows + (size_t)at * (size_t)s->d;
            memcpy(row, groups[g].keys + (size_t)i * (size_t)s->d, (size_t)s->d * sizeof(float));
            const double norm = cblas_snrm2(s->d, row, 1);
            s->root[at] =
                (float)sqrt(norm * norm * weight > MOST_WEIGHT ? MOST_WEIGHT / (norm * norm) : weight);
            cblas_sscal(s->d, s->root[at], row, 1);
            s->asked[at] = groups[g].target;
            s->column[at] = groups[g].column;
        }
    }
}

/* factor, its upper triangle by rows: the lower one by columns, the order in which LAPACK copies nothing. */
static mobiedit_status samples_factor(samples *s, mobiedit_error *err) {
    const size_t d = (size_t)s->d;
    double *rows = me_calloc(CHUNK * d, sizeof *rows);
    if (!rows) return me_fail_memory(err, "the keys' second moment");
    for (int first = 0; first < s->n; first += CHUNK) {
        const int n = s->n - first < CHUNK ? s->n - first : CHUNK;
        for (size_t i = 0; i < (size_t)n * d; i++)
            rows[i] = s->rows[(size_t)first * d + i];
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, s->d, n, 1, rows, s->d, 1, s->factor, s->d);
    }
    me_free(rows);
    for (size_t i = 0; i < d; i++)
        s->factor[i * d + i] += 1;
    const lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', s->d, s->factor, s->d);
    if (info != 0)
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the key solve is singular (LAPACK says %d)", (int)info);
    return MOBIEDIT_OK;
}

/* Answers [n] of a column -> what is left to be desired of them. */
static void to_residuals(const samples *s, int column, bool one_sided, float *answers) {
    for (int i = 0; i < s->n; i++) {
        const bool is_asked = s->asked[i] != 0 && s->column[i] == column;
        const float want = is_asked ? s->asked[i] : 0, answer = answers[i] / s->root[i];
        float left = want - answer;
        if (one_sided && is_asked) left = left > 0 ? left : 0;
        if (one_sided && !is_asked) left = answer > SLACK ? SLACK - answer : 0;
        answers[i] = s->root[i] * left;
    }
}

/* One round for n_columns from `first` on: left moves by the least squares of its residuals, those of samples
 * on their good side being 0. The least squares are at least the one-sided ones and equal to them at the
 * present left, so that this lowers the latter (majorisation-minimisation, Hunter and Lange 2004). */
static mobiedit_status improve(samples *s, int first, int n_columns, bool one_sided, float *left,
                               mobiedit_error *err) {
    const int n = s->n, d = s->d;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n_columns, n, d, 1, left, d, s->rows, d, 0,
                s->answers, n);
    for (int c = 0; c < n_columns; c++)
        to_residuals(s, first + c, one_sided, s->answers + (size_t)c * (size_t)n);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n_columns, d, n, 1, s->answers, n, s->rows, d, 0,
                s->sums, d);
    for (size_t i = 0; i < (size_t)n_columns * (size_t)d; i++)
        s->step[i] = (double)s->sums[i] - left[i];
    const lapack_int info = LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', d, n_columns, s->factor, d, s->step, d);
    if (info != 0)
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the key solve failed (LAPACK says %d)", (int)info);
    for (size_t i = 0; i < (size_t)n_columns * (size_t)d; i++)
        left[i] += (float)s->step[i];
    return MOBIEDIT_OK;
}

float me_key_response(const me_key_group *group, int d, const float *left) {
    double sum = 0;
    for (int i = 0; i < group->n; i++)
        sum += cblas_sdot(d, group->keys + (size_t)i * (size_t)d, 1, left, 1);
    return (float)(sum / group->n);
}

float me_key_column_response(const me_key_group *groups, int n_groups, int column, int d, const float *left) {
    float sum = 0;
    int n = 0;
    for (int g = 0; g < n_groups; g++) {
        if (!me_key_is_own(&groups[g], column)) continue;
        sum += me_key_response(&groups[g], d, left) / groups[g].target;
        n++;
    }
    return n ? sum / (float)n : 0;
}

/* one_sided_rounds: 0 for plain least squares. */
static mobiedit_status solve(const me_key_group *groups, int n_groups, int n_columns, int d, float lambda,
                             int one_sided_rounds, float *left, mobiedit_error *err) {
    int n = 0;
    for (int g = 0; g < n_groups; g++)
        n += groups[g].n;
    samples s;
    ME_TRY(samples_alloc(&s, n, d, err));
    samples_fill(&s, groups, n_groups, lambda);
    mobiedit_status status = samples_factor(&s, err);
    memset(left, 0, (size_t)n_columns * (size_t)d * sizeof *left);
    for (int first = 0; first < n_columns; first += COLUMNS) {
        const int some = n_columns - first < COLUMNS ? n_columns - first : COLUMNS;
        for (int round = 0; round <= one_sided_rounds && status == MOBIEDIT_OK; round++)
            status = improve(&s, first, some, round > 0, left + (size_t)first * (size_t)d, err);
    }
    samples_free(&s);
    return status;
}

mobiedit_status me_key_solve_columns(const me_key_group *groups, int n_groups, int n_columns, int d,
                                     float lambda, float *left, mobiedit_error *err) {
    return solve(groups, n_groups, n_columns, d, lambda, ONE_SIDED_ROUNDS, left, err);
}

mobiedit_status me_key_constant(const me_key_group *groups, int n_groups, int d, float lambda,
                                float *constant, mobiedit_error *err) {
    me_key_group *ones = me_calloc((size_t)n_groups, sizeof *ones);
    int n_subjects = 0, n_others = 0;
    if (!ones) return me_fail_memory(err, "the key samples");
    for (int g = 0; g < n_groups; g++) {
        n_subjects += groups[g].target != 0 ? groups[g].n : 0;
        n_others += groups[g].target != 0 ? 0 : groups[g].n;
    }
    for (int g = 0; g < n_groups; g++) {
        const int of = groups[g].target != 0 ? n_subjects : n_others;
        ones[g] = (me_key_group){.keys = groups[g].keys,
                                 .n = groups[g].n,
                                 .target = 1,
                                 .weight = CONSTANT_WEIGHT * (float)groups[g].n / (float)of};
    }
    const mobiedit_status status = solve(ones, n_groups, 1, d, lambda, 0, constant, err);
    me_free(ones);
    return status;
}

mobiedit_status me_key_mean(const me_key_group *group, int d, float *left, mobiedit_error *err) {
    for (int i = 0; i < d; i++)
        left[i] = 0;
    for (int i = 0; i < group->n; i++)
        cblas_saxpy(d, 1 / (float)group->n, group->keys + (size_t)i * (size_t)d, 1, left, 1);
    const float response = me_key_response(group, d, left);
    if (!(response > 0) || !isfinite(response))
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the subject has no key");
    cblas_sscal(d, group->target / response, left, 1);
    return MOBIEDIT_OK;
}

mobiedit_status me_key_solve(const me_key_group *groups, int n_groups, int d, float lambda, float *left,
                             mobiedit_error *err) {
    if (n_groups < 1 || groups[0].n < 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a key needs at least one positive");
    ME_TRY(me_key_solve_columns(groups, n_groups, 1, d, lambda, left, err));
    const float response = me_key_column_response(groups, n_groups, 0, d, left);
    if (!(response > 0.5F) || !isfinite(response))
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED,
                       "the subject cannot be told apart from what must stay (response %.2f)",
                       (double)response);
    cblas_sscal(d, 1 / response, left, 1);
    return MOBIEDIT_OK;
}
