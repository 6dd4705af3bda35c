/* mobiedit_open, mobiedit_close, and the parts of a handle. */
#include "api/handle.h"

#include "api/backend.h"
#include "base/memory.h"
#include "edit/measure.h"
#include "edit/session.h"
#include "model/llama_init.h"
#include "runtime/trial.h"
#include "store/calibration_file.h"
#include "store/fingerprint.h"

#include <string.h>
#include <unistd.h>

mobiedit_status mobiedit_open(const char *path, const mobiedit_model_options *options, mobiedit_model **model,
                              mobiedit_error *err) {
    ME_TRY(me_check_text(path, "the model's path", err));
    const char *backend = options ? options->backend : NULL,
               *profile = options && options->advanced ? options->advanced->profile : NULL;
    me_llama_init();
    ME_TRY(me_backend_check(backend, profile, err));
    mobiedit_model *handle = me_calloc(1, sizeof *handle);
    if (!handle) return me_fail_memory(err, "the model handle");
    if (options) handle->options = *options;
    handle->options.advanced = NULL; /* borrowed for the call only */
    handle->profile = me_backend_profile(profile);
    mobiedit_status status = MOBIEDIT_OK;
    if (backend && !(handle->backend = me_strdup(backend))) status = me_fail_memory(err, "the model handle");
    if (options && options->calibration && !(handle->calibration_path = me_strdup(options->calibration)))
        status = me_fail_memory(err, "the model handle");
    if (status == MOBIEDIT_OK) status = me_model_open_any(path, &handle->model, err);
    if (status == MOBIEDIT_OK) status = me_backend_fits(backend, profile, handle->model, err);
    if (status == MOBIEDIT_OK)
        *model = handle;
    else
        mobiedit_close(handle);
    return me_outcome(status, err);
}

static void close_runtime(mobiedit_model *handle) {
    if (handle->runtime) me_runtime_close(handle->runtime);
    handle->runtime = NULL;
}

void mobiedit_close(mobiedit_model *model) {
    if (!model) return;
    close_runtime(model);
    if (model->session) me_session_close(model->session);
    if (model->engine) model->engine->ops->close(model->engine);
    if (model->pool) me_pool_close(model->pool);
    if (model->vocab) me_vocab_close(model->vocab);
    me_model_close(model->model);
    me_calibration_close(model->calibration);
    me_free(model->calibration_path);
    me_free(model->backend);
    me_free(model->files);
    me_free(model);
}

/* ---- the calibration ---------------------------------------------------------------------------------- */

bool me_calibration_is_off(const mobiedit_model *model) {
    return model->calibration_path && strcmp(model->calibration_path, "none") == 0;
}

mobiedit_status me_calibration_choose_path(const mobiedit_model *model, char **out, mobiedit_error *err) {
    *out = model->calibration_path ? me_strdup(model->calibration_path)
                                   : me_calibration_file_default_path(model->model);
    return *out ? MOBIEDIT_OK : me_fail_memory(err, "the calibration's path");
}

mobiedit_status me_calibration_read(const me_model *model, const char *fingerprint, const char *path,
                                    me_calibration **out, mobiedit_error *err) {
    me_calibration *c = NULL;
    ME_TRY(me_calibration_begin(model, 0, &c, err));
    const mobiedit_status status = me_calibration_file_read(model, fingerprint, path, c, err);
    if (status == MOBIEDIT_OK)
        *out = c;
    else
        me_calibration_close(c);
    return status;
}

mobiedit_status me_calibration_find(mobiedit_model *model, mobiedit_error *err) {
    char *path;
    if (model->calibration || me_calibration_is_off(model)) return MOBIEDIT_OK;
    ME_TRY(me_calibration_choose_path(model, &path, err));
    mobiedit_status status = MOBIEDIT_OK;
    if (model->calibration_path || access(path, F_OK) == 0) {
        char fingerprint[ME_FINGERPRINT_SIZE];
        status = me_fingerprint(model->model, fingerprint, err);
        if (status == MOBIEDIT_OK)
            status = me_calibration_read(model->model, fingerprint, path, &model->calibration, err);
    }
    me_free(path);
    return status;
}

mobiedit_calibration_state me_calibration_state(const mobiedit_model *model) {
    if (!model->calibration) return MOBIEDIT_CALIBRATION_NONE;
    return me_calibration_is_whole(model->calibration) ? MOBIEDIT_CALIBRATION_WHOLE
                                                       : MOBIEDIT_CALIBRATION_UNFINISHED;
}

/* ---- session and runtime ------------------------------------------------------------------------------ */

static mobiedit_status try_model(mobiedit_model *handle, mobiedit_error *err) {
    if (handle->model->why_foreign && !handle->is_tried) ME_TRY(me_trial_run(handle->model, err));
    handle->is_tried = true;
    return MOBIEDIT_OK;
}

mobiedit_status me_handle_vocab(mobiedit_model *handle, const me_vocab **out, mobiedit_error *err) {
    ME_TRY(try_model(handle, err));
    if (!handle->vocab) ME_TRY(me_vocab_open(handle->model->path, &handle->vocab, err));
    *out = handle->vocab;
    return MOBIEDIT_OK;
}

/* Each part stands on those before it; a failure leaves what is open for the next try. */
mobiedit_status me_handle_session_uncalibrated(mobiedit_model *handle, me_session **out,
                                               mobiedit_error *err) {
    const me_vocab *vocab;
    close_runtime(handle);
    ME_TRY(me_handle_vocab(handle, &vocab, err));
    if (!handle->pool) ME_TRY(me_pool_open(handle->options.threads, &handle->pool, err));
    if (!handle->engine)
        ME_TRY(me_backend_open(handle->backend, handle->profile, handle->model, handle->vocab, handle->pool,
                               &handle->options, &handle->engine, err));
    if (!handle->session) ME_TRY(me_session_open(handle->engine, handle->vocab, &handle->session, err));
    handle->session->calibration = NULL;
    *out = handle->session;
    return MOBIEDIT_OK;
}

mobiedit_status me_handle_session(mobiedit_model *handle, me_session **out, mobiedit_error *err) {
    ME_TRY(me_handle_session_uncalibrated(handle, out, err));
    ME_TRY(me_calibration_find(handle, err));
    handle->session->calibration = handle->calibration;
    return MOBIEDIT_OK;
}

mobiedit_status me_handle_runtime(mobiedit_model *handle, me_runtime **out, mobiedit_error *err) {
    const me_runtime_options options = {.threads = handle->options.threads,
                                        .n_sequences = handle->n_sequences};
    ME_TRY(try_model(handle, err));
    if (!handle->runtime) {
        /* Libllama maps the same file and has buffers of its own: what the engine holds makes room. */
        if (handle->engine && handle->engine->ops->release) handle->engine->ops->release(handle->engine);
        me_model_release_pages(handle->model);
        ME_TRY(me_runtime_open(handle->model->path, &options, &handle->runtime, err));
    } else {
        ME_TRY(me_runtime_set_adapter(handle->runtime, NULL, err));
    }
    *out = handle->runtime;
    return MOBIEDIT_OK;
}

void mobiedit_free(void *memory) {
    me_free(memory);
}
