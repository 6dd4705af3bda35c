/* The probe solver's settings; the defaults are what `mobiedit edit` uses. */
#ifndef ME_EDIT_PROBE_H
#define ME_EDIT_PROBE_H

#include "edit/solver.h"

typedef struct {
    int rounds;        /* at most */
    int probes;        /* directions a round, on each probed carrier; without calibration twice as many */
    float step;        /* length of a probe, in |v| */
    float trust;       /* first trust radius, in |v| */
    float decay;       /* weight of |delta|^2 / |v|^2 in the loss */
    float stop_nll;    /* solved: mean loss below this and every carrier in the prompt's own words says the
                          target ... */
    float stop_margin; /* ... with this much between its logit and the next; and the mean of all losses ... */
    float stop_all;    /* ... is below this, or ... */
    float worth;       /* ... a round takes less than this share off it, after */
    size_t enough;     /* so many evaluations at least */
    int patience;      /* rounds in a row that may lower the loss, and the own words' before they are
                          solved, by less than 2 % */
    float max_norm;    /* |delta| <= max_norm |v| */
    int vocabulary;    /* tokens kept in the inner problem, those that can win; as many are sampled */
} me_probe_options;

me_probe_options me_probe_defaults(void);
mobiedit_status me_probe_solve(me_problem *problem, const me_solver_input *input,
                               const me_probe_options *options, me_solution *out, mobiedit_error *err);

#endif
