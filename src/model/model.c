/* Opens a GGUF model: maps its files and checks what is read from them. */
#include "model/model.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/metadata.h"
#include "model/model_private.h"

#include <string.h>

/* Adapters, projectors and importance matrices are GGUF files too. */
static mobiedit_status check_kind(const me_metadata *meta, mobiedit_error *err) {
    const char *type = "model";
    ME_TRY(me_meta_string(meta, "general.type", &type, err));
    if (strcmp(type, "model") != 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is not a model but of type %.40s", meta->path,
                       type);
    return MOBIEDIT_OK;
}

static mobiedit_status read_native(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    ME_TRY(me_model_set_arch(model, meta->path, meta->arch, err));
    ME_TRY(me_model_read_hparams(model, meta, err));
    return me_model_read_tensors(model, meta, err);
}

/* What has been read is dropped, but for the files and the name. */
static mobiedit_status read_foreign(me_model *model, const me_metadata *meta, const mobiedit_error *why,
                                    mobiedit_error *err) {
    me_free(model->layers);
    *model = (me_model){
        .path = model->path, .name = model->name, .files = model->files, .n_files = model->n_files};
    model->why_foreign = me_strdup(why->message);
    if (!model->why_foreign) return me_fail_memory(err, "the model");
    return me_model_read_foreign(model, meta, meta->arch, err);
}

static mobiedit_status read_model(me_model *model, const me_headers *headers, bool any, mobiedit_error *err) {
    const struct gguf_context *gguf = headers->gguf[0];
    me_metadata meta = {.path = me_shown_path(model->path), .gguf = gguf, .headers = headers};
    ME_TRY(check_kind(&meta, err));
    ME_TRY(me_meta_string(&meta, "general.architecture", &meta.arch, err));
    if (!meta.arch)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the metadata name no architecture", meta.path);
    const char *name = me_gguf_string(gguf, "general.name");
    model->name = me_strdup(name && *name ? name : me_base_name(model->path));
    if (!model->name) return me_fail_memory(err, "the model");
    mobiedit_error why = {0};
    const mobiedit_status status = read_native(model, &meta, &why);
    if (status == MOBIEDIT_E_UNSUPPORTED && any) return read_foreign(model, &meta, &why, err);
    return status == MOBIEDIT_OK ? status : me_fail(err, status, "%s", why.message);
}

static mobiedit_status read_files(me_model *model, bool any, mobiedit_error *err) {
    me_headers headers = {0};
    mobiedit_status status = me_model_open_files(model, &headers, err);
    if (status == MOBIEDIT_OK) status = read_model(model, &headers, any, err);
    me_headers_close(&headers);
    return status;
}

static mobiedit_status open_model(const char *path, bool any, me_model **out, mobiedit_error *err) {
    me_model *model = me_calloc(1, sizeof *model);
    if (!model) return me_fail_memory(err, "the model");
    model->path = me_strdup(path);
    mobiedit_status status = model->path ? read_files(model, any, err) : me_fail_memory(err, "the model");
    if (status != MOBIEDIT_OK) {
        me_model_close(model);
        return status;
    }
    *out = model;
    return MOBIEDIT_OK;
}

mobiedit_status me_model_open(const char *path, me_model **out, mobiedit_error *err) {
    return open_model(path, false, out, err);
}

mobiedit_status me_model_open_any(const char *path, me_model **out, mobiedit_error *err) {
    return open_model(path, true, out, err);
}

void me_model_close(me_model *model) {
    if (!model) return;
    me_model_close_files(model);
    me_free(model->layers);
    me_free(model->path);
    me_free(model->name);
    me_free(model->why_foreign);
    me_free(model);
}
