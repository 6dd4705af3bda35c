/* Opens a GGUF model: maps its file and checks what is read from it. */
#define _GNU_SOURCE
#include "model/model.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/llama_init.h"
#include "model/metadata.h"
#include "model/model_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static mobiedit_status map_file(me_model *model, mobiedit_error *err) {
    FILE *file;
    uint64_t size;
    ME_TRY(me_open_file(model->path, &file, &size, err));
    void *map = MAP_FAILED;
    if (size > 0 && size <= SIZE_MAX) map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fileno(file), 0);
    int reason = errno;
    (void)fclose(file);
    const char *path = me_shown_path(model->path);
    if (size == 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is empty", path);
    if (map == MAP_FAILED)
        return me_fail(err, MOBIEDIT_E_IO, "%s: cannot map the file: %s", path, strerror(reason));
    model->map = map;
    model->map_size = (size_t)size;
    return MOBIEDIT_OK;
}

/* What ggml's reader would only tell its log. */
static mobiedit_status check_header(const me_model *model, mobiedit_error *err) {
    const char *path = me_shown_path(model->path);
    size_t known = model->map_size < 4 ? model->map_size : 4;
    if (memcmp(model->map, GGUF_MAGIC, known) != 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: not a GGUF file", path);
    uint32_t version;
    if (model->map_size < 4 + sizeof version)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is truncated", path);
    memcpy(&version, (const char *)model->map + 4, sizeof version);
    if (version != 0 && (version & 0xFFFF) == 0)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: a GGUF file of the other byte order", path);
    if (version != 2 && version != 3)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: GGUF version %u is not supported (2 and 3 are)",
                       path, (unsigned)version);
    return MOBIEDIT_OK;
}

/* Adapters, projectors, importance matrices and parts of split models are GGUF files too. */
static mobiedit_status check_kind(const me_metadata *meta, mobiedit_error *err) {
    const char *type = "model";
    ME_TRY(me_meta_string(meta, "general.type", &type, err));
    if (strcmp(type, "model") != 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is not a model but of type %.40s", meta->path,
                       type);
    int64_t id = gguf_find_key(meta->gguf, "split.count");
    if (id >= 0 && me_meta_number(meta, id) > 1)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%s: one part of a model split into %g files; merge them first (llama-gguf-split)",
                       meta->path, me_meta_number(meta, id));
    return MOBIEDIT_OK;
}

/* libllama maps the tensors as the CPU's, and ends the process if they do not begin at such a multiple. */
static mobiedit_status check_alignment(const me_metadata *meta, mobiedit_error *err) {
    enum { CPU_ALIGNMENT = 32 };
    const size_t alignment = gguf_get_alignment(meta->gguf);
    if (alignment % CPU_ALIGNMENT == 0) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                   "%s: general.alignment is %zu; libllama maps multiples of %d only", meta->path, alignment,
                   CPU_ALIGNMENT);
}

static mobiedit_status read_native(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    ME_TRY(me_model_set_arch(model, meta->path, meta->arch, err));
    ME_TRY(me_model_read_hparams(model, meta, err));
    return me_model_read_tensors(model, meta, err);
}

/* What has been read is dropped, but for the file and its name. */
static mobiedit_status read_foreign(me_model *model, const me_metadata *meta, const mobiedit_error *why,
                                    mobiedit_error *err) {
    me_free(model->layers);
    *model =
        (me_model){.path = model->path, .name = model->name, .map = model->map, .map_size = model->map_size};
    model->why_foreign = me_strdup(why->message);
    if (!model->why_foreign) return me_fail_memory(err, "the model");
    return me_model_read_foreign(model, meta, meta->arch, err);
}

static mobiedit_status read_model(me_model *model, const struct gguf_context *gguf, bool any,
                                  mobiedit_error *err) {
    me_metadata meta = {.path = me_shown_path(model->path), .gguf = gguf};
    ME_TRY(check_kind(&meta, err));
    ME_TRY(check_alignment(&meta, err));
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

static mobiedit_status read_file(me_model *model, bool any, mobiedit_error *err) {
    ME_TRY(map_file(model, err));
    ME_TRY(check_header(model, err));
    me_llama_init();
    /* From the mapping, so that what is checked is what is used. */
    struct gguf_init_params params = {.no_alloc = true, .ctx = NULL};
    struct gguf_context *gguf = gguf_init_from_buffer(model->map, model->map_size, params);
    if (!gguf)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the GGUF header is truncated or damaged",
                       me_shown_path(model->path));
    mobiedit_status status = read_model(model, gguf, any, err);
    gguf_free(gguf);
    return status;
}

static mobiedit_status open_model(const char *path, bool any, me_model **out, mobiedit_error *err) {
    me_model *model = me_calloc(1, sizeof *model);
    if (!model) return me_fail_memory(err, "the model");
    model->path = me_strdup(path);
    mobiedit_status status = model->path ? read_file(model, any, err) : me_fail_memory(err, "the model");
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
    if (model->map) (void)munmap((void *)model->map, model->map_size);
    me_free(model->layers);
    me_free(model->path);
    me_free(model->name);
    me_free(model->why_foreign);
    me_free(model);
}

void me_model_release_pages(const me_model *model) {
    (void)madvise((void *)model->map, model->map_size, MADV_DONTNEED);
}
