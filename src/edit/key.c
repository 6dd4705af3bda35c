#include "edit/key.h"

#include "base/memory.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

/* The least ridge of a sample: enough to keep the matrix definite where two of them coincide. */
static const double LEAST_RIDGE = 1e-6;
/* An answer of no more than that to what must stay is as good as 0: the neuron is silent up to
 * me_neuron's threshold, which is twice as high. */
static const double SLACK = 0.2;
/* Rounds of one-sided targets. More of them change next to nothing. */
enum { ONE_SIDED_ROUNDS = 6 };
/* In the solve for the constant: of all subjects' keys together, and of all others together. */
static const float CONSTANT_WEIGHT = 4;

typedef struct {
    int n, d, n_columns;
    float *rows;   /* [n][d], each scaled to length 1 */
    double *norm;  /* [n]: what it was scaled by */
    double *ridge; /* [n] */
    double *asked; /* [n]: what its column should answer, scaled like the rows; the others 0 */
    int *column;   /* [n] */
    double *y;     /* [n_columns][n]: targets, scaled like the rows */
    double *alpha; /* [n_columns][n]: the solution */
    double *gram;  /* [n][n] */
} samples;

static void samples_free(samples *s) {
    me_free(s->rows);
    me_free(s->norm);
    me_free(s->ridge);
    me_free(s->asked);
    me_free(s->column);
    me_free(s->y);
    me_free(s->alpha);
    me_free(s->gram);
}

static mobiedit_status samples_alloc(samples *s, int n, int n_columns, int d, mobiedit_error *err) {
    size_t count = (size_t)n;
    *s = (samples){.n = n,
                   .d = d,
                   .n_columns = n_columns,
                   .rows = me_calloc(count * (size_t)d, sizeof(float)),
                   .norm = me_calloc(count, sizeof(double)),
                   .ridge = me_calloc(count, sizeof(double)),
                   .asked = me_calloc(count, sizeof(double)),
                   .column = me_calloc(count, sizeof(int)),
                   .y = me_calloc(count * (size_t)n_columns, sizeof(double)),
                   .alpha = me_calloc(count * (size_t)n_columns, sizeof(double)),
                   .gram = me_calloc(count * count, sizeof(double))};
    if (s->rows && s->norm && s->ridge && s->asked && s->column && s->y && s->alpha && s->gram)
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

/* Dual ridge: (K K^T + diag(lambda / w_i)) alpha = y, left = K^T alpha; the residual of sample i is (lambda /
 * w_i) alpha_i. Rows are scaled to length 1 first, which changes
 * nothing but the condition: keys at position 0 are hundreds of times longer than others. */
static void samples_fill(samples *s, const me_key_group *groups, int n_groups, float lambda) {
    const double scale = mean_square(groups, n_groups, s->d);
    int at = 0;
    for (int g = 0; g < n_groups; g++) {
        for (int i = 0; i < groups[g].n; i++, at++) {
            float *row = s->rows + (size_t)at * (size_t)s->d;
            memcpy(row, groups[g].keys + (size_t)i * (size_t)s->d, (size_t)s->d * sizeof(float));
            double norm = cblas_snrm2(s->d, row, 1);
            s->norm[at] = norm > 0 ? norm : 1;
            cblas_sscal(s->d, (float)(1 / s->norm[at]), row, 1);
            const double ridge =
                lambda * scale * groups[g].n / groups[g].weight / (s->norm[at] * s->norm[at]);
            s->ridge[at] = ridge > LEAST_RIDGE ? ridge : LEAST_RIDGE;
            s->asked[at] = groups[g].target / s->norm[at];
            s->column[at] = groups[g].column;
            s->y[(size_t)groups[g].column * (size_t)s->n + (size_t)at] = s->asked[at];
        }
    }
}

/* The factor of Gram matrix and ridge, in gram. */
static mobiedit_status samples_factor(samples *s, mobiedit_error *err) {
    size_t n = (size_t)s->n;
    float *gram = me_calloc(n * n, sizeof *gram);
    if (!gram) return me_fail_memory(err, "the Gram matrix");
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasNoTrans, s->n, s->d, 1.0F, s->rows, s->d, 0.0F, gram, s->n);
    for (size_t i = 0; i < n * n; i++)
        s->gram[i] = gram[i];
    me_free(gram);
    for (size_t i = 0; i < n; i++)
        s->gram[i * n + i] += s->ridge[i];
    /* The upper triangle by rows is the lower one by columns, the order in which LAPACK copies nothing. */
    const lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', s->n, s->gram, s->n);
    if (info != 0)
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the key solve is singular (LAPACK says %d)", (int)info);
    return MOBIEDIT_OK;
}

static mobiedit_status samples_solve(samples *s, mobiedit_error *err) {
    memcpy(s->alpha, s->y, (size_t)s->n_columns * (size_t)s->n * sizeof *s->y);
    const lapack_int info =
        LAPACKE_dpotrs(LAPACK_COL_MAJOR, 'L', s->n, s->n_columns, s->gram, s->n, s->alpha, s->n);
    if (info != 0)
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the key solve failed (LAPACK says %d)", (int)info);
    return MOBIEDIT_OK;
}

/* Moves each target to the answer where that is on its good side: the least squares of such targets are at
 * least the one-sided squares of the asked ones, and equal to them at the present solution, so that solving
 * for them again lowers the latter (majorisation-minimisation, Hunter and Lange 2004). */
static void relax_targets(samples *s) {
    for (int c = 0; c < s->n_columns; c++) {
        for (int i = 0; i < s->n; i++) {
            double *y = s->y + (size_t)c * (size_t)s->n + i;
            const double answer = *y - s->ridge[i] * s->alpha[(size_t)c * (size_t)s->n + (size_t)i];
            if (s->asked[i] != 0 && s->column[i] == c)
                *y = answer > s->asked[i] ? answer : s->asked[i];
            else
                *y = answer < SLACK / s->norm[i] ? answer : SLACK / s->norm[i];
        }
    }
}

/* left [n_columns][d] = alpha^T K */
static mobiedit_status combine(const samples *s, float *left, mobiedit_error *err) {
    const size_t n = (size_t)s->n * (size_t)s->n_columns;
    float *alpha = me_calloc(n, sizeof *alpha);
    if (!alpha) return me_fail_memory(err, "the keys' solution");
    for (size_t i = 0; i < n; i++)
        alpha[i] = (float)s->alpha[i];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s->n_columns, s->d, s->n, 1.0F, alpha, s->n,
                s->rows, s->d, 0.0F, left, s->d);
    me_free(alpha);
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
        if (groups[g].target == 0 || groups[g].column != column) continue;
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
    ME_TRY(samples_alloc(&s, n, n_columns, d, err));
    samples_fill(&s, groups, n_groups, lambda);
    mobiedit_status status = samples_factor(&s, err);
    if (status == MOBIEDIT_OK) status = samples_solve(&s, err);
    for (int round = 0; round < one_sided_rounds && status == MOBIEDIT_OK; round++) {
        relax_targets(&s);
        status = samples_solve(&s, err);
    }
    if (status == MOBIEDIT_OK) status = combine(&s, left, err);
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
