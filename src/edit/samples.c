#include "edit/samples.h"

#include "base/memory.h"
#include "edit/key.h"
#include "edit/session.h"

#include <math.h>

/* Keys of the first facts, `room` of them at most. */
static mobiedit_status subject_keys(me_session *session, int layer, const me_prompt *facts, size_t n_facts,
                                    int room, me_key_set *out, mobiedit_error *err) {
    me_sequences sequences = {0};
    mobiedit_status status = MOBIEDIT_OK;
    for (size_t i = 0; i < n_facts && (int)i < room && status == MOBIEDIT_OK; i++)
        status = me_session_add_prompt(session, &facts[i], NULL, &sequences, err);
    if (status == MOBIEDIT_OK) status = me_session_keys(session, layer, &sequences, out, err);
    me_sequences_free(&sequences);
    return status;
}

/* Puts the keys, scaled, into columns [first, first + set->n) of `columns` [d_ff][n]. */
static void turn_over(const me_key_set *set, float scale, size_t d_ff, size_t first, size_t n,
                      float *columns) {
    for (size_t k = 0; k < (size_t)set->n; k++)
        for (size_t i = 0; i < d_ff; i++)
            columns[i * n + first + k] = scale * set->keys[k * d_ff + i];
}

mobiedit_status me_samples_collect(me_session *session, int layer, const me_prompt *facts, size_t n_facts,
                                   float **columns, int *n, mobiedit_error *err) {
    const size_t d_ff = (size_t)session->engine->model->d_ff;
    const me_key_set *background;
    me_key_set subjects = {0};
    ME_TRY(me_session_background(session, layer, &background, err));
    ME_TRY(subject_keys(session, layer, facts, n_facts, ME_KEY_MAX - background->n, &subjects, err));
    const size_t n_keys = (size_t)background->n + (size_t)subjects.n;
    float *turned = me_calloc(n_keys * d_ff, sizeof *turned);
    if (turned) {
        turn_over(background, 1 / sqrtf((float)background->n), d_ff, 0, n_keys, turned);
        turn_over(&subjects, 1, d_ff, (size_t)background->n, n_keys, turned);
        *columns = turned;
        *n = (int)n_keys;
    }
    me_free(subjects.keys);
    return turned ? MOBIEDIT_OK : me_fail_memory(err, "keys");
}
