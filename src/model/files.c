/* Maps a model's files: one, or the parts of a split model, which are checked as libllama checks them. */
#define _GNU_SOURCE
#include "model/model_private.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* ---- mapping ------------------------------------------------------------------------------------------- */

static mobiedit_status map_file(me_model_file *file, mobiedit_error *err) {
    FILE *stream;
    uint64_t size;
    ME_TRY(me_open_file(file->path, &stream, &size, err));
    void *map = MAP_FAILED;
    if (size > 0 && size <= SIZE_MAX)
        map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fileno(stream), 0);
    int reason = errno;
    (void)fclose(stream);
    const char *path = me_shown_path(file->path);
    if (size == 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is empty", path);
    if (map == MAP_FAILED)
        return me_fail(err, MOBIEDIT_E_IO, "%s: cannot map the file: %s", path, strerror(reason));
    file->map = map;
    file->size = (size_t)size;
    return MOBIEDIT_OK;
}

/* Room for n files in all; those that are there stay. */
static mobiedit_status make_room(me_model *model, int n, mobiedit_error *err) {
    me_model_file *files = me_calloc((size_t)n, sizeof *files);
    if (!files) return me_fail_memory(err, "the model's files");
    if (model->files) memcpy(files, model->files, (size_t)model->n_files * sizeof *files);
    me_free(model->files);
    model->files = files;
    return MOBIEDIT_OK;
}

/* Takes the path over. */
static mobiedit_status add_file(me_model *model, char *path, mobiedit_error *err) {
    if (!path) return me_fail_memory(err, "the names of the model's files");
    me_model_file *file = &model->files[model->n_files++];
    file->path = path;
    return map_file(file, err);
}

void me_model_close_files(me_model *model) {
    for (int i = 0; i < model->n_files; i++) {
        if (model->files[i].map) (void)munmap((void *)model->files[i].map, model->files[i].size);
        me_free(model->files[i].path);
    }
    me_free(model->files);
}

void me_model_release_pages(const me_model *model) {
    for (int i = 0; i < model->n_files; i++)
        (void)madvise((void *)model->files[i].map, model->files[i].size, MADV_DONTNEED);
}

size_t me_model_bytes(const me_model *model) {
    size_t bytes = 0;
    for (int i = 0; i < model->n_files; i++)
        bytes += model->files[i].size;
    return bytes;
}

bool me_model_has_file(const me_model *model, const char *path) {
    for (int i = 0; i < model->n_files; i++)
        if (me_same_file(model->files[i].path, path)) return true;
    return false;
}

/* ---- parts --------------------------------------------------------------------------------------------- */

/* What a part says of the whole. */
typedef struct {
    int no, n, n_tensors; /* no: from 0 */
} split;

/* libllama ends the process at a number of another type. */
static mobiedit_status need(const struct gguf_context *gguf, const char *path, const char *key,
                            enum gguf_type type, int64_t *id, mobiedit_error *err) {
    *id = gguf_find_key(gguf, key);
    if (*id < 0 || gguf_get_kv_type(gguf, *id) != type)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s %s", path, key,
                       *id < 0 ? "is missing" : "is not of the type that it should have");
    return MOBIEDIT_OK;
}

static mobiedit_status read_split(const struct gguf_context *gguf, const char *path, split *out,
                                  mobiedit_error *err) {
    int64_t id;
    ME_TRY(need(gguf, path, "split.count", GGUF_TYPE_UINT16, &id, err));
    out->n = gguf_get_val_u16(gguf, id);
    ME_TRY(need(gguf, path, "split.no", GGUF_TYPE_UINT16, &id, err));
    out->no = gguf_get_val_u16(gguf, id);
    ME_TRY(need(gguf, path, "split.tensors.count", GGUF_TYPE_INT32, &id, err));
    out->n_tensors = gguf_get_val_i32(gguf, id);
    return MOBIEDIT_OK;
}

