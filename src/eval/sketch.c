/* Keeps next-token distributions by their likeliest tokens, and compares others with them. */
#include "eval/sketch.h"

#include "base/logits.h"
#include "base/memory.h"
#include "model/vocab.h"

#include <math.h>

struct me_sketches {
    int n_vocab, n_top;
    me_token *top;    /* [n][n_top] */
    double *log_p;    /* [n][n_top] */
    double *log_rest; /* [n] */
};

mobiedit_status me_sketches_open(int n_vocab, int n_top, size_t n, me_sketches **out, mobiedit_error *err) {
    me_sketches *sketches = me_calloc(1, sizeof *sketches);
    if (!sketches) return me_fail_memory(err, "the distributions");
    sketches->n_vocab = n_vocab;
    sketches->n_top = n_vocab > n_top ? n_top : n_vocab - 1;
    size_t count;
    const bool countable = me_mul_size(n, (size_t)sketches->n_top, &count);
    sketches->top = countable ? me_calloc(count, sizeof *sketches->top) : NULL;
    sketches->log_p = countable ? me_calloc(count, sizeof *sketches->log_p) : NULL;
    sketches->log_rest = me_calloc(n, sizeof *sketches->log_rest);
    *out = sketches;
    if (sketches->top && sketches->log_p && sketches->log_rest) return MOBIEDIT_OK;
    me_sketches_close(sketches);
    *out = NULL;
    return me_fail_memory(err, "the distributions");
}

void me_sketches_close(me_sketches *sketches) {
    if (!sketches) return;
    me_free(sketches->top);
    me_free(sketches->log_p);
    me_free(sketches->log_rest);
    me_free(sketches);
}

/* Moves the least of a heap of n tokens (least logit at the root) down to its place. */
static void sift(me_token *heap, int n, const float *logits) {
    for (int i = 0, child = 1; child < n; i = child, child = 2 * i + 1) {
        if (child + 1 < n && logits[heap[child + 1]] < logits[heap[child]]) child++;
        if (logits[heap[i]] <= logits[heap[child]]) return;
        const me_token moved = heap[i];
        heap[i] = heap[child];
        heap[child] = moved;
    }
}

/* The n_top likeliest tokens, in no order. The heap begins with equal entries, which are pushed out. */
static void find_top(const float *logits, int n_vocab, me_token *top, int n_top) {
    me_token least = 0;
    for (me_token t = 1; t < n_vocab; t++)
        if (logits[t] < logits[least]) least = t;
    for (int i = 0; i < n_top; i++)
        top[i] = least;
    for (me_token t = 0; t < n_vocab; t++) {
        if (t == least || logits[t] < logits[top[0]]) continue;
        top[0] = t;
        sift(top, n_top, logits);
    }
}

/* log of what the named tokens leave of 1; at least that of 1e-12, below which doubles say nothing. */
static double rest_of(double named) {
    return log(fmax(1 - named, 1e-12));
}

void me_sketch_take(me_sketches *sketches, size_t at, const float *logits) {
    const size_t n_top = (size_t)sketches->n_top;
    me_token *top = sketches->top + at * n_top;
    double *log_p = sketches->log_p + at * n_top, named = 0;
    const double total = me_log_sum_exp(logits, sketches->n_vocab);
    find_top(logits, sketches->n_vocab, top, sketches->n_top);
    for (size_t i = 0; i < n_top; i++) {
        log_p[i] = logits[top[i]] - total;
        named += exp(log_p[i]);
    }
    sketches->log_rest[at] = rest_of(named);
}

double me_sketch_kl(const me_sketches *sketches, size_t at, const float *logits) {
    const size_t n_top = (size_t)sketches->n_top;
    const me_token *top = sketches->top + at * n_top;
    const double *log_p = sketches->log_p + at * n_top;
    const double total = me_log_sum_exp(logits, sketches->n_vocab);
    double kl = 0, named = 0;
    for (size_t i = 0; i < n_top; i++) {
        const double log_q = logits[top[i]] - total;
        kl += exp(log_p[i]) * (log_p[i] - log_q);
        named += exp(log_q);
    }
    const double log_rest = sketches->log_rest[at];
    return kl + exp(log_rest) * (log_rest - rest_of(named));
}
