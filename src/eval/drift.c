/* Measures how far an edit moves the next-token distributions of unrelated text. */
#include "eval/drift.h"

#include "base/logits.h"
#include "base/memory.h"
#include "runtime/batch.h"

#include <math.h>

enum { MAX_TEXTS = 32, TOP = ME_DRIFT_TOP };

struct me_drift {
    int n_vocab, n_top; /* n_top: TOP, or n_vocab - 1 where that is less */
    int n_texts;
    me_tokens tokens[MAX_TEXTS];
    me_query queries[MAX_TEXTS];
    int begins[MAX_TEXTS]; /* position of a text's first token among those of all */
    int n_positions;
    me_token *top;    /* [n_positions][n_top] */
    double *log_p;    /* [n_positions][n_top] */
    double *log_rest; /* [n_positions] */
};

/* ---- before ------------------------------------------------------------------------------------------ */

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

static void keep_position(void *user, int query, int position, const float *logits) {
    me_drift *drift = user;
    const size_t at = (size_t)(drift->begins[query] + position), n_top = (size_t)drift->n_top;
    me_token *top = drift->top + at * n_top;
    double *log_p = drift->log_p + at * n_top, named = 0;
    const double total = me_log_sum_exp(logits, drift->n_vocab);
    find_top(logits, drift->n_vocab, top, drift->n_top);
    for (size_t i = 0; i < n_top; i++) {
        log_p[i] = logits[top[i]] - total;
        named += exp(log_p[i]);
    }
    drift->log_rest[at] = rest_of(named);
}

static mobiedit_status read_texts(me_drift *drift, const me_vocab *vocab, mobiedit_error *err) {
    for (; drift->n_texts < MAX_TEXTS && me_drift_texts[drift->n_texts]; drift->n_texts++) {
        const int i = drift->n_texts;
        ME_TRY(me_tokenize(vocab, me_drift_texts[i], &drift->tokens[i], err));
        drift->queries[i] = (me_query){.tokens = drift->tokens[i].ids, .n = drift->tokens[i].n};
        drift->begins[i] = drift->n_positions;
        drift->n_positions += drift->tokens[i].n;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status take(me_drift *drift, me_runtime *runtime, mobiedit_error *err) {
    const me_vocab *vocab = me_runtime_vocab(runtime);
    drift->n_vocab = me_vocab_size(vocab);
    drift->n_top = drift->n_vocab > TOP ? TOP : drift->n_vocab - 1;
    ME_TRY(read_texts(drift, vocab, err));
    const size_t n = (size_t)drift->n_positions, n_top = (size_t)drift->n_top;
    drift->top = me_calloc(n * n_top, sizeof *drift->top);
    drift->log_p = me_calloc(n * n_top, sizeof *drift->log_p);
    drift->log_rest = me_calloc(n, sizeof *drift->log_rest);
    if (!drift->top || !drift->log_p || !drift->log_rest)
        return me_fail_memory(err, "the distributions of generic text");
    return me_runtime_batch_logits(runtime, drift->queries, drift->n_texts, keep_position, drift, err);
}

mobiedit_status me_drift_open(me_runtime *runtime, me_drift **out, mobiedit_error *err) {
    me_drift *drift = me_calloc(1, sizeof *drift);
    if (!drift) return me_fail_memory(err, "the distributions of generic text");
    const mobiedit_status status = take(drift, runtime, err);
    if (status == MOBIEDIT_OK)
        *out = drift;
    else
        me_drift_close(drift);
    return status;
}

void me_drift_close(me_drift *drift) {
    if (!drift) return;
    for (int i = 0; i < drift->n_texts; i++)
        me_tokens_free(&drift->tokens[i]);
    me_free(drift->top);
    me_free(drift->log_p);
    me_free(drift->log_rest);
    me_free(drift);
}

int me_drift_positions(const me_drift *drift) {
    return drift->n_positions;
}

/* ---- after ------------------------------------------------------------------------------------------- */

typedef struct {
    const me_drift *before;
    double sum;
} comparison;

static void compare_position(void *user, int query, int position, const float *logits) {
    comparison *c = user;
    const me_drift *drift = c->before;
    const size_t at = (size_t)(drift->begins[query] + position), n_top = (size_t)drift->n_top;
    const me_token *top = drift->top + at * n_top;
    const double *log_p = drift->log_p + at * n_top;
    const double total = me_log_sum_exp(logits, drift->n_vocab);
    double kl = 0, named = 0;
    for (size_t i = 0; i < n_top; i++) {
        const double log_q = logits[top[i]] - total;
        kl += exp(log_p[i]) * (log_p[i] - log_q);
        named += exp(log_q);
    }
    const double log_rest = drift->log_rest[at];
    c->sum += kl + exp(log_rest) * (log_rest - rest_of(named));
}

mobiedit_status me_drift_measure(const me_drift *drift, me_runtime *runtime, double *kl,
                                 mobiedit_error *err) {
    comparison c = {.before = drift};
    ME_TRY(me_runtime_batch_logits(runtime, drift->queries, drift->n_texts, compare_position, &c, err));
    *kl = c.sum / drift->n_positions;
    return MOBIEDIT_OK;
}
