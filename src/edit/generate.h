/* What the unedited model goes on with. */
#ifndef ME_EDIT_GENERATE_H
#define ME_EDIT_GENERATE_H

#include "edit/carriers.h"
#include "engine/engine.h"

/* The likeliest token each time: tokens [n][n_tokens]. What the sequences read does not matter. */
mobiedit_status me_generate(me_engine *engine, const me_sequences *sequences, int n_tokens, me_token *tokens,
                            mobiedit_error *err);

#endif
