/* Keys that a merged matrix is judged on: those of the facts' subjects, which the edit is for, and those of
 * background text, which should see nothing of it. */
#ifndef ME_EDIT_SAMPLES_H
#define ME_EDIT_SAMPLES_H

#include "edit/edit.h"

/* Keys at `layer`, turned over: *columns [d_ff][*n], freed with me_free. A subject's key has weight 1, the
 * background's have 1 together; each key is scaled by the square root of its weight. Of more facts than have
 * room (ME_KEY_MAX keys in all) the first ones count. */
mobiedit_status me_samples_collect(me_session *session, int layer, const me_prompt *facts, size_t n_facts,
                                   float **columns, int *n, mobiedit_error *err);

#endif
