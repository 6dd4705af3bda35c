#include "split_model.h"

#include <ggml.h>
#include <stdint.h>
#include <stdio.h>

static bool write_part(const struct gguf_context *whole, struct ggml_context *tensors, const char *prefix,
                       int i, int n, const split_options *options) {
    const int64_t n_tensors = gguf_get_n_tensors(whole), bare = options && options->bare_first;
    /* Of the tensors, those of part i: as many as others have, those left over in the last. */
    const int64_t share = n_tensors / (n - bare);
    const int64_t begin = i < bare ? 0 : share * (i - bare), end = i < bare    ? 0
                                                                   : i + 1 < n ? begin + share
                                                                               : n_tensors;
    char path[1024];
    struct gguf_context *part = gguf_init_empty();
    if (i == 0) gguf_set_kv(part, whole);
    gguf_set_val_u16(part, "split.no", (uint16_t)i);
    gguf_set_val_u16(part, "split.count", (uint16_t)n);
    gguf_set_val_i32(part, "split.tensors.count", (int32_t)n_tensors);
    for (int64_t t = begin; t < end; t++)
        gguf_add_tensor(part, ggml_get_tensor(tensors, gguf_get_tensor_name(whole, t)));
    if (options && options->change) options->change(part, i, options->user);
    (void)snprintf(path, sizeof path, "%s-%05d-of-%05d.gguf", prefix, i + 1, n);
    const bool done = gguf_write_to_file(part, path, false);
    gguf_free(part);
    return done;
}

bool split_model(const char *path, const char *prefix, int n, const split_options *options) {
    struct ggml_context *tensors = NULL;
    struct gguf_context *whole = gguf_init_from_file(path, (struct gguf_init_params){.ctx = &tensors});
    bool done = whole != NULL;
    for (int i = 0; i < n && done; i++)
        done = write_part(whole, tensors, prefix, i, n, options);
    ggml_free(tensors);
    gguf_free(whole);
    return done;
}
