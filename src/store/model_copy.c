/* Writes a copy of the model with some matrices replaced, as one file. */
#include "store/model_copy.h"

#include "base/memory.h"
#include "model/headers.h"
#include "model/metadata.h"

#include <stdio.h>
#include <string.h>

static const char NOTE_KEY[] = "mobiedit.merged";
enum { RELEASE_BYTES = 64 << 20 }; /* of the mapped file, copied: their pages are given back */

typedef struct {
    const me_model *model;
    const me_folded *folded;
    int n_folded;
    me_headers source;
    struct gguf_context
        *target; /* the metadata of the first of the model's files, changed, and all tensors */
    me_pending_file *file;
    size_t since_release;
} writer;

/* ---- metadata ---------------------------------------------------------------------------------------- */

static mobiedit_status add_note(struct gguf_context *gguf, const char *note, mobiedit_error *err) {
    const char *earlier = me_gguf_string(gguf, NOTE_KEY);
    if (!earlier) earlier = "";
    const size_t size = strlen(earlier) + 1 + strlen(note) + 1;
    char *text = me_calloc(size, 1);
    if (!text) return me_fail_memory(err, "the note of the edits");
    (void)snprintf(text, size, "%s%s%s", earlier, *earlier ? "\n" : "", note);
    gguf_set_val_str(gguf, NOTE_KEY, text);
    gguf_set_val_str(gguf, "mobiedit.version", mobiedit_version());
    me_free(text);
    return MOBIEDIT_OK;
}

/* What a split model's first file says of its parts, whose tensors are all in one file now. */
static mobiedit_status join_parts(writer *w, mobiedit_error *err) {
    static const char *const keys[] = {"split.no", "split.count", "split.tensors.count"};
    const int64_t n = w->source.n_tensors;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        (void)gguf_remove_key(w->target, keys[i]);
    struct ggml_context *tensors = ggml_init(
        (struct ggml_init_params){.mem_size = (size_t)n * ggml_tensor_overhead(), .no_alloc = true});
    if (!tensors) return me_fail_memory(err, "the metadata");
    for (int64_t i = gguf_get_n_tensors(w->target); i < n; i++) {
        const me_header_tensor from = me_headers_tensor(&w->source, i);
        struct ggml_tensor *to = ggml_new_tensor(tensors, from.type, GGML_MAX_DIMS, from.ne);
        (void)ggml_set_name(to, from.name);
        gguf_add_tensor(w->target, to);
    }
    ggml_free(tensors);
    return MOBIEDIT_OK;
}

/* The model's own metadata, changed in place: all other keys, their order and the alignment stay. */
static mobiedit_status describe(writer *w, const char *note, mobiedit_error *err) {
    const me_model_file *first = &w->model->files[0];
    char name[GGML_MAX_NAME];
    ME_TRY(me_headers_open(w->model->files, w->model->n_files, &w->source, err));
    w->target = gguf_init_from_buffer(first->map, first->size, (struct gguf_init_params){.no_alloc = true});
    if (!w->target) return me_fail_memory(err, "the metadata");
    if (w->model->n_files > 1) ME_TRY(join_parts(w, err));
    ME_TRY(add_note(w->target, note, err));
    for (int i = 0; i < w->n_folded; i++) {
        me_mlp_tensor_name(w->model, w->folded[i].layer, w->folded[i].matrix, name);
        gguf_set_tensor_type(w->target, name, w->folded[i].type);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status write_metadata(writer *w, mobiedit_error *err) {
    const size_t size = gguf_get_meta_size(w->target);
    char *bytes = me_calloc(size, 1);
    if (!bytes) return me_fail_memory(err, "the metadata");
    gguf_get_meta_data(w->target, bytes);
    const mobiedit_status status = me_pending_add(w->file, bytes, size, err);
    me_free(bytes);
    return status;
}

/* ---- tensors ----------------------------------------------------------------------------------------- */

static const me_folded *find_folded(const writer *w, const char *name) {
    char wanted[GGML_MAX_NAME];
    for (int i = 0; i < w->n_folded; i++) {
        me_mlp_tensor_name(w->model, w->folded[i].layer, w->folded[i].matrix, wanted);
        if (strcmp(wanted, name) == 0) return &w->folded[i];
    }
    return NULL;
}

static mobiedit_status pad(writer *w, size_t n, mobiedit_error *err) {
    static const char zeros[64];
    while (n > 0) {
        const size_t now = n < sizeof zeros ? n : sizeof zeros;
        ME_TRY(me_pending_add(w->file, zeros, now, err));
        n -= now;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status write_tensor(writer *w, int64_t id, mobiedit_error *err) {
    const me_header_tensor source = me_headers_tensor(&w->source, id);
    const me_folded *folded = find_folded(w, source.name);
    const size_t bytes = gguf_get_tensor_size(w->target, id);
    if (!source.data)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s has changed since it was opened", source.path);
    ME_TRY(me_pending_add(w->file, folded ? folded->data : source.data, bytes, err));
    w->since_release += bytes;
    if (w->since_release >= RELEASE_BYTES) {
        me_model_release_pages(w->model);
        w->since_release = 0;
    }
    return pad(w, GGML_PAD(bytes, gguf_get_alignment(w->target)) - bytes, err);
}

static mobiedit_status write_all(writer *w, const char *note, mobiedit_error *err) {
    ME_TRY(describe(w, note, err));
    ME_TRY(write_metadata(w, err));
    for (int64_t id = 0; id < gguf_get_n_tensors(w->target); id++)
        ME_TRY(write_tensor(w, id, err));
    return me_pending_finish(w->file, err);
}

mobiedit_status me_model_copy_write(const me_model *model, const me_folded *folded, int n_folded,
                                    const char *note, const char *path, me_pending_file *out,
                                    mobiedit_error *err) {
    me_pending_file file = {0};
    ME_TRY(me_pending_open(path, &file, err));
    writer w = {.model = model, .folded = folded, .n_folded = n_folded, .file = &file};
    const mobiedit_status status = write_all(&w, note, err);
    me_headers_close(&w.source);
    gguf_free(w.target);
    me_model_release_pages(model);
    if (status == MOBIEDIT_OK)
        *out = file;
    else
        me_pending_discard(&file);
    return status;
}
