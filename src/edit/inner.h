/* The inner problem of the probe solver: the edit's loss with hidden states linear in delta.
 *
 * Around a delta, the pre-norm final hidden vector of carrier c at target position t is h_ct +
 * sum_j s_j a_jct, a_jct the measured response to probe j. The last norm and the unembedding are
 * known, so the negative log-likelihood, and its gradient in s, follow without another pass through
 * the model. Minimised by L-BFGS (liblbfgs). */
#ifndef ME_EDIT_INNER_H
#define ME_EDIT_INNER_H

#include "edit/problem.h"

/* Unembedding rows of the tokens that can win and of a sample of the
 * others, output norm weights folded in. */
typedef struct {
    int n;            /* tokens kept, then those sampled */
    int n_kept;       /* each stands for itself; the targets are among them */
    float *rows;      /* [n][d] */
    float *log_count; /* [n]: log of how many tokens each stands for: 0 for those kept */
    int *target;      /* [n_target]: index of each target token */
    float *all; /* [n_rows]: log of the sum of exp(logit) over the whole vocabulary in each row of hidden */
} me_vocab_subset;

/* Keeps the targets and, of all tokens, the `size` ones that are likeliest in any row of hidden [n_rows][d],
 * and samples at most as many of the others, each as often as it is likely: the long tail has a share in the
 * loss, and one that moves with hidden. The rows of a linear problem's hidden vectors come first. */
mobiedit_status me_vocab_subset_open(me_problem *problem, const float *hidden, int n_rows, int size,
                                     me_vocab_subset *out, mobiedit_error *err);
void me_vocab_subset_close(me_vocab_subset *subset);

typedef struct {
    const me_problem *problem;
    const me_vocab_subset *vocabulary;
    const float *hidden;    /* [n_carriers][n_read][d] at s = 0 */
    const float *responses; /* [n_probes][n_carriers][n_read][d]: change of hidden a unit of s */
    int n_probes;
    const float *offset; /* [n_probes]: the present delta's coordinates, in |v| */
    float offset_norm2;  /* |delta|^2 / |v|^2 */
    float decay;
    float trust; /* soft bound on |s| */
} me_inner_problem;

/* s [n_probes], in |v|, holds the start and receives the minimum. */
mobiedit_status me_inner_minimise(const me_inner_problem *l, float *s, mobiedit_error *err);

#endif
