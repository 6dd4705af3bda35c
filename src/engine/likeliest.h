/* The likeliest tokens by an engine's logits, which are large: of some rows at a time. */
#ifndef ME_ENGINE_LIKELIEST_H
#define ME_ENGINE_LIKELIEST_H

#include "base/logits.h"
#include "engine/engine.h"

/* Rows of logits that are held at once. */
enum { ME_LOGIT_ROWS = 16 };

/* hidden [n][d] -> the likeliest token behind each, in tokens[0], tokens[stride], ... logits
 * [ME_LOGIT_ROWS][n_vocab] is scratch. */
static inline mobiedit_status me_likeliest(me_engine *engine, const float *hidden, int n, float *logits,
                                           int32_t *tokens, int stride, mobiedit_error *err) {
    const size_t d = (size_t)engine->model->d_model, n_vocab = (size_t)engine->model->n_vocab;
    for (int first = 0; first < n; first += ME_LOGIT_ROWS) {
        const int some = n - first < ME_LOGIT_ROWS ? n - first : ME_LOGIT_ROWS;
        ME_TRY(engine->ops->logits(engine, hidden + (size_t)first * d, some, logits, err));
        for (int i = 0; i < some; i++)
            tokens[(size_t)(first + i) * (size_t)stride] =
                me_argmax(logits + (size_t)i * n_vocab, (int)n_vocab);
    }
    return MOBIEDIT_OK;
}

#endif
