/* The key side of an edit. A key k is what an MLP reads at a token, [d]: left [d] with left.k = 1 for the
 * subject and about 0 for everything else, and constant [d] with constant.k = 1 for all.
 *
 * Contrastive ridge regression: minimise sum_i w_i (left.k_i - y_i)^2 + lambda |left|^2 over collected
 * keys k_i, positives y = 1, negatives y = 0. The squares are one-sided: the neuron that reads left.k is
 * silent up to its threshold, so that an answer below 0 or a little above costs nothing, nor does one
 * above 1 on a positive. Many subjects are solved at once over the same samples: each has a `left` of its
 * own that is 1 on its own positives and 0 on everybody else's. All share one Cholesky factor of the
 * weighted second moment of the samples, [d][d]: cost and memory grow linearly with the samples. (ROME,
 * arXiv 2202.05262, section 3.1, has such a matrix too, of 100,000 samples of text; here it is of what
 * the edit is to be told apart from.) */
#ifndef ME_EDIT_KEY_H
#define ME_EDIT_KEY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Samples of one edit, or of many solved together. */
enum { ME_KEY_MAX = 16384 };

/* Ridge of the key solve, and what answers to other text cost where the subject's keys have a weight of 1,
 * and that in the prompt itself OWN_WEIGHT more: to plain text. */
#define ME_KEY_LAMBDA 0.01F
#define ME_KEY_OWN_WEIGHT 3.0F
#define ME_KEY_TEXT_WEIGHT 30.0F
/* And to names that end like the subject or are unknown. */
#define ME_KEY_NEAR_NAMES_WEIGHT 10.0F
/* And of an edit at the answer: to what else is said of the subject, to other names in other words, and to the
 * target itself. */
#define ME_KEY_OTHERS_WEIGHT 40.0F
#define ME_KEY_ASKED_WEIGHT 30.0F
#define ME_KEY_SAID_WEIGHT 10.0F
/* Every so-many-th of the compiled-in names is asked about in other words. */
enum { ME_KEY_ASKED_STEP = 4 };

/* What differs by where the edit is: weights of its own keys, and of other names in the prompt. Where the answer
 * begins, a name stands some tokens back and tells itself less. */
typedef struct {
    float own, names;
} me_key_weights;
static inline me_key_weights me_key_weights_of(bool at_answer) {
    return at_answer ? (me_key_weights){.own = 3, .names = 100} : (me_key_weights){.own = 1, .names = 30};
}

/* A set of keys that share a role. keys: n rows of d floats, borrowed. */
typedef struct {
    const float *keys;
    int n;
    float target; /* y in the column below, 0 in all others */
    int column;   /* whose left it is about */
    float weight; /* of the whole group: each key has weight / n */
} me_key_group;

/* Whether the group is of the subject that the column is about. */
static inline bool me_key_is_own(const me_key_group *group, int column) {
    return group->target != 0 && group->column == column;
}

/* left [n_columns][d] is the caller's: as the solve gives them, not scaled. lambda is relative to
 * the mean squared norm of the keys of all groups with a target. E_NOT_SOLVED where that is singular. */
mobiedit_status me_key_solve_columns(const me_key_group *groups, int n_groups, int n_columns, int d,
                                     float lambda, float *left, mobiedit_error *err);

/* constant [d]: plain least squares with 1 asked of every key; the subjects', which have a target in
 * `groups`, weigh as much as all others. */
mobiedit_status me_key_constant(const me_key_group *groups, int n_groups, int d, float lambda,
                                float *constant, mobiedit_error *err);

/* left.k on the mean of the group's keys. */
float me_key_response(const me_key_group *group, int d, const float *left);

/* What a column answers to its own groups, of what was asked: the mean of the groups' means. */
float me_key_column_response(const me_key_group *groups, int n_groups, int column, int d, const float *left);

/* Along the mean of the group's keys, with the response asked for there: what an edit's left is without
 * anything that must stay. */
mobiedit_status me_key_mean(const me_key_group *group, int d, float *left, mobiedit_error *err);

/* One edit: left [d], its column's response scaled to 1. E_NOT_SOLVED where what must stay contradicts it so
 * that the response stays below half of that. */
mobiedit_status me_key_solve(const me_key_group *groups, int n_groups, int d, float lambda, float *left,
                             mobiedit_error *err);

#endif
