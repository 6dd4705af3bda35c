/* The reports of evaluations as pages. */
#ifndef CLI_EVAL_HTML_H
#define CLI_EVAL_HTML_H

#include "eval/results.h"

#include <stdio.h>

/* One evaluation: the summary, plots, relations, and the worst cases in full. */
typedef struct {
    const char *model, *facts;
    const char *adapter;  /* the one that was given, or NULL */
    const char *baseline; /* likewise */
    const mobiedit_eval_summary *summary;
    const me_cases *cases;
} html_evaluation;
mobiedit_status html_write_evaluation(const char *path, const html_evaluation *what, mobiedit_error *err);

/* Two evaluations: differences, and the cases that changed most. */
typedef struct {
    const char *path_a, *path_b;
    const me_results *a, *b;
    const me_comparison *comparison;
} html_comparison;
mobiedit_status html_write_comparison(const char *path, const html_comparison *what, mobiedit_error *err);

#endif
