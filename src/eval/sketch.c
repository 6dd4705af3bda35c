/* Keeps next-token distributions by their likeliest tokens, and compares others with them. */
#include "eval/sketch.h"

#include "base/logits.h"
#include "base/memory.h"
#include "model/vocab.h"

struct me_sketches {
    int n_vocab, n_top;
    me_token *top; /* [n][n_top] */
    double *log_p; /* [n][n_top] */
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
    *out = sketches;
    if (sketches->top && sketches->log_p) return MOBIEDIT_OK;
    me_sketches_close(sketches);
    *out = NULL;
    return me_fail_memory(err, "the distributions");
}

void me_sketches_close(me_sketches *sketches) {
    if (!sketches) return;
    me_free(sketches->top);
    me_free(sketches->log_p);
    me_free(sketches);
}

static me_likely at_position(const me_sketches *sketches, size_t at) {
    const size_t first = at * (size_t)sketches->n_top;
    return (me_likely){
        .tokens = sketches->top + first, .log_probs = sketches->log_p + first, .n = sketches->n_top};
}

void me_sketch_take(me_sketches *sketches, size_t at, const float *logits) {
    const me_likely likely = at_position(sketches, at);
    me_likely_take(&likely, logits, sketches->n_vocab);
}

double me_sketch_kl(const me_sketches *sketches, size_t at, const float *logits) {
    const me_likely likely = at_position(sketches, at);
    return me_likely_kl(&likely, logits, sketches->n_vocab);
}
