/* MobiEdit's estimator (arXiv 2506.13772), the reference that other solvers are measured against: it sees
 * nothing of the model but the value of a scalar loss, so any backend that can run a prompt can run it.
 *
 * The minimiser knows nothing of models; me_spsa_objective_of puts it onto a value problem. */
#ifndef ME_EDIT_SPSA_H
#define ME_EDIT_SPSA_H

#include "edit/solver.h"

typedef struct {
    int n_steps;      /* length of the cosine schedule */
    int n_directions; /* Gaussian directions a step; each costs two deltas */
    float difference; /* h of the central difference (L(d + h V) - L(d - h V)) / 2h. The step in space is h V,
                         about h sqrt(d) long: at the default, integer arithmetic hardly resolves it */
    float step;       /* first step length; at step i times (1 + cos(pi i / n_steps)) / 2 */
    float momentum;   /* share of the last move's direction that is kept; 0: none */
    float decay;      /* weight of |delta|^2 / |v|^2 in the loss */
    float essence;    /* weight of the KL divergence on "{} is a" */
    float clamp;      /* |delta| <= clamp |v| */
    float margin;     /* logits by which each target token must lead on every carrier to count as solved */

    /* Success check: after this many steps, then sooner the more carriers say the target
     * already (this many times the share that does not, at least one). A check costs one
     * delta against a step's 2 n_directions. */
    int check_every;

    /* Plateau: the mean loss of `window` steps has not fallen by min_gain for `patience` windows. Then the
     * prefixes are refreshed, up to max_refreshes times; the plateau after the last one ends the search. */
    int window;
    int patience;
    float min_gain; /* nats */
    int max_refreshes;
} me_spsa_options;

/* The settings of the paper's published code: 600 steps of 5 directions, h 1e-3, step 5e-2, decay 1e-3, KL
 * .0625, clamp 4, success checked every 20 steps, prefixes anew where the loss falls by no more than 1e-3.
 * Three things differ. The estimates of the directions are averaged; that code adds them up, which is a step
 * n_directions times as long. A plateau is seen in means over 20 steps, since the difference of two
 * successive losses is mostly noise. Success asks for half a logit of lead, so that it outlives the
 * difference between this engine and the runtime that will serve the edit. */
extern const me_spsa_options me_spsa_defaults;

typedef struct {
    double loss; /* without the decay term */
    int n_say;   /* carriers whose greedy output is the target */
    int n;       /* carriers */
    bool solved;
} me_spsa_check;

/* What is minimised. */
typedef struct {
    void *context;
    int n;      /* values of delta */
    float unit; /* |v| */

    /* deltas [k][n] -> loss [k], without the decay term. */
    mobiedit_status (*loss)(void *context, const float *deltas, int k, double *loss, mobiedit_error *err);
    mobiedit_status (*check)(void *context, const float *delta, me_spsa_check *out, mobiedit_error *err);
    /* Whether the budget pays for k more deltas. */
    bool (*affords)(void *context, int k);
    /* Changes the loss a little, at the cost of at most one delta. NULL: it cannot be changed. */
    mobiedit_status (*refresh)(void *context, mobiedit_error *err);
    /* After each step: its mean loss, and the carriers that said the target at the last check. */
    mobiedit_status (*report)(void *context, int step, double loss, int n_say, mobiedit_error *err);
} me_spsa_objective;

/* Minimises from delta = 0; out->delta [n] is the caller's. E_NOT_SOLVED where a loss is not finite. */
mobiedit_status me_spsa_minimise(const me_spsa_objective *objective, const me_spsa_options *options,
                                 uint64_t seed, me_solution *out, mobiedit_error *err);

/* A value problem as an objective. The context, the problem and the options must outlive it. */
typedef struct {
    me_problem *problem;
    const me_spsa_options *options;
} me_spsa_context;
me_spsa_objective me_spsa_objective_of(me_spsa_context *context);

#endif
