/* How good an edit is, measured in the runtime that serves it. */
#ifndef ME_EVAL_METRICS_H
#define ME_EVAL_METRICS_H

#include "eval/dataset.h"
#include "runtime/runtime.h"

/* NaN where the fact has no such prompts. */
typedef struct {
    double rewrite;      /* 1: the target is the greedy continuation of the prompt, else 0 */
    double paraphrase;   /* share of the paraphrases of which it is */
    double unchanged;    /* share of the neighbours whose next greedy token is what it was */
    double neighbour_kl; /* mean KL(before || after) of the neighbours' next token, nats */
} me_metrics;

/* Measures the fact with the adapter at `path`, or the unedited model where it is NULL. Leaves the runtime
 * without an adapter. */
mobiedit_status me_metrics_measure(me_runtime *runtime, const me_fact *fact, const char *adapter,
                                   me_metrics *out, mobiedit_error *err);

/* Whether the target is the greedy continuation of the prompt, token by token, as the runtime now is. */
mobiedit_status me_says(me_runtime *runtime, const char *prompt, const char *target, bool *says,
                        mobiedit_error *err);

/* The next greedy token of a prompt, as the runtime now is. */
mobiedit_status me_next_token(me_runtime *runtime, const char *prompt, me_token *out, mobiedit_error *err);

int me_argmax(const float *logits, int n);

/* KL(softmax(before) || softmax(after)) in nats. */
double me_kl(const float *before, const float *after, int n);

#endif