/* *out->n is 1 if the file is a whole model. */
static mobiedit_status read_first(const struct gguf_context *gguf, const char *path, split *out,
                                  mobiedit_error *err) {
    const int64_t id = gguf_find_key(gguf, "split.count");
    *out = (split){.n = 1};
    if (id < 0) return MOBIEDIT_OK;
    ME_TRY(need(gguf, path, "split.count", GGUF_TYPE_UINT16, &(int64_t){0}, err));
    return gguf_get_val_u16(gguf, id) > 1 ? read_split(gguf, path, out, err) : MOBIEDIT_OK;
}

/* The model's own path must be that of the first part. */
static mobiedit_status check_first(const char *path, const split *first, me_part_name *name,
                                   mobiedit_error *err) {
    const char *shown = me_shown_path(path);
    const bool named = me_part_name_read(path, name) && name->no == first->no + 1 && name->n == first->n;
    if (!named)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "%s: part %d of a model split into %d files, of which this one must be named "
                       "...-%05d-of-%05d.gguf for the others to be found",
                       shown, first->no + 1, first->n, first->no + 1, first->n);
    if (first->no == 0) return MOBIEDIT_OK;
    char *right = me_part_path(path, name, 1);
    if (!right) return me_fail_memory(err, "the names of the model's files");
    (void)me_fail(err, MOBIEDIT_E_ARGUMENT, "%s: part %d of a model split into %d files: open the first, %s",
                  shown, first->no + 1, first->n, me_shown_path(right));
    me_free(right);
    return MOBIEDIT_E_ARGUMENT;
}

static mobiedit_status add_parts(me_model *model, const split *first, mobiedit_error *err) {
    me_part_name name;
    mobiedit_error why = {0};
    ME_TRY(check_first(model->path, first, &name, err));
    ME_TRY(make_room(model, first->n, err));
    for (int i = 1; i < first->n; i++) {
        const mobiedit_status status = add_file(model, me_part_path(model->path, &name, i + 1), &why);
        if (status != MOBIEDIT_OK)
            return me_fail(err, status, "part %d of %d of the model: %s", i + 1, first->n, why.message);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status check_part(const me_headers *headers, int i, const split *first, mobiedit_error *err) {
    const char *path = me_shown_path(headers->files[i].path);
    split part;
    ME_TRY(read_split(headers->gguf[i], path, &part, err));
    if (part.n != first->n || part.n_tensors != first->n_tensors)
        return me_fail(err, MOBIEDIT_E_FORMAT,
                       "%s: a part of another model: of %d files and %d tensors, but the first part's has %d "
                       "and %d",
                       path, part.n, part.n_tensors, first->n, first->n_tensors);
    if (part.no != i)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is part %d of the model, not part %d", path,
                       part.no + 1, i + 1);
    return MOBIEDIT_OK;
}

/* No tensor is in two parts. */
static mobiedit_status check_twins(const me_headers *headers, mobiedit_error *err) {
    for (int64_t i = 0; i < headers->n_tensors; i++) {
        const me_header_tensor tensor = me_headers_tensor(headers, i);
        const int64_t first = me_headers_find(headers, tensor.name);
        if (first != i)
            return me_fail(err, MOBIEDIT_E_FORMAT, "%s: tensor %s is in another part of the model too",
                           tensor.path, tensor.name);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status check_parts(const me_headers *headers, const split *first, mobiedit_error *err) {
    for (int i = 1; i < headers->n_files; i++)
        ME_TRY(check_part(headers, i, first, err));
    if (headers->n_tensors != first->n_tensors)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the model's %d files hold %lld tensors, not %d",
                       me_shown_path(headers->files[0].path), first->n, (long long)headers->n_tensors,
                       first->n_tensors);
    return check_twins(headers, err);
}

mobiedit_status me_model_open_files(me_model *model, me_headers *headers, mobiedit_error *err) {
    split first;
    ME_TRY(make_room(model, 1, err));
    ME_TRY(add_file(model, me_strdup(model->path), err));
    ME_TRY(me_headers_open(model->files, 1, headers, err));
    ME_TRY(read_first(headers->gguf[0], me_shown_path(model->path), &first, err));
    if (first.n == 1) return MOBIEDIT_OK;
    me_headers_close(headers);
    ME_TRY(add_parts(model, &first, err));
    ME_TRY(me_headers_open(model->files, model->n_files, headers, err));
    return check_parts(headers, &first, err);
}
