/* The metrics of many cases: what each is called, and means with bootstrap intervals. */
#ifndef ME_EVAL_FIGURES_H
#define ME_EVAL_FIGURES_H

#include "base/error.h"

typedef enum {
    ME_UNIT_SHARE,
    ME_UNIT_NATS,
    ME_UNIT_BITS,
    ME_UNIT_PROMPTS,
    ME_UNIT_SECONDS,
    ME_UNIT_JOULES
} me_unit;

typedef struct {
    const char *name;  /* in JSON */
    const char *label; /* for people */
    me_unit unit;
    int better;    /* 1: more is better, -1: less is, 0: neither */
    size_t offset; /* in mobiedit_eval_case: of a double, of a size_t for ME_METRIC_EVALS */
} me_metric;

enum {
    ME_METRICS = MOBIEDIT_EVAL_FIGURES,
    ME_METRIC_SECONDS = ME_METRICS - 1,
    ME_METRIC_EVALS = ME_METRICS - 2,
    ME_METRIC_JOULES = ME_METRICS - 3,
    ME_METRIC_LOSS = ME_METRICS - 5
};
extern const me_metric me_metric_table[ME_METRICS];

/* Metric m of a case; NaN where it has none. A case whose target the model said by itself, or that was
 * measured with a given adapter, is no edit: it has no evaluations, seconds and loss. */
double me_metric_value(int m, const mobiedit_eval_case *of);
/* Sets a metric of a case that is read from a file. */
void me_metric_set(int m, mobiedit_eval_case *of, double value);

/* Mean of n values (NaN left out) with a 95 % interval: the 2.5 and 97.5 percentiles of the means of 1,000
 * resamples with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
 * Always the same for the same values. */
mobiedit_status me_bootstrap(const double *values, size_t n, mobiedit_figure *out, mobiedit_error *err);

/* All metrics over the cases of a relation, or over all where it is NULL. "" stands for cases without one.
 * figures: [ME_METRICS]. */
mobiedit_status me_figures(const mobiedit_eval_case *cases, size_t n, const char *relation,
                           mobiedit_figure *figures, mobiedit_error *err);

/* The relations of cases in the order of their names, each once; "" for cases without one. names: room for n;
 * they point into the cases. */
size_t me_relations(const mobiedit_eval_case *cases, size_t n, const char **names);

/* Of n values, NaN left out; NaN of none. Sorts them. */
double me_median(double *values, size_t n);

#endif
