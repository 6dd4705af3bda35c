/* The key side of an edit: left [d_ff] with left.k = 1 for the subject and about 0 for everything else.
 *
 * Contrastive ridge regression in sample space: minimise sum_i w_i (left.k_i - y_i)^2 + lambda |left|^2 over
 * collected keys k_i, positives y = 1, negatives y = 0, through the Gram matrix of the samples (at most
 * ME_KEY_MAX of them, never a d_ff x d_ff covariance, which ROME (arXiv 2202.05262, section 3.1) needs).
 * Samples with infinite weight are exact. */
#ifndef ME_EDIT_KEY_H
#define ME_EDIT_KEY_H

#include "base/error.h"

#include <stddef.h>

enum { ME_KEY_MAX = 1500 };

/* A set of keys that share a role. keys: n rows of d_ff floats, borrowed. */
typedef struct {
    const float *keys;
    int n;
    float target; /* y */
    float weight; /* of the whole group: each key has weight / n. INFINITY: exact */
} me_key_group;

/* left [d_ff] is the caller's. lambda is relative to the mean squared norm of the first group's keys.
 * E_NOT_SOLVED where the exact constraints contradict the rest so that left.k of the first group stays below
 * half of what was asked. */
mobiedit_status me_key_solve(const me_key_group *groups, int n_groups, int d_ff, float lambda, float *left,
                             mobiedit_error *err);

#endif
