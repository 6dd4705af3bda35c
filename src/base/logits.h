/* Arithmetic on next-token logits. */
#ifndef ME_BASE_LOGITS_H
#define ME_BASE_LOGITS_H

/* The index of the greatest, the first of equals, as libllama's greedy sampler has it. */
int me_argmax(const float *logits, int n);

/* log of the sum of exp(logits): what turns logits into log-probabilities. */
double me_log_sum_exp(const float *logits, int n);
/* The same rounded as the solvers' losses are, which are floats. */
float me_log_sum_expf(const float *logits, int n);

/* KL(softmax(before) || softmax(after)) in nats. */
double me_kl(const float *before, const float *after, int n);

#endif
