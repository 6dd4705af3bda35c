/* What the unedited model goes on with. */
#ifndef ME_EDIT_GENERATE_H
#define ME_EDIT_GENERATE_H

#include "edit/carriers.h"
#include "engine/engine.h"

/* The likeliest token each time: tokens [n][n_tokens]. With keys (else NULL), what the MLP of `layer` reads from
 * each sequence's read_pos up to its end and at all these tokens but the last: keys [sum of (n_read + n_tokens -
 * 1)][d]. Without, what the sequences read does not matter. */
mobiedit_status me_generate(me_engine *engine, const me_sequences *sequences, int n_tokens, me_token *tokens,
                            int layer, float *keys, mobiedit_error *err);

#endif
