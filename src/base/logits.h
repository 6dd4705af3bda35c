/* Arithmetic on next-token logits. */
#ifndef ME_BASE_LOGITS_H
#define ME_BASE_LOGITS_H

#include <stdint.h>

/* The index of the greatest, the first of equals, as libllama's greedy sampler has it. */
int me_argmax(const float *logits, int n);

/* log of the sum of exp(logits): what turns logits into log-probabilities. */
double me_log_sum_exp(const float *logits, int n);
/* The same rounded as the solvers' losses are, which are floats. */
float me_log_sum_expf(const float *logits, int n);

/* KL(softmax(before) || softmax(after)) in nats. */
double me_kl(const float *before, const float *after, int n);

/* A distribution of which only the likeliest tokens are known by name, and the rest as one. */
typedef struct {
    int32_t *tokens;   /* [n], in no order */
    double *log_probs; /* [n] */
    int n;
} me_likely;

/* Fills the n likeliest tokens of logits [n_vocab], n_vocab >= n. */
void me_likely_take(const me_likely *likely, const float *logits, int n_vocab);

/* KL(likely || softmax(logits)) in nats, over the named tokens and the rest as one: never more than the KL over
 * the whole vocabulary, and less by what happens inside the rest. */
double me_likely_kl(const me_likely *likely, const float *logits, int n_vocab);

#endif
