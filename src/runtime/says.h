/* Whether a model says a target after a prompt: compared as text, up to where its last word ends. */
#ifndef ME_RUNTIME_SAYS_H
#define ME_RUNTIME_SAYS_H

#include "base/words.h"
#include "runtime/batch.h"
#include "runtime/text.h"

/* A target behind its prompt, and what a model was heard to say there, whichever engine runs it. The target's
 * tokens are put to the model all at once; what it says is followed token by token while it is these. */
typedef struct {
    me_tokens tokens; /* the prompt's, then the target's */
    int n_prompt;
    char *wanted;  /* the target as its tokens have it */
    me_text heard; /* what the model says by itself */
    int n_shared;  /* tokens that what it says begins with */
    me_said said;
} me_saying;

/* E_ARGUMENT where prompt or target has no tokens. *out is freed with me_saying_close. */
mobiedit_status me_saying_open(const me_vocab *vocab, const char *prompt, const char *target, me_saying *out,
                               mobiedit_error *err);
void me_saying_close(me_saying *saying);

/* The model's likeliest token after tokens[position], for positions n_prompt - 1, ... tokens.n - 1 in turn.
 * Where `said` is still ME_SAID_OPEN after the last one, me_sayings_settle listens further. */
mobiedit_status me_saying_hear(me_saying *saying, const me_vocab *vocab, int position, me_token likeliest,
                               mobiedit_error *err);

/* How the target reads with a token behind it: ME_SAID_WHOLE where that shows its end. */
mobiedit_status me_saying_followed(const me_saying *saying, const me_vocab *vocab, me_token token,
                                   me_said *out, mobiedit_error *err);

/* What is to be put to the runtime for it. */
me_query me_saying_query(const me_saying *saying);

/* Lets the runtime speak where what was heard does not tell. */
mobiedit_status me_sayings_settle(me_runtime *runtime, me_saying *const *sayings, int n, mobiedit_error *err);

/* The whole for one prompt, as the runtime now is: never ME_SAID_OPEN. */
mobiedit_status me_runtime_says(me_runtime *runtime, const char *prompt, const char *target, me_said *said,
                                mobiedit_error *err);

#endif
