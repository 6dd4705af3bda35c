/* A solver finds delta. One file each; the table below is the only place that knows them all. */
#ifndef ME_EDIT_SOLVER_H
#define ME_EDIT_SOLVER_H

#include "edit/problem.h"

typedef enum {
    ME_STOP_SOLVED,      /* the target is the greedy output on every carrier, with margin */
    ME_STOP_NO_PROGRESS, /* the loss no longer falls */
    ME_STOP_BUDGET,      /* evaluations or steps used up */
} me_stop;

typedef struct {
    uint64_t seed;
    float margin; /* factor on the margin that a solver demands before it calls an edit solved; 1 is normal */
    /* [n_basis][d], orthonormal rows: probe directions, strongest first; NULL for solvers without. */
    const float *basis;
    int n_basis;
    const float *guesses; /* [ME_KINDS][n_basis][d]: how the final hidden vector of a carrier of that kind
                             changes, in its own lengths, with a step of |v| along each direction; of other
                             prompts, by calibration. NULL: not known */
    float probe_step;     /* of a solver that probes, in |v|; 0: its own */
    bool no_stop;         /* a solver that would stop early goes on until its budget is spent */
} me_solver_input;

typedef struct {
    float *delta; /* [d], the caller's */
    me_stop stop;
    int rounds;
    float loss; /* the solver's own loss at delta */
} me_solution;

typedef struct {
    const char *name;
    bool needs_basis;
    bool rewords;               /* carriers in other wordings too, not only behind prefixes */
    size_t default_evaluations; /* the budget where the user names none */
    mobiedit_status (*solve)(me_problem *problem, const me_solver_input *input, me_solution *out,
                             mobiedit_error *err);
} me_solver;

#define ME_SOLVER_PROBE "probe"
#define ME_SOLVER_SPSA "spsa"
extern const me_solver me_solver_probe;
extern const me_solver me_solver_spsa;

/* The one that the options name, else the first; NULL: there is none of that name. */
const me_solver *me_solver_of(const mobiedit_edit_options *options);

/* NULL where there is none of that name. */
const me_solver *me_solver_find(const char *name);

#endif
