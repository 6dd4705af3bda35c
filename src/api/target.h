/* A target as our own engine sees it, before anything is edited. */
#ifndef ME_API_TARGET_H
#define ME_API_TARGET_H

#include "api/handle.h"
#include "base/words.h"

typedef struct {
    me_said said;    /* behind the prompt; may be ME_SAID_OPEN */
    bool prolonged;  /* behind the prompt and the target comes what makes a longer word or number of it */
    bool has_follow; /* `follow` is the likeliest of the tokens that end it */
    me_token follow;
} me_target_view;

/* One pass of prompt and target. Takes the session. */
mobiedit_status me_target_look(mobiedit_model *handle, const me_prompt *prompt, me_target_view *out,
                               mobiedit_error *err);

#endif
