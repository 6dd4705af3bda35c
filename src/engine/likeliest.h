/* The likeliest tokens by an engine's logits, which are large: some rows at a time. */
#ifndef ME_ENGINE_LIKELIEST_H
#define ME_ENGINE_LIKELIEST_H

#include "base/logits.h"
#include "engine/engine.h"

/* Rows of logits, of n that are wanted, that are held at once: at least one if there are any. The fewer, the more
 * often the output weights are unpacked. */
static inline int me_logit_rows(const me_model *model, size_t n) {
    enum { BYTES = 24 << 20, LEAST = 8 };
    const size_t fit = BYTES / ((size_t)model->n_vocab * sizeof(float)), rows = fit < LEAST ? LEAST : fit;
    return (int)(n < rows ? n : rows);
}

/* hidden [n][d] -> the likeliest token behind each, in tokens[0], tokens[stride], ... logits
 * [me_logit_rows(n)][n_vocab] is scratch. */
static inline mobiedit_status me_likeliest(me_engine *engine, const float *hidden, int n, float *logits,
                                           int32_t *tokens, int stride, mobiedit_error *err) {
    const size_t d = (size_t)engine->model->d_model, n_vocab = (size_t)engine->model->n_vocab;
    const int rows = me_logit_rows(engine->model, (size_t)n);
    for (int first = 0; first < n; first += rows) {
        const int some = n - first < rows ? n - first : rows;
        ME_TRY(engine->ops->logits(engine, hidden + (size_t)first * d, some, logits, err));
        for (int i = 0; i < some; i++)
            tokens[(size_t)(first + i) * (size_t)stride] =
                me_argmax(logits + (size_t)i * n_vocab, (int)n_vocab);
    }
    return MOBIEDIT_OK;
}

#endif
