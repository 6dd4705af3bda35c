/* Parses the headers of a model's files. */
#include "model/headers.h"

#include "base/memory.h"
#include "model/llama_init.h"
#include "model/metadata.h"

#include <string.h>

/* What ggml's reader would only tell its log. */
static mobiedit_status check_beginning(const me_model_file *file, mobiedit_error *err) {
    const char *path = me_shown_path(file->path);
    size_t known = file->size < 4 ? file->size : 4;
    if (memcmp(file->map, GGUF_MAGIC, known) != 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: not a GGUF file", path);
    uint32_t version;
    if (file->size < 4 + sizeof version)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is truncated", path);
    memcpy(&version, (const char *)file->map + 4, sizeof version);
    if (version != 0 && (version & 0xFFFF) == 0)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: a GGUF file of the other byte order", path);
    if (version != 2 && version != 3)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: GGUF version %u is not supported (2 and 3 are)",
                       path, (unsigned)version);
    return MOBIEDIT_OK;
}

/* libllama maps the tensors as the CPU's, and ends the process if they do not begin at such a multiple. */
static mobiedit_status check_alignment(const struct gguf_context *gguf, const char *path,
                                       mobiedit_error *err) {
    enum { CPU_ALIGNMENT = 32 };
    const size_t alignment = gguf_get_alignment(gguf);
    if (alignment % CPU_ALIGNMENT == 0) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                   "%s: general.alignment is %zu; libllama maps multiples of %d only", path, alignment,
                   CPU_ALIGNMENT);
}

static mobiedit_status add(me_headers *headers, const me_model_file *file, mobiedit_error *err) {
    const char *path = me_shown_path(file->path);
    ME_TRY(check_beginning(file, err));
    struct gguf_context *gguf =
        gguf_init_from_buffer(file->map, file->size, (struct gguf_init_params){.no_alloc = true});
    if (!gguf) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the GGUF header is truncated or damaged", path);
    headers->gguf[headers->n_files++] = gguf;
    headers->n_tensors += gguf_get_n_tensors(gguf);
    return check_alignment(gguf, path, err);
}

mobiedit_status me_headers_open(const me_model_file *files, int n_files, me_headers *out,
                                mobiedit_error *err) {
    me_llama_init();
    *out = (me_headers){.files = files, .gguf = me_calloc((size_t)n_files, sizeof(struct gguf_context *))};
    if (!out->gguf) return me_fail_memory(err, "the headers of the model's files");
    for (int i = 0; i < n_files; i++)
        ME_TRY(add(out, &files[i], err));
    return MOBIEDIT_OK;
}

void me_headers_close(me_headers *headers) {
    for (int i = 0; i < headers->n_files; i++)
        gguf_free(headers->gguf[i]);
    me_free(headers->gguf);
    *headers = (me_headers){0};
}

static const void *place(const me_model_file *file, const struct gguf_context *gguf, int64_t id) {
    size_t begin, end;
    return me_add_size(gguf_get_data_offset(gguf), gguf_get_tensor_offset(gguf, id), &begin) &&
                   me_add_size(begin, gguf_get_tensor_size(gguf, id), &end) && end <= file->size
               ? (const char *)file->map + begin
               : NULL;
}

me_header_tensor me_headers_tensor(const me_headers *headers, int64_t number) {
    int i = 0;
    for (; number >= gguf_get_n_tensors(headers->gguf[i]); i++)
        number -= gguf_get_n_tensors(headers->gguf[i]);
    const struct gguf_context *gguf = headers->gguf[i];
    return (me_header_tensor){.name = gguf_get_tensor_name(gguf, number),
                              .type = gguf_get_tensor_type(gguf, number),
                              .ne = gguf_get_tensor_ne(gguf, number),
                              .bytes = gguf_get_tensor_size(gguf, number),
                              .data = place(&headers->files[i], gguf, number),
                              .path = me_shown_path(headers->files[i].path)};
}

int64_t me_headers_find(const me_headers *headers, const char *name) {
    int64_t before = 0;
    for (int i = 0; i < headers->n_files; i++) {
        const int64_t id = gguf_find_tensor(headers->gguf[i], name);
        if (id >= 0) return before + id;
        before += gguf_get_n_tensors(headers->gguf[i]);
    }
    return -1;
}
