/* What the unedited model says to a target, and what may have to follow it. */
#include "api/target.h"

#include "base/logits.h"
#include "base/memory.h"
#include "runtime/says.h"

#include <math.h>

/* The likeliest tokens that are looked at for one that ends the target. */
enum { MAX_FOLLOWS = 100 };

/* logits [n_vocab] behind the target; used up. */
static mobiedit_status find_follow(const me_saying *saying, const me_vocab *vocab, float *logits,
                                   me_target_view *out, mobiedit_error *err) {
    for (int i = 0; i < MAX_FOLLOWS && !out->has_follow; i++) {
        const me_token token = me_argmax(logits, me_vocab_size(vocab));
        me_said said;
        ME_TRY(me_saying_followed(saying, vocab, token, &said, err));
        if (i == 0) out->prolonged = said == ME_SAID_LONGER;
        if (said == ME_SAID_WHOLE) {
            out->has_follow = true;
            out->follow = token;
        }
        logits[token] = -INFINITY;
    }
    return MOBIEDIT_OK;
}

/* hidden [1 + n_target][d_model]: from the prompt's last token on; logits [n_vocab] are scratch. */
static mobiedit_status read_hidden(me_engine *engine, const me_vocab *vocab, me_saying *saying,
                                   const float *hidden, float *logits, me_target_view *out,
                                   mobiedit_error *err) {
    const size_t d = (size_t)engine->model->d_model;
    const int last = saying->tokens.n - 1;
    for (int at = saying->n_prompt - 1; at <= last; at++) {
        const bool heard = saying->said != ME_SAID_OPEN;
        if (heard && at < last) continue;
        const float *row = hidden + (size_t)(at - saying->n_prompt + 1) * d;
        ME_TRY(engine->ops->logits(engine, row, 1, logits, err));
        ME_TRY(me_saying_hear(saying, vocab, at, me_argmax(logits, me_vocab_size(vocab)), err));
    }
    out->said = saying->said;
    return find_follow(saying, vocab, logits, out, err);
}

mobiedit_status me_target_look(mobiedit_model *handle, const me_prompt *prompt, me_target_view *out,
                               mobiedit_error *err) {
    me_session *session;
    me_saying saying;
    *out = (me_target_view){0};
    ME_TRY(me_handle_session(handle, &session, err));
    char *before = me_prompt_before_target(prompt);
    if (!before) return me_fail_memory(err, "the prompt");
    const mobiedit_status opened = me_saying_open(handle->vocab, before, prompt->target, &saying, err);
    me_free(before);
    ME_TRY(opened);
    me_engine *engine = handle->engine;
    const int n_read = saying.tokens.n - saying.n_prompt + 1;
    const me_sequence sequence = {.tokens = saying.tokens.ids,
                                  .n_tokens = saying.tokens.n,
                                  .read_pos = saying.n_prompt - 1,
                                  .n_read = n_read};
    float *hidden = me_calloc((size_t)n_read * (size_t)engine->model->d_model, sizeof *hidden);
    float *logits = me_calloc((size_t)engine->model->n_vocab, sizeof *logits);
    mobiedit_status status = hidden && logits ? MOBIEDIT_OK : me_fail_memory(err, "next-token scores");
    if (status == MOBIEDIT_OK) status = engine->ops->forward(engine, &sequence, 1, hidden, err);
    if (status == MOBIEDIT_OK) status = read_hidden(engine, handle->vocab, &saying, hidden, logits, out, err);
    me_free(hidden);
    me_free(logits);
    me_saying_close(&saying);
    return status;
}
