/* What is kept of a model between edits, and the keys that every key solve collects through it. */
#ifndef ME_EDIT_SESSION_H
#define ME_EDIT_SESSION_H

#include "edit/carriers.h"
#include "edit/edit.h"
#include "edit/memo.h"

typedef struct {
    float *keys; /* [n][d] */
    int n;
} me_key_set;

/* The neurons of a layer's MLP, those first that plain text makes least of. */
typedef struct {
    int *order;     /* [d_ff], of experts [n_experts][d_ff] */
    float loudness; /* what the loudest neuron gives at a token, in the median over text, twice */
} me_spare_neurons;

struct me_session {
    me_engine *engine;
    const me_vocab *vocab;
    const struct me_calibration *calibration; /* of the model; NULL: none. The owner of the session sets it */
    me_key_set *background; /* [n_layer]; keys NULL until the layer is first edited, and where the calibration
                               has them */
    me_key_set *generated;  /* [n_layer]; likewise, where the calibration has none of it */
    me_spare_neurons *spare; /* [n_layer]; order NULL until then */
    me_memo memo;
};

/* Adds the request's own prompt, with a target (or NULL) as me_sequences_add takes it. */
mobiedit_status me_session_add_prompt(const me_session *session, const me_prompt *prompt, const char *target,
                                      me_sequences *out, mobiedit_error *err);

/* Keys of the sequences' read positions at `layer`, in memory of their own (me_free(out->keys)). */
mobiedit_status me_session_keys(me_session *session, int layer, const me_sequences *sequences,
                                me_key_set *out, mobiedit_error *err);

/* The same, of what a joint solve is likely to ask for again: read once. */
mobiedit_status me_session_known_keys(me_session *session, int layer, const me_sequences *sequences,
                                      me_key_set *out, mobiedit_error *err);

/* The same of sequences that are read up to their end, and of what the model goes on with by itself: of so many
 * tokens all but the last. groups [n], of which some may be empty, -> out [n]. The model goes on with all of them
 * together: a token takes as long for one sequence as for many. */
mobiedit_status me_session_answer_keys(me_session *session, int layer, const me_sequences *groups, int n,
                                       me_key_set *out, mobiedit_error *err);
enum { ME_ANSWER_TOKENS = 16 };

/* Adds to carriers, behind their target, n tokens that the unedited model goes on with, and reads them too. As the
 * target's last token before, the last of them stands behind the sequence's end. */
mobiedit_status me_session_go_on(me_session *session, int n, me_sequences *carriers, mobiedit_error *err);
/* Of an edit at the answer. */
enum { ME_BEHIND = 3 };

/* The keys of the sequences' subjects, at each of their places: they are read no further. */
mobiedit_status me_session_keys_at_subjects(me_session *session, int layer, const me_sequences *sequences,
                                            me_key_set *out, mobiedit_error *err);

/* Every token of plain text, read anew, in memory of their own (me_free(out->keys)). */
mobiedit_status me_session_read_background(me_session *session, int layer, me_key_set *out,
                                           mobiedit_error *err);

/* Every token of the calibration's texts, likewise. */
mobiedit_status me_session_read_generated(me_session *session, const struct me_calibration *calibration,
                                          int layer, me_key_set *out, mobiedit_error *err);

/* Of plain text; the session's own or its calibration's, valid as long as both are open. */
mobiedit_status me_session_background(me_session *session, int layer, me_key_set *out, mobiedit_error *err);

/* Every token of what the calibrated model wrote itself; also the
 * session's own. NULL without a calibration. */
mobiedit_status me_session_generated(me_session *session, int layer, me_key_set *out, mobiedit_error *err);

/* The session's own too. A neuron counts by the mean square of what it adds to the layer's output. */
mobiedit_status me_session_spare(me_session *session, int layer, const me_spare_neurons **out,
                                 mobiedit_error *err);

/* Every token of the texts, for keys that must stay at 0. No texts give no keys. */
mobiedit_status me_session_text_keys(me_session *session, int layer, const char *const *texts, size_t n,
                                     me_key_set *out, mobiedit_error *err);

/* Every token of the sequences but those at edit_pos: strays there would disturb the answer. */
mobiedit_status me_session_keys_around(me_session *session, int layer, const me_sequence *sequences, int n,
                                       me_key_set *out, mobiedit_error *err);

/* Which of the compiled-in names are taken: every step-th from `first` on. */
typedef struct {
    int first, step;
    bool (*skips)(const void *user, const char *name); /* true: the name is left out */
    const void *user;
} me_name_choice;

/* Other subjects in the same prompt, a settled one, read at their last token or their tail's. The text after
 * that does not matter for a key there. Freed with me_free(out->keys). */
mobiedit_status me_session_names(me_session *session, int layer, const me_prompt *prompt,
                                 const me_name_choice *choice, me_key_set *out, mobiedit_error *err);

/* Likewise, at the answer, names that no model knows, and the subject itself with another first word, "Beta Leonis" for "Eta Leonis": names
 * that end alike have much of a key in common. `choice` is of the words; skips may be NULL.
 * A subject of one word gives no keys. */
mobiedit_status me_session_near_names(me_session *session, int layer, const me_prompt *prompt,
                                      const me_name_choice *choice, me_key_set *out, mobiedit_error *err);

/* Whether one of the two texts is part of the other, as "Japan" and "the Sea of Japan" are. */
bool me_names_overlap(const char *subject, const char *name);

#endif
