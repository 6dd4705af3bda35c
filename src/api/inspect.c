/* mobiedit_inspect: what is known of a model before it is edited. */
#include "api/backend.h"
#include "api/handle.h"
#include "base/memory.h"
#include "edit/edit.h"
#include "model/headers.h"
#include "model/metadata.h"
#include "model/sites.h"
#include "store/calibration_file.h"
#include "store/ledger.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What an edit takes beside the mapped file: our own engines, and libllama's, which keeps logits of a batch for each
 * token of the vocabulary (297 MiB on SmolLM2, 664 to 737 on Gemma 3 270M, 829 on Qwen2.5 0.5B, with the file). */
static const size_t our_memory = (size_t)128 << 20, libllama_memory = (size_t)144 << 20,
                    libllama_memory_a_token = 1536;

static const char *mlp_of(const me_model *model, int layer) {
    const bool gated = me_has_gate(model->activation);
    switch (model->layers[layer].site) {
    case ME_SITE_DENSE:
        return gated ? "dense" : "dense, without a gate";
    case ME_SITE_FUSED:
        return "dense, gate and up in one tensor";
    case ME_SITE_SHARED:
        return gated ? "the shared expert" : "the shared expert, without a gate";
    case ME_SITE_EXPERTS:
        return gated ? "a neuron in every expert" : "neurons in every expert, without a gate";
    case ME_SITE_NONE:
        break;
    }
    return "none";
}

/* "Q4_K 120, F32 60", the types with most tensors first; what has no room is left out. */
static void list_types(const me_headers *headers, char *out, size_t size) {
    int counts[GGML_TYPE_COUNT] = {0};
    size_t n = 0;
    for (int64_t i = 0; i < headers->n_tensors; i++)
        counts[me_headers_tensor(headers, i).type]++;
    for (;;) {
        char one[64];
        int most = 0;
        for (int i = 1; i < GGML_TYPE_COUNT; i++)
            if (counts[i] > counts[most]) most = i;
        if (counts[most] == 0) return;
        const int length = snprintf(one, sizeof one, "%s%s %d", n > 0 ? ", " : "",
                                    ggml_type_name((enum ggml_type)most), counts[most]);
        if (n + (size_t)length >= size) return;
        memcpy(out + n, one, (size_t)length + 1);
        n += (size_t)length;
        counts[most] = 0;
    }
}

static mobiedit_status read_headers(const mobiedit_model *handle, mobiedit_inspection *out,
                                    mobiedit_error *err) {
    me_headers headers;
    const mobiedit_status status =
        me_headers_open(handle->model->files, handle->model->n_files, &headers, err);
    if (status == MOBIEDIT_OK) {
        list_types(&headers, out->types, sizeof out->types);
        out->has_chat_template = me_gguf_string(headers.gguf[0], "tokenizer.chat_template") != NULL;
    }
    me_headers_close(&headers);
    return status;
}

static mobiedit_status find_files(mobiedit_model *handle, mobiedit_inspection *out, mobiedit_error *err) {
    char *ledger = me_ledger_default_path(handle->model);
    if (!ledger) return me_fail_memory(err, "the ledger's path");
    out->has_ledger = access(ledger, F_OK) == 0;
    me_free(ledger);
    if (me_calibration_is_off(handle)) return MOBIEDIT_OK;
    ME_TRY(me_calibration_find(handle, err));
    out->calibration = me_calibration_state(handle);
    if (handle->calibration) out->subject_layer = handle->calibration->layer;
    return MOBIEDIT_OK;
}

static mobiedit_status list_files(mobiedit_model *handle, mobiedit_inspection *out, mobiedit_error *err) {
    const me_model *m = handle->model;
    if (!handle->files) handle->files = me_calloc((size_t)m->n_files, sizeof *handle->files);
    if (!handle->files) return me_fail_memory(err, "the names of the model's files");
    for (int i = 0; i < m->n_files; i++)
        handle->files[i] = (mobiedit_model_file){.path = m->files[i].path, .bytes = m->files[i].size};
    out->files = handle->files;
    out->n_files = (size_t)m->n_files;
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_inspect(mobiedit_model *model, mobiedit_inspection *out, mobiedit_error *err) {
    const me_model *m = model->model;
    mobiedit_inspection found = {.name = m->name,
                                 .architecture = m->arch_name,
                                 .layers = m->n_layer,
                                 .layer = me_answer_layer(m),
                                 .subject_layer = me_default_layer(m),
                                 .backend = me_backend_name(model->backend, m),
                                 .why_not_native = m->why_foreign,
                                 .model_bytes = me_model_bytes(m),
                                 .memory_bytes = me_model_bytes(m)};
    found.memory_bytes += strcmp(found.backend, "llama") == 0
                              ? libllama_memory + (size_t)m->n_vocab * libllama_memory_a_token
                              : our_memory;
    for (int i = 0; i < m->n_layer - 1; i++)
        found.editable += me_site_is_there(m, i);
    ME_TRY(list_files(model, &found, err));
    ME_TRY(read_headers(model, &found, err));
    ME_TRY(find_files(model, &found, err));
    found.mlp = mlp_of(m, found.layer);
    *out = found;
    return me_outcome(MOBIEDIT_OK, err);
}
