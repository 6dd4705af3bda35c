/* Solves the edits of a ledger together, a layer at a time. */
#include "edit/joint_samples.h"

#include "base/memory.h"
#include "edit/neuron.h"
#include "edit/veto.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

/* Least response of a key that is still scaled up to 1. */
static const float MIN_RESPONSE = 0.25F;

/* Scales each left so that its unit's keys and its prompt's own answer 1
 * in the mean, and sums the deltas up. */
static void finish_units(const me_joint_samples *w, me_joint_layer *out) {
    const size_t d = (size_t)w->d;
    for (int u = 0; u < w->n_units; u++) {
        float *left = out->left + (size_t)u * d;
        const float response = me_key_column_response(w->groups, w->n_groups, u, w->d, left);
        cblas_sscal(w->d, 1.0F / (response > MIN_RESPONSE ? response : MIN_RESPONSE), left, 1);
    }
    for (int i = 0; i < w->n; i++)
        cblas_saxpy(w->d, 1, w->items[i].edit->delta, 1, out->delta + (size_t)w->unit[i] * d, 1);
}

static mobiedit_status solve_work(me_joint_samples *w, me_joint_layer *out, mobiedit_error *err) {
    ME_TRY(me_joint_samples_collect(w, err));
    *out = (me_joint_layer){.layer = w->layer,
                            .n_units = w->n_units,
                            .left = me_calloc((size_t)w->n_units * (size_t)w->d, sizeof(float)),
                            .veto = me_calloc((size_t)w->n_units * (size_t)w->d, sizeof(float)),
                            .constant = me_calloc((size_t)w->d, sizeof(float)),
                            .delta = me_calloc((size_t)w->n_units * (size_t)w->d, sizeof(float))};
    if (!out->left || !out->veto || !out->constant || !out->delta)
        return me_fail_memory(err, "the joint edit");
    ME_TRY(me_key_solve_columns(w->groups, w->n_groups, w->n_units, w->d, ME_KEY_LAMBDA, out->left, err));
    ME_TRY(me_key_constant(w->groups, w->n_groups, w->d, ME_KEY_LAMBDA, out->constant, err));
    finish_units(w, out);
    return me_veto_solve(w->groups, w->n_groups, w->n_units, w->d, out->left, out->constant, out->veto, err);
}

/* all [n_all] in order; [first, last) are all of one layer. */
static mobiedit_status solve_layer(me_session *session, const me_joint_item *all, int n_all, int first,
                                   int last, int index, me_joint *joint, mobiedit_error *err) {
    const me_joint_item *items = all + first;
    const int n = last - first;
    me_joint_samples w = {.session = session,
                          .layer = items[0].edit->layer,
                          .d = session->engine->model->d_model,
                          .items = items,
                          .n = n,
                          .all = all,
                          .n_all = n_all};
    const mobiedit_status status = solve_work(&w, &joint->layers[index], err);
    for (int i = 0; i < n && status == MOBIEDIT_OK; i++) {
        joint->layer_of[items[i].index] = index;
        joint->unit_of[items[i].index] = w.unit[i];
    }
    me_joint_samples_free(&w);
    return status;
}

static mobiedit_status solve_layers(me_session *session, const me_joint_item *items, int n, me_joint *out,
                                    mobiedit_error *err) {
    for (int first = 0, last; first < n; first = last) {
        for (last = first + 1; last < n && items[last].edit->layer == items[first].edit->layer;)
            last++;
        const int index = out->n_layers++;
        ME_TRY(solve_layer(session, items, n, first, last, index, out, err));
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_joint_solve(me_session *session, const me_joint_edit *edits, int n, me_joint *out,
                               mobiedit_error *err) {
    me_joint joint = {.layers = me_calloc((size_t)n, sizeof *joint.layers),
                      .layer_of = me_calloc((size_t)n, sizeof *joint.layer_of),
                      .unit_of = me_calloc((size_t)n, sizeof *joint.unit_of)};
    me_joint_item *items = me_calloc((size_t)n, sizeof *items);
    mobiedit_status status = joint.layers && joint.layer_of && joint.unit_of && items
                                 ? MOBIEDIT_OK
                                 : me_fail_memory(err, "the joint solve");
    if (status == MOBIEDIT_OK) {
        for (int i = 0; i < n; i++)
            items[i] = (me_joint_item){.edit = &edits[i], .index = i};
        qsort(items, (size_t)n, sizeof *items, me_joint_compare_items);
        status = solve_layers(session, items, n, &joint, err);
    }
    me_free(items);
    if (status == MOBIEDIT_OK)
        *out = joint;
    else
        me_joint_free(&joint);
    return status;
}

void me_joint_free(me_joint *joint) {
    for (int i = 0; i < joint->n_layers; i++) {
        me_free(joint->layers[i].left);
        me_free(joint->layers[i].veto);
        me_free(joint->layers[i].constant);
        me_free(joint->layers[i].delta);
    }
    me_free(joint->layers);
    me_free(joint->layer_of);
    me_free(joint->unit_of);
    *joint = (me_joint){0};
}

void me_joint_add(const me_model *model, me_joint *joint, int i, float by, const float *delta) {
    const me_joint_layer *layer = &joint->layers[joint->layer_of[i]];
    const int d = model->d_model;
    cblas_saxpy(d, by, delta, 1, layer->delta + (size_t)joint->unit_of[i] * (size_t)d, 1);
}

void me_joint_offset(const me_model *model, const me_joint *joint, const me_joint_edit *edits, int i,
                     float *offset) {
    const me_joint_layer *layer = &joint->layers[joint->layer_of[i]];
    const int d = model->d_model;
    const float *key = edits[i].keys, c = cblas_sdot(d, key, 1, layer->constant, 1);
    memset(offset, 0, (size_t)d * sizeof *offset);
    for (int u = 0; u < layer->n_units; u++) {
        const float t = cblas_sdot(d, key, 1, layer->left + (size_t)u * (size_t)d, 1);
        const float v = cblas_sdot(d, key, 1, layer->veto + (size_t)u * (size_t)d, 1);
        const float share = me_neuron_share(model->activation, t, c, v);
        cblas_saxpy(d, share, layer->delta + (size_t)u * (size_t)d, 1, offset, 1);
        if (u == joint->unit_of[i]) cblas_saxpy(d, -share, edits[i].delta, 1, offset, 1);
    }
}
