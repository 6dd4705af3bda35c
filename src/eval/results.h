/* The result of an evaluation as `eval --json` prints it, and two of them side by side. */
#ifndef ME_EVAL_RESULTS_H
#define ME_EVAL_RESULTS_H

#include "eval/cases.h"
#include "eval/figures.h"

typedef struct {
    char *model, *facts, *solver; /* as the file names them; "" where it does not */
    me_cases cases;
} me_results;

/* Reads the file: untrusted. *out is freed with me_results_free, also after a failure. E_IO, E_FORMAT. */
mobiedit_status me_results_read(const char *path, me_results *out, mobiedit_error *err);
void me_results_free(me_results *results);

/* A case of both; the cases are borrowed. */
typedef struct {
    const mobiedit_eval_case *a, *b;
    double change; /* sum of |b - a| of rewrite, paraphrase and unchanged, then of neighbour KL */
} me_pair;

/* What two results come to. Figures are over the cases of both. A figure of `differences` is of b - a, case
 * by case, with a paired interval: the cases are resampled, not the two results apart. */
typedef struct {
    me_pair *pairs; /* [n] those that changed most first */
    size_t n;
    size_t only_a, only_b; /* cases that have no partner */
    mobiedit_figure a[ME_METRICS], b[ME_METRICS], differences[ME_METRICS];
} me_comparison;

/* Pairs cases by case_id, the first where one occurs again. E_MISMATCH where no case is in both, or where
 * a case_id stands for different facts. *out is freed with me_comparison_free. */
mobiedit_status me_compare(const me_results *a, const me_results *b, me_comparison *out, mobiedit_error *err);
void me_comparison_free(me_comparison *comparison);

#endif
