/* Reads the fields of a case with checks: texts, lists, questions. */
#include "eval/fields.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <string.h>

mobiedit_status me_refuse_field(const me_place *at, const char *field, const char *what) {
    return me_fail(at->err, MOBIEDIT_E_FORMAT, "%s: case %zu: %s %s", at->file, at->index, field, what);
}

const cJSON *me_field(const cJSON *object, const char *const *names, const char **name) {
    *name = names[0];
    for (; *names; names++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, *names);
        if (!item || cJSON_IsNull(item)) continue;
        *name = *names;
        return item;
    }
    return NULL;
}

mobiedit_status me_copy_text(const me_place *at, const cJSON *item, const char *field, char **out) {
    if (!item) return me_refuse_field(at, field, "is missing");
    if (!cJSON_IsString(item) || !item->valuestring) return me_refuse_field(at, field, "is not a string");
    const size_t length = strlen(item->valuestring);
    if (length == 0) return me_refuse_field(at, field, "is empty");
    if (length > ME_DATASET_MAX_TEXT) return me_refuse_field(at, field, "is too long");
    if (!me_utf8_valid(item->valuestring)) return me_refuse_field(at, field, "is not UTF-8");
    *out = me_strndup(item->valuestring, length);
    return *out ? MOBIEDIT_OK : me_fail_memory(at->err, "the facts");
}

static bool is_empty_string(const cJSON *item) {
    return cJSON_IsString(item) && item->valuestring && !*item->valuestring;
}

mobiedit_status me_copy_optional(const me_place *at, const cJSON *item, const char *field, char **out) {
    if (!item || cJSON_IsNull(item) || is_empty_string(item)) return MOBIEDIT_OK;
    return me_copy_text(at, item, field, out);
}

static mobiedit_status add_text(const me_place *at, const cJSON *item, const char *field, me_texts *out) {
    if (out->n >= ME_DATASET_MAX_PROMPTS) return me_refuse_field(at, field, "has too many prompts");
    char *text = NULL;
    ME_TRY(me_copy_text(at, item, field, &text));
    const mobiedit_status status = me_texts_add(out, text, at->err);
    me_free(text);
    return status;
}

/* Lists at most `depth` deep. */
static mobiedit_status add_strings(const me_place *at, const cJSON *item, int depth, const char *field,
                                   me_texts *out) {
    if (!item || cJSON_IsNull(item) || is_empty_string(item)) return MOBIEDIT_OK;
    if (!cJSON_IsArray(item)) return add_text(at, item, field, out);
    if (depth == 0) return me_refuse_field(at, field, "is a list in a list in a list");
    const cJSON *child;
    cJSON_ArrayForEach(child, item) ME_TRY(add_strings(at, child, depth - 1, field, out));
    return MOBIEDIT_OK;
}

mobiedit_status me_copy_strings(const me_place *at, const cJSON *item, const char *field, me_texts *out) {
    return add_strings(at, item, 2, field, out);
}

mobiedit_status me_copy_texts(const me_place *at, const cJSON *list, const char *field, me_texts *out) {
    if (!list || cJSON_IsNull(list)) return MOBIEDIT_OK;
    if (!cJSON_IsArray(list)) return me_refuse_field(at, field, "is not a list");
    const cJSON *item;
    cJSON_ArrayForEach(item, list) ME_TRY(add_text(at, item, field, out));
    return MOBIEDIT_OK;
}

mobiedit_status me_add_item(const me_place *at, const cJSON *prompt, const cJSON *answers, const char *field,
                            me_items *out) {
    if (out->n >= ME_DATASET_MAX_PROMPTS) return me_refuse_field(at, field, "has too many prompts");
    if (!me_grow(&out->items, &out->capacity, out->n + 1, sizeof *out->items))
        return me_fail_memory(at->err, "the facts");
    me_item *item = &out->items[out->n++]; /* counted first, so that one read by half is freed */
    /* KnowEdit has prompts that are lists of one. */
    if (cJSON_IsArray(prompt)) prompt = cJSON_GetArrayItem(prompt, 0);
    ME_TRY(me_copy_text(at, prompt, field, &item->prompt));
    return me_copy_strings(at, answers, field, &item->answers);
}

static mobiedit_status add_question(const me_place *at, const cJSON *item, const char *field, me_items *out) {
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(item, "prompt");
    if (!prompt) return me_refuse_field(at, field, "has a question without a prompt");
    ME_TRY(me_add_item(at, prompt, cJSON_GetObjectItemCaseSensitive(item, "ground_truth"), field, out));
    me_item *added = &out->items[out->n - 1];
    if (added->answers.n > 0) return MOBIEDIT_OK;
    me_free(added->prompt);
    me_texts_free(&added->answers);
    *added = (me_item){0};
    out->n--;
    return MOBIEDIT_OK;
}

static mobiedit_status add_list(const me_place *at, const cJSON *list, const char *field, me_items *out) {
    const cJSON *item;
    if (cJSON_IsNull(list)) return MOBIEDIT_OK;
    if (cJSON_IsObject(list)) return add_question(at, list, field, out);
    if (!cJSON_IsArray(list)) return me_refuse_field(at, field, "is not a list of questions");
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsObject(item)) return me_refuse_field(at, field, "is not a list of questions");
        ME_TRY(add_question(at, item, field, out));
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_add_questions(const me_place *at, const cJSON *item, const char *field, me_items *out) {
    if (!item || cJSON_IsNull(item)) return MOBIEDIT_OK;
    if (!cJSON_IsObject(item) || cJSON_GetObjectItemCaseSensitive(item, "prompt"))
        return add_list(at, item, field, out);
    const cJSON *list;
    cJSON_ArrayForEach(list, item) ME_TRY(add_list(at, list, field, out));
    return MOBIEDIT_OK;
}
