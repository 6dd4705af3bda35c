/* Argmax, log-sum-exp and KL divergence of next-token logits. */
#include "base/logits.h"

#include <math.h>

int me_argmax(const float *logits, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* log of the sum of exp(logits - top). */
static double log_sum_below(float top, const float *logits, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)expf(logits[i] - top);
    return log(sum);
}

double me_log_sum_exp(const float *logits, int n) {
    const float top = logits[me_argmax(logits, n)];
    return (double)top + log_sum_below(top, logits, n);
}

float me_log_sum_expf(const float *logits, int n) {
    const float top = logits[me_argmax(logits, n)];
    return top + (float)log_sum_below(top, logits, n);
}

double me_kl(const float *before, const float *after, int n) {
    const double total_before = me_log_sum_exp(before, n), total_after = me_log_sum_exp(after, n);
    double kl = 0;
    for (int i = 0; i < n; i++) {
        const double log_before = before[i] - total_before, log_after = after[i] - total_after;
        kl += exp(log_before) * (log_before - log_after);
    }
    return kl;
}
