/* Solves the second factor of an edit's neuron, against the tokens that open its gate by mistake. */
#include "edit/veto.h"

#include "base/memory.h"
#include "edit/neuron.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A rival answers more than LEAST_RIVAL, and hardly anyone more. */
enum { MOST_RIVALS = 300 };
static const float LEAST_RIVAL = 0.05F;
/* The ridge, relative to the rivals' mean square; what all rivals together weigh with a hundred columns; and
 * the column's own groups, times their weights: subjects in other words are to lose nothing. */
static const float LAMBDA = 0.03F, RIVALS_WEIGHT = 0.5F, OWN_WEIGHT = 30;

typedef struct {
    const float *key;
    float answer;
} rival;

/* Weighted samples: rows [n][d] and asked [n], both times the root of the weight relative to the ridge. */
typedef struct {
    const me_key_group *groups;
    int n_groups, n_columns, column, d;
    rival *rivals; /* those that answer most first */
    int n_rivals;
    double ridge;
    double *rows, *asked, *gram;
    int n;
} regression;

static bool is_own(const regression *r, int group) {
    return me_key_is_own(&r->groups[group], r->column);
}

static int count(const regression *r, bool own) {
    int n = 0;
    for (int g = 0; g < r->n_groups; g++)
        n += is_own(r, g) == own ? r->groups[g].n : 0;
    return n;
}

/* ---- rivals ------------------------------------------------------------------------------------------ */

static int compare_rivals(const void *x, const void *y) {
    const float a = ((const rival *)x)->answer, b = ((const rival *)y)->answer;
    return (a < b) - (a > b);
}

static mobiedit_status find_rivals(regression *r, const float *left, mobiedit_error *err) {
    const size_t d = (size_t)r->d;
    r->rivals = me_calloc((size_t)count(r, false) + 1, sizeof *r->rivals);
    if (!r->rivals) return me_fail_memory(err, "the rivals");
    for (int g = 0; g < r->n_groups; g++)
        for (int i = 0; !is_own(r, g) && i < r->groups[g].n; i++) {
            const float *key = r->groups[g].keys + (size_t)i * d;
            const float answer = cblas_sdot(r->d, key, 1, left, 1);
            if (answer > LEAST_RIVAL) r->rivals[r->n_rivals++] = (rival){.key = key, .answer = answer};
        }
    qsort(r->rivals, (size_t)r->n_rivals, sizeof *r->rivals, compare_rivals);
    if (r->n_rivals > MOST_RIVALS) r->n_rivals = MOST_RIVALS;
    return MOBIEDIT_OK;
}

/* ---- the regression ---------------------------------------------------------------------------------- */

static mobiedit_status alloc(regression *r, mobiedit_error *err) {
    const size_t n = (size_t)count(r, true) + (size_t)r->n_rivals;
    r->rows = me_calloc(n * (size_t)r->d, sizeof *r->rows);
    r->asked = me_calloc(n, sizeof *r->asked);
    r->gram = me_calloc(n * n, sizeof *r->gram);
    return r->rows && r->asked && r->gram ? MOBIEDIT_OK : me_fail_memory(err, "the rivals");
}

static void add(regression *r, const float *key, double weight, double asked) {
    double *row = r->rows + (size_t)r->n * (size_t)r->d;
    const double root = sqrt(weight / r->ridge);
    for (int i = 0; i < r->d; i++)
        row[i] = root * key[i];
    r->asked[r->n++] = root * asked;
}

static void add_own(regression *r) {
    for (int g = 0; g < r->n_groups; g++)
        for (int i = 0; is_own(r, g) && i < r->groups[g].n; i++)
            add(r, r->groups[g].keys + (size_t)i * (size_t)r->d,
                (double)(OWN_WEIGHT * r->groups[g].weight) / r->groups[g].n, 0);
}

/* A rival weighs by the square of its answer. What neurons give at a token adds up, and so what one of them
 * may give goes with the square of their number; alone it needs no second look. */
static void add_rivals(regression *r, const float *constant) {
    const double of_hundred = r->n_columns / 100.0, all = RIVALS_WEIGHT * of_hundred * of_hundred;
    double sum = 0;
    for (int i = 0; i < r->n_rivals; i++)
        sum += (double)r->rivals[i].answer * r->rivals[i].answer;
    for (int i = 0; i < r->n_rivals; i++) {
        const rival *one = &r->rivals[i];
        const float c = cblas_sdot(r->d, one->key, 1, constant, 1);
        add(r, one->key, all * one->answer * one->answer / sum, me_neuron_ceiling() * c - one->answer);
    }
}

/* veto = X^T (X X^T + I)^-1 y for the rows X: in the dimensions of the samples, which are few. */
static mobiedit_status solve(regression *r, float *veto, mobiedit_error *err) {
    const int n = r->n;
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, n, r->d, 1, r->rows, r->d, 0, r->gram, n);
    for (size_t i = 0; i < (size_t)n; i++)
        r->gram[i * (size_t)n + i] += 1;
    const lapack_int info = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', n, 1, r->gram, n, r->asked, n);
    if (info != 0)
        return me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the second look is singular (LAPACK says %d)", (int)info);
    for (int i = 0; i < r->d; i++)
        veto[i] = (float)cblas_ddot(n, r->asked, 1, r->rows + i, r->d);
    return MOBIEDIT_OK;
}

static mobiedit_status run(regression *r, const float *left, const float *constant, float *veto,
                           mobiedit_error *err) {
    double squares = 0;
    ME_TRY(find_rivals(r, left, err));
    if (r->n_rivals == 0) return MOBIEDIT_OK;
    ME_TRY(alloc(r, err));
    for (int i = 0; i < r->n_rivals; i++)
        squares += (double)cblas_sdot(r->d, r->rivals[i].key, 1, r->rivals[i].key, 1);
    r->ridge = LAMBDA * squares / r->n_rivals;
    add_own(r);
    add_rivals(r, constant);
    return solve(r, veto, err);
}

/* One column. */
static mobiedit_status solve_column(const me_key_group *groups, int n_groups, int n_columns, int column,
                                    int d, const float *left, const float *constant, float *veto,
                                    mobiedit_error *err) {
    regression r = {.groups = groups, .n_groups = n_groups, .n_columns = n_columns, .column = column, .d = d};
    const mobiedit_status status = run(&r, left, constant, veto, err);
    me_free(r.rivals);
    me_free(r.rows);
    me_free(r.asked);
    me_free(r.gram);
    return status;
}

mobiedit_status me_veto_solve(const me_key_group *groups, int n_groups, int n_columns, int d,
                              const float *left, const float *constant, float *veto, mobiedit_error *err) {
    const size_t width = (size_t)d;
    memset(veto, 0, (size_t)n_columns * width * sizeof *veto);
    for (int c = 0; c < n_columns; c++)
        ME_TRY(solve_column(groups, n_groups, n_columns, c, d, left + (size_t)c * width, constant,
                            veto + (size_t)c * width, err));
    return MOBIEDIT_OK;
}
