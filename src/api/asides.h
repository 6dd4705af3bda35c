/* What an edit does beside its own prompt: whether a chat says the fact too, and what becomes of other things
 * about the subject. */
#ifndef ME_API_ASIDES_H
#define ME_API_ASIDES_H

#include "api/handle.h"
#include "base/words.h"

enum { ME_ASIDES_OTHERS = 2 };

/* One edit, asked about without and with the adapter; it stays with the caller between the two. */
typedef struct {
    const me_prompt *prompt;
    bool holds;           /* the prompt says the target: if it is a question, that was in a chat */
    mobiedit_asides *out; /* others are listed where there are none yet */
    me_token first[ME_ASIDES_OTHERS]; /* of what the model said when it was asked before */
    bool is_asked;
} me_aside;

/* Asks the runtime as it is attached: with the edit's adapter (`edited`), also in a chat, or without any. What
 * has been asked both ways is compared. */
mobiedit_status me_asides_ask(me_runtime *runtime, me_aside *asides, int n, bool edited, mobiedit_error *err);

mobiedit_status me_asides_copy(const mobiedit_asides *from, mobiedit_asides *out, mobiedit_error *err);
void me_asides_free(mobiedit_asides *asides);

/* Whether the model says the target after the prompt; of a question, in the first sentence of its answer. */
mobiedit_status me_prompt_said(me_runtime *runtime, const me_prompt *prompt, me_said *said,
                               mobiedit_error *err);

/* Whether the answer to the prompt as a user's message has the target in it: 1 or 0; -1: there is nothing to ask,
 * since the model has no template or the prompt is in a chat itself. */
mobiedit_status me_prompt_said_in_chat(me_runtime *runtime, const me_prompt *prompt, int *said,
                                       mobiedit_error *err);

#endif
