/* Hashes the names, types, shapes and bytes of a model's tensors. */
#include "store/fingerprint.h"

#include "base/memory.h"

#include <gguf.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* Name, type and shape as text, so that one cannot run into the next; then the bytes. */
static bool add_tensor(XXH3_state_t *state, const me_model *model, const struct gguf_context *gguf,
                       int64_t id) {
    size_t begin, end;
    const size_t size = gguf_get_tensor_size(gguf, id);
    if (!me_add_size(gguf_get_data_offset(gguf), gguf_get_tensor_offset(gguf, id), &begin) ||
        !me_add_size(begin, size, &end) || end > model->map_size)
        return false;
    const int64_t *ne = gguf_get_tensor_ne(gguf, id);
    char text[GGML_MAX_NAME + 128];
    (void)snprintf(text, sizeof text, "%s\n%d %lld %lld %lld %lld %zu\n", gguf_get_tensor_name(gguf, id),
                   (int)gguf_get_tensor_type(gguf, id), (long long)ne[0], (long long)ne[1], (long long)ne[2],
                   (long long)ne[3], size);
    return XXH3_128bits_update(state, text, strlen(text)) == XXH_OK &&
           XXH3_128bits_update(state, (const char *)model->map + begin, size) == XXH_OK;
}

static mobiedit_status add_tensors(XXH3_state_t *state, const me_model *model,
                                   const struct gguf_context *gguf, mobiedit_error *err) {
    const int64_t n = gguf_get_n_tensors(gguf);
    for (int64_t id = 0; id < n; id++)
        if (!add_tensor(state, model, gguf, id))
            return me_fail(err, MOBIEDIT_E_FORMAT, "%s has changed since it was opened", model->path);
    return MOBIEDIT_OK;
}

mobiedit_status me_fingerprint(const me_model *model, char out[ME_FINGERPRINT_SIZE], mobiedit_error *err) {
    struct gguf_context *gguf =
        gguf_init_from_buffer(model->map, model->map_size, (struct gguf_init_params){.no_alloc = true});
    if (!gguf) return me_fail(err, MOBIEDIT_E_FORMAT, "%s has changed since it was opened", model->path);
    XXH3_state_t *state = XXH3_createState();
    mobiedit_status status = state && XXH3_128bits_reset(state) == XXH_OK
                                 ? add_tensors(state, model, gguf, err)
                                 : me_fail_memory(err, "the model's fingerprint");
    if (status == MOBIEDIT_OK) {
        const XXH128_hash_t hash = XXH3_128bits_digest(state);
        (void)snprintf(out, ME_FINGERPRINT_SIZE, "%016llx%016llx", (unsigned long long)hash.high64,
                       (unsigned long long)hash.low64);
    }
    XXH3_freeState(state);
    gguf_free(gguf);
    /* An edit reads a part of the file only: the rest must not count as its memory. */
    me_model_release_pages(model);
    return status;
}
