/* mobiedit_calibrate: measures a model's calibration, a step at a time, into its file. */
#include "api/handle.h"

#include "api/generated_text.h"
#include "base/memory.h"
#include "base/usage.h"
#include "edit/measure.h"
#include "edit/trials.h"
#include "store/calibration_file.h"
#include "store/fingerprint.h"

#include <string.h>
#include <unistd.h>

/* Whether it may go on: `layer` is the one that is wanted, -1 where it is to
 * be chosen; `fresh` has nothing yet. */
static bool can_go_on(const me_calibration *c, int layer, const me_calibration *fresh) {
    if (c->n_total != fresh->n_total) return false;
    if (layer >= 0) return c->layer == layer && me_layer_trials_left(&c->trials) == 0;
    const me_layer_trials *t = &c->trials, *all = &fresh->trials;
    return t->n_layers == all->n_layers && t->usual == all->usual &&
           memcmp(t->layers, all->layers, (size_t)t->n_layers * sizeof *t->layers) == 0;
}

/* One that was begun goes on; one of another layer, another version or another model begins anew. */
static mobiedit_status go_on_or_begin(const me_model *model, int layer, const char *fingerprint,
                                      const char *path, me_calibration **out, mobiedit_error *err) {
    me_calibration *c = NULL;
    mobiedit_error ignored = {0};
    if (access(path, F_OK) == 0) (void)me_calibration_read(model, fingerprint, path, &c, &ignored);
    me_calibration *fresh = NULL;
    const mobiedit_status status =
        me_calibration_begin(model, layer < 0 ? me_default_layer(model) : layer, &fresh, err);
    if (status == MOBIEDIT_OK && layer < 0) me_layer_trials_begin(model, &fresh->trials);
    if (status == MOBIEDIT_OK && c && can_go_on(c, layer, fresh)) {
        *out = c;
        me_calibration_close(fresh);
    } else {
        *out = fresh;
        me_calibration_close(c);
    }
    return status;
}

typedef struct {
    mobiedit_model *model;
    const mobiedit_calibrate_options *options;
    const char *fingerprint, *path;
    double started;
    me_calibration *calibration;
    mobiedit_calibrate_result *result;
} measuring;

/* Trials and batches of texts count as a prompt each. */
static int text_steps(int n_texts) {
    return (n_texts + ME_GENERATED_TEXT_BATCH - 1) / ME_GENERATED_TEXT_BATCH;
}

/* What there is now is kept, and told of. */
static mobiedit_status keep_step(measuring *m, mobiedit_error *err) {
    const me_calibration *c = m->calibration;
    const int done = c->trials.n_done + text_steps(c->n_texts) + c->n_done;
    const int total = me_layer_trials_total(&c->trials) + text_steps(ME_CALIBRATION_TEXTS) + c->n_total;
    ME_TRY(me_calibration_file_write(c, m->fingerprint, m->path, err));
    m->result->prompts = c->n_done;
    m->result->seconds = me_wall_seconds() - m->started;
    if (m->options->on_prompt && !m->options->on_prompt(m->options->user, done, total))
        return me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled: calibrate again to resume");
    return MOBIEDIT_OK;
}

static mobiedit_status write_texts(measuring *m, mobiedit_error *err) {
    me_runtime *runtime;
    mobiedit_status status = MOBIEDIT_OK;
    if (m->calibration->n_texts == ME_CALIBRATION_TEXTS) return MOBIEDIT_OK;
    ME_TRY(me_generated_text_runtime(m->model->model->path, m->model->options.threads, &runtime, err));
    while (m->calibration->n_texts < ME_CALIBRATION_TEXTS && status == MOBIEDIT_OK) {
        status = me_generated_text_add(runtime, m->calibration, err);
        if (status == MOBIEDIT_OK) status = keep_step(m, err);
    }
    me_runtime_close(runtime);
    return status;
}

static mobiedit_status try_layers(measuring *m, me_session *session, mobiedit_error *err) {
    me_calibration *c = m->calibration;
    me_layer_trials *t = &c->trials;
    while (me_layer_trials_left(t)) {
        ME_TRY(me_layer_trials_step(session, t, &m->result->evaluations, err));
        if (me_layer_trials_left(t) == 0) c->layer = me_layer_trials_choose(t);
        ME_TRY(keep_step(m, err));
    }
    m->result->layer = c->layer;
    return MOBIEDIT_OK;
}

static bool has_keys(const me_calibration *c) {
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++)
        if (!c->keys[p].text || !c->keys[p].background) return false;
    return true;
}

static mobiedit_status measure(measuring *m, mobiedit_error *err) {
    me_session *session;
    me_calibration *c = m->calibration;
    m->result->prompts = m->result->found = c->n_done;
    ME_TRY(me_handle_session_uncalibrated(m->model, &session, err));
    ME_TRY(try_layers(m, session, err));
    ME_TRY(write_texts(m, err));
    if (!has_keys(c)) {
        ME_TRY(me_calibration_measure_keys(session, c, err));
        ME_TRY(keep_step(m, err));
    }
    while (c->n_done < c->n_total) {
        ME_TRY(me_calibration_measure(session, c, &m->result->evaluations, err));
        ME_TRY(keep_step(m, err));
    }
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_calibrate(mobiedit_model *model, const mobiedit_calibrate_options *options,
                                   mobiedit_calibrate_result *result, mobiedit_error *err) {
    static const mobiedit_calibrate_options defaults = {0};
    if (!options) options = &defaults;
    if (me_calibration_is_off(model))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a calibration must have a file");
    ME_TRY(me_check_layer(model, options->fix_layer, options->layer, err));
    const int layer = options->fix_layer ? options->layer : -1;
    char *path, fingerprint[ME_FINGERPRINT_SIZE];
    me_calibration *c = NULL;
    *result = (mobiedit_calibrate_result){0};
    ME_TRY(me_fingerprint(model->model, fingerprint, err));
    ME_TRY(me_calibration_choose_path(model, &path, err));
    mobiedit_status status = me_check_place(model, ME_PLACE_CALIBRATION, path, err);
    if (status == MOBIEDIT_OK) status = go_on_or_begin(model->model, layer, fingerprint, path, &c, err);
    measuring m = {.model = model,
                   .options = options,
                   .fingerprint = fingerprint,
                   .path = path,
                   .started = me_wall_seconds(),
                   .calibration = c,
                   .result = result};
    if (status == MOBIEDIT_OK) status = measure(&m, err);
    me_free(path);
    me_calibration_close(c);
    return me_outcome(status, err);
}

mobiedit_status mobiedit_layer_trials(mobiedit_model *model,
                                      mobiedit_layer_trial trials[MOBIEDIT_MAX_LAYER_TRIALS], int *n,
                                      mobiedit_error *err) {
    ME_TRY(me_calibration_find(model, err));
    *n = 0;
    if (!model->calibration) return me_outcome(MOBIEDIT_OK, err);
    const me_layer_trials *t = &model->calibration->trials;
    for (; t->n_done > 0 && me_layer_trials_left(t) == 0 && *n < t->n_layers; ++*n)
        trials[*n] = (mobiedit_layer_trial){.layer = t->layers[*n], .loss = me_layer_trials_loss(t, *n)};
    return me_outcome(MOBIEDIT_OK, err);
}
