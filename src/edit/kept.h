/* What an edit keeps of its subject: prompts about other things of it, whose answers are to stay as they are.
 *
 * Each is a prompt and the first tokens of the model's own answer. The loss of a delta there is
 * KL(before || after), the mean over the answers' tokens. */
#ifndef ME_EDIT_KEPT_H
#define ME_EDIT_KEPT_H

#include "edit/carriers.h"

typedef struct me_kept {
    me_prefix *prefix;
    int n;        /* prompts */
    int n_read;   /* tokens of each answer */
    int n_likely; /* at most ME_KEPT_LIKELY */
    /* Of each row, a token of an answer: what the unedited model holds likeliest. */
    float *log_sums;   /* [n * n_read]: log of the sum of exp(logit) over the vocabulary */
    me_token *likely;  /* [n * n_read][ME_KEPT_LIKELY] */
    double *log_probs; /* [n * n_read][ME_KEPT_LIKELY]: of these tokens */
} me_kept;
enum { ME_KEPT_LIKELY = 128, ME_KEPT_READ = 3 };

/* The prompts for a subject, but those that share a word of meaning with the edit's own prompt: sequences
 * whose last token is read. */
mobiedit_status me_kept_prompts(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                me_sequences *out, mobiedit_error *err);

/* Lets the model answer, and keeps the answers' prefixes at `layer`. *evaluations grows by the prompts that
 * were run. Freed with me_kept_close. */
mobiedit_status me_kept_open(me_engine *engine, int layer, me_sequences *prompts, size_t *evaluations,
                             me_kept **out, mobiedit_error *err);
/* Takes over the prefix of prompts with their answers, at a delta of 0; frees it where it fails. */
mobiedit_status me_kept_of(me_engine *engine, me_prefix *prefix, me_kept **out, mobiedit_error *err);
void me_kept_close(me_engine *engine, me_kept *kept);

/* What is to stay is what the model says with the prefix's hidden vectors, in which other edits' deltas may be
 * there already. */
mobiedit_status me_kept_take(me_engine *engine, me_kept *kept, mobiedit_error *err);

/* kl [n]: of each prompt, nats a token, with hidden [n * n_read][d]. What is not likely counts as one token. */
mobiedit_status me_kept_loss(me_engine *engine, const me_kept *kept, const float *hidden, float *kl,
                             mobiedit_error *err);

#endif
