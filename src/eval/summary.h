/* The figures of many cases in one line: means and a median, fed case by case. */
#ifndef ME_EVAL_SUMMARY_H
#define ME_EVAL_SUMMARY_H

#include "base/error.h"

/* Zero it before the first case. */
typedef struct {
    int cases, failed, edits;
    double rewrite, paraphrase, unchanged, neighbour_kl; /* sums */
    int n_paraphrase, n_neighbours;                      /* cases that have such prompts */
    double evaluations;
    double *seconds; /* [edits] */
    int capacity;
} me_tally;

/* A case whose target the model said by itself is no edit: it counts in the metrics, not in evaluations and
 * seconds. */
mobiedit_status me_tally_add(me_tally *tally, const mobiedit_eval_case *done, mobiedit_error *err);

/* Fills the figures of `out` that come from cases; NaN where no case has one. */
void me_tally_summary(me_tally *tally, mobiedit_eval_summary *out);

void me_tally_free(me_tally *tally);

#endif
