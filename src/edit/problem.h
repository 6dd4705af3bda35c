/* The value problem of one edit, as every solver sees it: evaluate a batch
 * of deltas on the carriers, read losses.
 *
 * A carrier is a prompt that should end in the target. All evaluations are counted here, and progress, the
 * budget and cancellation are handled here, so that solvers hold nothing but their algorithm. */
#ifndef ME_EDIT_PROBLEM_H
#define ME_EDIT_PROBLEM_H

#include "edit/progress.h"
#include "engine/engine.h"
#include "model/vocab.h"

/* Everything known of the carriers at one layer. Index 0 of the carriers is the bare prompt. */
typedef struct me_problem {
    me_engine *engine;
    const me_model *model;
    int layer;
    int n_carriers;
    int n_own; /* carriers in the prompt's own words: they come first, and an edit is not done before they say
                  the target. The others, where there are more, say it in other words. */
    int n_target;
    const me_token *target; /* [n_target]: what each should say */
    int n_behind;     /* positions behind the target that are read too: it should not be said again there */
    int n_read;       /* n_target + n_behind: hidden vectors of a carrier */
    bool *barred;     /* [n_carriers][n_target]: tokens of the target that its carrier does not go on with
                               by itself; NULL: nothing is read behind the target */
    const int *kinds; /* [n_carriers]: borrowed; NULL: not known */
    me_prefix *carriers; /* of n_read */
    /* The prompt "{} is a", n_read 1: its next-token distribution should stay (ROME's KL term). */
    me_prefix *essence;
    float *essence_logits; /* [n_vocab]: the unedited ones there */
    float *offset;         /* [d] added to every delta; NULL: none. See me_problem_set_offset */
    float value_norm; /* |v|: norm of the MLP output at (layer, p) of the bare prompt; the unit of delta */

    size_t evaluations;     /* prompt evaluations: one delta on one prompt is one */
    size_t token_passes;    /* tokens through layers > layer */
    size_t max_evaluations; /* the budget */
    me_progress *progress;  /* progress, trace and cancellation; NULL: none */

    /* Draws new neutral prefixes for the carriers after the first; NULL: the carriers are fixed. Set by
     * whoever made the sequences. On success *out holds sequences (owned by the source) as many as before. */
    mobiedit_status (*redraw)(void *source, const me_sequence **out, mobiedit_error *err);
    void *source;
} me_problem;

/* Runs the carriers (each ends in target, and what may follow it, without the last token, which stands behind the
 * sequence's end; n_read >= n_target, read_pos at the prompt's last token) and the essence prompt (or NULL) once and keeps their prefix. target [n_target] is
 * borrowed until me_problem_close, the sequences are not needed after the call. The budget starts unlimited,
 * and all carriers count as own ones. */
mobiedit_status me_problem_open(me_engine *engine, int layer, const me_sequence *carriers, int n_carriers,
                                const me_sequence *essence, const me_token *target, int n_target,
                                me_problem **out, mobiedit_error *err);
void me_problem_close(me_problem *problem);

/* What other edits already add at the subject: from now on every delta stands on top of it, also that of 0.
 * offset [d] is copied. Counts one evaluation a carrier. */
mobiedit_status me_problem_set_offset(me_problem *problem, const float *offset, mobiedit_error *err);

/* deltas [n][d] -> hidden [n][n_which][n_read][d]; which == NULL: all carriers. E_CANCELLED on request.
 * The caller stays inside the budget: me_problem_left(). */
mobiedit_status me_problem_hidden(me_problem *problem, const float *deltas, int n, const int *which,
                                  int n_which, float *hidden, mobiedit_error *err);

/* Changes of one carrier's hidden vectors from delta base [d] to deltas [n][d]: responses [n][n_read][d].
 * More precise than differences of me_problem_hidden. Counts one evaluation for base. */
mobiedit_status me_problem_responses(me_problem *problem, const float *base, const float *deltas, int n,
                                     int carrier, float *responses, mobiedit_error *err);

/* Score of one carrier under one delta: mean negative log-likelihood (nats a token) of the target, what it costs
 * that the target would be said again (behind it, mean over the positions of -log(1 - P(barred tokens)), unlikelihood
 * training, arXiv 1908.04319), whether the target is the greedy output at every position, and the
 * least logit difference between a target token and the best other token. */
typedef struct {
    float nll;
    float again;
    bool says;
    float margin;
} me_score;

/* hidden [n][n_read][d], of the carriers in turn (row i of carrier i mod n_carriers) -> scores [n]; exact,
 * over the whole vocabulary. */
mobiedit_status me_problem_score(me_problem *problem, const float *hidden, int n, me_score *scores,
                                 mobiedit_error *err);

/* Of the probability of anything but the target behind it: its logarithm stays finite. */
#define ME_LEAST_REST 1e-6

/* The loss: of one carrier, and the mean over the scores [n] of as many carriers. */
float me_score_loss(const me_score *score);
double me_mean_loss(const me_score *scores, int n);

/* KL(unedited || with delta) in nats of the next token of the essence prompt,
 * for deltas [n][d] -> kl [n]. Counted. */
mobiedit_status me_problem_essence_kl(me_problem *problem, const float *deltas, int n, float *kl,
                                      mobiedit_error *err);

/* Evaluations left in the budget. */
size_t me_problem_left(const me_problem *problem);

/* Replaces the carriers' prefixes by a fresh draw of neutral ones (the bare prompt stays) and computes their
 * cache anew: MobiEdit's plateau-driven refresh. */
mobiedit_status me_problem_refresh(me_problem *problem, mobiedit_error *err);

/* Reports a step: loss and how many carriers say the target. E_CANCELLED where the caller wants to stop. */
mobiedit_status me_problem_report(me_problem *problem, int round, float loss, int n_say, mobiedit_error *err);

#endif
