/* Inputs that a merged matrix is judged on: those of the facts' subjects, which the edit is for, and those of
 * background text, which should see nothing of it. */
#ifndef ME_API_SAMPLES_H
#define ME_API_SAMPLES_H

#include "edit/edit.h"
#include "store/adapter.h"

/* Positions that are read, at most. */
enum { ME_SAMPLES_MAX = 2400 };

/* Which matrix's inputs: the MLP's for gate and up, the down projection's for down. The latter depend on gate
 * and up, so they are those that the matrix will meet where an adapter changes these too. */
typedef struct {
    int layer;
    me_mlp_matrix matrix;
    const me_adapter_part *gate, *up; /* of the same layer, for the down projection; NULL: unchanged */
} me_sample_place;

/* Inputs there, turned over: *columns [n_in][*n], freed with me_free. A subject's has weight 1, the
 * background's have 1 together; each is scaled by the square root of its weight. Of more facts than have room
 * (ME_SAMPLES_MAX in all) the first ones count. */
mobiedit_status me_samples_collect(me_session *session, const me_sample_place *place, const me_prompt *facts,
                                   size_t n_facts, float **columns, int *n, mobiedit_error *err);

#endif
