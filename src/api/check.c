/* What can be refused before any work is done. */
#define _POSIX_C_SOURCE 200809L
#include "api/handle.h"
#include "base/pending.h"
#include "base/utf8.h"
#include "edit/solver.h"

#include <sys/stat.h>

static const float MAX_PROBE_STEP = 10;
static const double MAX_IDLE_WATTS = 1000;

mobiedit_status me_check_text(const char *text, const char *what, mobiedit_error *err) {
    if (!text || !*text) return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s is empty", what);
    if (!me_utf8_valid(text)) return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s is not UTF-8", what);
    return MOBIEDIT_OK;
}

mobiedit_status me_request_read(const mobiedit_request *request, me_prompt *out, mobiedit_error *err) {
    ME_TRY(me_check_text(request->prompt, "the prompt", err));
    ME_TRY(me_check_text(request->target, "the target", err));
    return me_prompt_parse(request, out, err);
}

mobiedit_status me_check_layer(const mobiedit_model *handle, bool fix, int layer, mobiedit_error *err) {
    const int n_layer = handle->model->n_layer;
    if (!fix && layer != 0)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "layer %d is named, but fix_layer is not set", layer);
    if (layer < 0 || layer >= n_layer)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no layer %d: the model has layers 0 to %d", layer,
                       n_layer - 1);
    if (fix && layer == n_layer - 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "layer %d cannot be edited: the model has layers 0 to %d and the last is read", layer,
                       n_layer - 1);
    return MOBIEDIT_OK;
}

mobiedit_status me_check_edit_options(const mobiedit_model *handle, const mobiedit_edit_options *options,
                                      mobiedit_error *err) {
    const struct mobiedit_edit_advanced *advanced = me_edit_advanced(options);
    if (options->solver && !me_solver_find(options->solver))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no solver named \"%.60s\"", options->solver);
    ME_TRY(me_check_layer(handle, options->fix_layer, options->layer, err));
    if (!(advanced->probe_step >= 0 && advanced->probe_step <= MAX_PROBE_STEP))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a probe may be at most %g lengths of the value long",
                       (double)MAX_PROBE_STEP);
    if (advanced->without &
        ~(unsigned)(MOBIEDIT_WITHOUT_CONTRAST | MOBIEDIT_WITHOUT_BASIS | MOBIEDIT_WITHOUT_STOP))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no part %#x to leave out", advanced->without);
    if (!(advanced->idle_watts >= 0 && advanced->idle_watts <= MAX_IDLE_WATTS))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an idle machine cannot take %g W", advanced->idle_watts);
    if (options->max_after_tokens < 0)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the length of the texts is negative");
    return MOBIEDIT_OK;
}

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

mobiedit_status me_check_output(const me_model *model, const char *path, mobiedit_error *err) {
    if (!path || !*path) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the output path is empty");
    if (same_file(path, model->path))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the output %s is the model file itself", path);
    me_pending_file trial; /* the only sure way to know that a folder takes files is to make one there */
    ME_TRY(me_pending_write(path, "", 0, &trial, err));
    me_pending_discard(&trial);
    return MOBIEDIT_OK;
}
