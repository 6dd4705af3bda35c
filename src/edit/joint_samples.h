/* The samples of the joint solve at one layer: the edits in order, their units, and groups of keys. */
#ifndef ME_EDIT_JOINT_SAMPLES_H
#define ME_EDIT_JOINT_SAMPLES_H

#include "edit/joint.h"
#include "edit/key.h"
#include "edit/session.h"

/* An edit and its place in the caller's order. */
typedef struct {
    const me_joint_edit *edit;
    int index;
} me_joint_item;

/* Orders items [n] by layer, subject and key, as qsort wants it: edits of a unit stand side by side. */
int me_joint_compare_items(const void *x, const void *y);

typedef struct {
    me_session *session; /* down to n_all the caller's to fill */
    int layer, d;
    const me_joint_item *items; /* [n], in order */
    int n;
    const me_joint_item *all; /* [n_all]: of every layer, these among them */
    int n_all;
    me_prompt *prompts; /* [n]: the edits', settled */
    int *unit;          /* [n] */
    int n_units;
    me_key_group *groups;
    int n_groups, n_samples;
    float **owned; /* [n_owned]: keys of groups */
    int n_owned, capacity;
} me_joint_samples;

/* Fills the rest. Freed with me_joint_samples_free in any case. */
mobiedit_status me_joint_samples_collect(me_joint_samples *samples, mobiedit_error *err);
void me_joint_samples_free(me_joint_samples *samples);

#endif
