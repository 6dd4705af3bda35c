/* Many edits as one adapter: the keys of all edits of a layer are solved together.
 *
 * A unit is what has one key: a subject behind one text ("The capital of {Japan}"). Attention is causal, so
 * prompts that are alike up to the subject share the key ("{Japan}'s capital is", "{Japan}'s currency is"):
 * such edits are one unit, their deltas add up, and the later ones are solved on top of the earlier ones. At
 * the answer the key knows the whole prompt: each such edit is a unit of its own.
 * Each unit is a column of the least squares: left_u.k = 1 on its own keys, 0 on those of every other unit,
 * on other names in each prompt, on background text, on the prompts' own tokens, on what is to be kept, and
 * on other layers' subjects. Keys of a subject that two of its units claim alike (it is named behind neutral
 * text) tell nothing and are left out. The order of the edits does not matter: they are put in an order of
 * their own first. See doc/ledger.md. */
#ifndef ME_EDIT_JOINT_H
#define ME_EDIT_JOINT_H

#include "edit/edit.h"

/* An edit as it was solved by itself. All is borrowed. */
typedef struct {
    const me_prompt *prompt;
    const float *delta; /* [d] */
    const float *keys;  /* [n_keys][d], the bare prompt's first */
    int n_keys;
    int layer;
    const char *const *keep; /* [n_keep] prompts whose answers must not change */
    size_t n_keep;
} me_joint_edit;

typedef struct {
    int layer;
    int n_units;
    float *left;     /* [n_units][d] */
    float *veto;     /* [n_units][d]: see veto.h */
    float *constant; /* [d]: of all of them, see neuron.h */
    float *delta;    /* [n_units][d]: the sum of the deltas of each unit's edits */
} me_joint_layer;

typedef struct {
    me_joint_layer *layers; /* [n_layers], ascending */
    int n_layers;
    int *layer_of; /* [n]: index into layers of each edit, in the caller's order */
    int *unit_of;  /* [n] */
} me_joint;

/* Solves n >= 1 edits. Free with me_joint_free. Memory: the keys of at most ME_KEY_MAX
 * samples, twice (72 MiB where d_model is 576), and d_model^2 doubles. E_UNSUPPORTED where a
 * layer has more units than fit that. */
mobiedit_status me_joint_solve(me_session *session, const me_joint_edit *edits, int n, me_joint *out,
                               mobiedit_error *err);
void me_joint_free(me_joint *joint);

/* Adds `by` times delta [d_model] to what edit i adds. The keys do not
 * depend on the deltas: the rest stays. */
void me_joint_add(const me_model *model, me_joint *joint, int i, float by, const float *delta);

/* What all other edits of its layer add at edit i's subject in its bare prompt: offset [d]. */
void me_joint_offset(const me_model *model, const me_joint *joint, const me_joint_edit *edits, int i,
                     float *offset);

/* Whether two edits are of one subject, and whether it has one key in both prompts. */
bool me_same_subject(const me_prompt *a, const me_prompt *b);
bool me_same_key(const me_prompt *a, const me_prompt *b);

#endif
