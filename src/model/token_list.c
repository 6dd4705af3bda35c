/* Checks a model's list of tokens: how many, and none twice. */
#include "model/model_private.h"

#include "base/hash.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { MAX_VOCAB = 1 << 24, EMPTY_NAME = 32 };

/* The token's text; libllama gives empty ones names of their own. */
static const char *token_text(const me_metadata *meta, int64_t id, size_t i, char name[EMPTY_NAME]) {
    const char *text = gguf_get_arr_str(meta->gguf, id, i);
    if (*text) return text;
    (void)snprintf(name, EMPTY_NAME, "[EMPTY_%zu]", i);
    return name;
}

/* Open addressing: slots [n_slots], a power of two over twice the tokens, hold a token's number + 1 or 0. */
static mobiedit_status find_twin(const me_metadata *meta, int64_t id, uint32_t *slots, size_t n_slots,
                                 mobiedit_error *err) {
    size_t n = gguf_get_arr_n(meta->gguf, id);
    char name[EMPTY_NAME], other[EMPTY_NAME];
    for (size_t i = 0; i < n; i++) {
        const char *text = token_text(meta, id, i, name);
        size_t at = (size_t)me_hash(text, strlen(text)) & (n_slots - 1);
        for (; slots[at]; at = (at + 1) & (n_slots - 1))
            if (strcmp(token_text(meta, id, slots[at] - 1, other), text) == 0)
                return me_fail(err, MOBIEDIT_E_FORMAT, "%s: tokens %u and %zu are the same: %.60s",
                               meta->path, slots[at] - 1, i, text);
        slots[at] = (uint32_t)i + 1;
    }
    return MOBIEDIT_OK;
}

/* SentencePiece ("llama") and byte-pair encoding ("gpt2", "gemma4"). libllama ends the process at spaces in a text that
 * is cut by the pre-tokenizer "whitespace", and knows kinds of vocabularies that need tokens of their own. */
static mobiedit_status check_tokenizer(const me_metadata *meta, mobiedit_error *err) {
    const char *kind = NULL, *pre = "";
    ME_TRY(me_meta_string(meta, "tokenizer.ggml.model", &kind, err));
    ME_TRY(me_meta_string(meta, "tokenizer.ggml.pre", &pre, err));
    if (!kind)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the metadata has no tokenizer.ggml.model", meta->path);
    if (strcmp(kind, "llama") != 0 && strcmp(kind, "gpt2") != 0 && strcmp(kind, "gemma4") != 0)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%s: a tokenizer of kind %.40s is not supported (llama, gpt2 and gemma4 are)",
                       meta->path, kind);
    if (strcmp(pre, "whitespace") == 0)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: the pre-tokenizer %s is not supported", meta->path,
                       pre);
    return MOBIEDIT_OK;
}

mobiedit_status me_model_read_token_list(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    ME_TRY(check_tokenizer(meta, err));
    int64_t id = gguf_find_key(meta->gguf, "tokenizer.ggml.tokens");
    if (id < 0 || gguf_get_kv_type(meta->gguf, id) != GGUF_TYPE_ARRAY ||
        gguf_get_arr_type(meta->gguf, id) != GGUF_TYPE_STRING)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file has no list of tokens", meta->path);
    size_t n = gguf_get_arr_n(meta->gguf, id), n_slots = 4;
    if (n < 1 || n > MAX_VOCAB)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: a vocabulary of %zu tokens", meta->path, n);
    while (n_slots < 2 * n)
        n_slots *= 2;
    uint32_t *slots = me_calloc(n_slots, sizeof *slots);
    if (!slots) return me_fail_memory(err, "the list of tokens");
    mobiedit_status status = find_twin(meta, id, slots, n_slots, err);
    me_free(slots);
    model->n_vocab = (int)n;
    return status;
}
