/* Hashes the names, types, shapes and bytes of a model's tensors. */
#include "store/fingerprint.h"

#include "model/headers.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* Name, type and shape as text, so that one cannot run into the next; then the bytes. */
static bool add_tensor(XXH3_state_t *state, const me_header_tensor *tensor) {
    const int64_t *ne = tensor->ne;
    char text[GGML_MAX_NAME + 128];
    (void)snprintf(text, sizeof text, "%s\n%d %lld %lld %lld %lld %zu\n", tensor->name, (int)tensor->type,
                   (long long)ne[0], (long long)ne[1], (long long)ne[2], (long long)ne[3], tensor->bytes);
    return tensor->data && XXH3_128bits_update(state, text, strlen(text)) == XXH_OK &&
           XXH3_128bits_update(state, tensor->data, tensor->bytes) == XXH_OK;
}

static mobiedit_status add_tensors(XXH3_state_t *state, const me_headers *headers, mobiedit_error *err) {
    for (int64_t i = 0; i < headers->n_tensors; i++) {
        const me_header_tensor tensor = me_headers_tensor(headers, i);
        if (!add_tensor(state, &tensor))
            return me_fail(err, MOBIEDIT_E_FORMAT, "%s has changed since it was opened", tensor.path);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status hash(const me_headers *headers, char out[ME_FINGERPRINT_SIZE], mobiedit_error *err) {
    XXH3_state_t *state = XXH3_createState();
    mobiedit_status status = state && XXH3_128bits_reset(state) == XXH_OK
                                 ? add_tensors(state, headers, err)
                                 : me_fail_memory(err, "the model's fingerprint");
    if (status == MOBIEDIT_OK) {
        const XXH128_hash_t hash = XXH3_128bits_digest(state);
        (void)snprintf(out, ME_FINGERPRINT_SIZE, "%016llx%016llx", (unsigned long long)hash.high64,
                       (unsigned long long)hash.low64);
    }
    XXH3_freeState(state);
    return status;
}

mobiedit_status me_fingerprint(const me_model *model, char out[ME_FINGERPRINT_SIZE], mobiedit_error *err) {
    me_headers headers;
    mobiedit_status status = me_headers_open(model->files, model->n_files, &headers, err);
    if (status == MOBIEDIT_OK) status = hash(&headers, out, err);
    me_headers_close(&headers);
    /* An edit reads a part of the file only: the rest must not count as its memory. */
    me_model_release_pages(model);
    return status;
}
