/* Argmax, log-sum-exp and KL divergence of next-token logits, whole or by their likeliest tokens. */
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

/* ---- the likeliest tokens ---------------------------------------------------------------------------- */

/* Moves heap[at] down to its place; the root is the least likely. */
static void sink(int32_t *heap, int n, int at, const float *logits) {
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && logits[heap[child + 1]] < logits[heap[child]]) child++;
        if (logits[heap[at]] <= logits[heap[child]]) return;
        const int32_t moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

static void find_likeliest(const float *logits, int n_vocab, int32_t *tokens, int n) {
    for (int i = 0; i < n; i++)
        tokens[i] = i;
    for (int i = n / 2; i-- > 0;)
        sink(tokens, n, i, logits);
    for (int i = n; i < n_vocab; i++)
        if (logits[i] > logits[tokens[0]]) {
            tokens[0] = i;
            sink(tokens, n, 0, logits);
        }
}

void me_likely_take(const me_likely *likely, const float *logits, int n_vocab) {
    const double total = me_log_sum_exp(logits, n_vocab);
    find_likeliest(logits, n_vocab, likely->tokens, likely->n);
    for (int i = 0; i < likely->n; i++)
        likely->log_probs[i] = logits[likely->tokens[i]] - total;
}

/* log of what the named tokens leave of 1; at least that of 1e-12, below which doubles say nothing. */
static double log_rest(double named) {
    return log(fmax(1 - named, 1e-12));
}

double me_likely_kl(const me_likely *likely, const float *logits, int n_vocab) {
    const double total = me_log_sum_exp(logits, n_vocab);
    double kl = 0, named = 0, named_after = 0;
    for (int i = 0; i < likely->n; i++) {
        const double log_after = logits[likely->tokens[i]] - total, p = exp(likely->log_probs[i]);
        kl += p * (likely->log_probs[i] - log_after);
        named += p;
        named_after += exp(log_after);
    }
    const double rest = log_rest(named);
    return kl + exp(rest) * (rest - log_rest(named_after));
}
