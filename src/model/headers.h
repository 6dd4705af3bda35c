/* What the headers of a model's files say of its tensors, which are numbered through, file after file. */
#ifndef ME_MODEL_HEADERS_H
#define ME_MODEL_HEADERS_H

#include "model/model.h"

#include <gguf.h>

typedef struct me_headers {
    const me_model_file *files; /* [n_files], borrowed */
    struct gguf_context **gguf; /* [n_files] */
    int n_files;
    int64_t n_tensors; /* of all files */
} me_headers;

typedef struct {
    const char *name;
    enum ggml_type type;
    const int64_t *ne; /* [GGML_MAX_DIMS] */
    size_t bytes;
    const void *data; /* in the mapped file; NULL: not all of it is in there */
    const char *path; /* of its file */
} me_header_tensor;

/* Parses the files' headers, from their mappings, so that what is checked is what is used. The files outlive
 * *out, which is closed with me_headers_close, on failure too. E_FORMAT, E_UNSUPPORTED, E_MEMORY. */
mobiedit_status me_headers_open(const me_model_file *files, int n_files, me_headers *out,
                                mobiedit_error *err);
void me_headers_close(me_headers *headers);

/* Tensor `number`, of 0 to n_tensors - 1. Its texts live as long as the headers. */
me_header_tensor me_headers_tensor(const me_headers *headers, int64_t number);

/* The number of the tensor of that name; -1: there is none. */
int64_t me_headers_find(const me_headers *headers, const char *name);

#endif
