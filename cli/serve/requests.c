/* Reads what a client's JSON asks for. */
#include "serve/requests.h"

#include "base/error.h"
#include "values.h"

#include <string.h>

static mobiedit_status refuse(mobiedit_error *err, const char *name, const char *why) {
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "\"%.40s\" %s", name, why);
}

/* Refuses what is no object, and members beside `names` (ended by NULL), or that stand there twice. */
static mobiedit_status check_members(const cJSON *json, const char *const *names, mobiedit_error *err) {
    if (!cJSON_IsObject(json)) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the body is no JSON object");
    for (const cJSON *item = json->child; item; item = item->next) {
        const char *const *name = names;
        while (*name && strcmp(*name, item->string) != 0)
            name++;
        if (!*name) return refuse(err, item->string, "is not known here");
        if (cJSON_GetObjectItemCaseSensitive(json, item->string) != item)
            return refuse(err, item->string, "stands there twice");
    }
    return MOBIEDIT_OK;
}

static mobiedit_status read_text(const cJSON *json, const char *name, size_t most, bool required,
                                 const char **out, mobiedit_error *err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!item || cJSON_IsNull(item)) return required ? refuse(err, name, "is missing") : MOBIEDIT_OK;
    if (!cJSON_IsString(item)) return refuse(err, name, "is no string");
    if (strlen(item->valuestring) > most) return refuse(err, name, "is too long");
    *out = item->valuestring;
    return MOBIEDIT_OK;
}

static mobiedit_status read_bool(const cJSON *json, const char *name, bool *out, mobiedit_error *err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (item && !cJSON_IsBool(item)) return refuse(err, name, "is neither true nor false");
    *out = cJSON_IsTrue(item);
    return MOBIEDIT_OK;
}

/* ---- ask ----------------------------------------------------------------------------------------------- */

static mobiedit_status read_message(const cJSON *item, mobiedit_turn *out, mobiedit_error *err) {
    static const char *const members[] = {"role", "content", NULL};
    ME_TRY(check_members(item, members, err));
    ME_TRY(read_text(item, "role", REQUEST_MAX_TEXT, true, &out->role, err));
    return read_text(item, "content", REQUEST_MAX_BODY, true, &out->text, err);
}

static mobiedit_status read_messages(const cJSON *list, ask_request *out, mobiedit_error *err) {
    const int n = cJSON_GetArraySize(list);
    int i = 0;
    if (!cJSON_IsArray(list) || n < 1) return refuse(err, "messages", "is no list of messages");
    if (n > REQUEST_MAX_MESSAGES) return refuse(err, "messages", "has too many messages");
    for (const cJSON *item = list->child; item; item = item->next)
        ME_TRY(read_message(item, &out->turns[i++], err));
    const mobiedit_turn *last = &out->turns[n - 1];
    if (strcmp(last->role, "user") != 0) return refuse(err, "messages", "does not end with the user's");
    out->prompt = last->text;
    out->n_turns = (size_t)n - 1;
    return MOBIEDIT_OK;
}

mobiedit_status request_read_ask(const cJSON *json, ask_request *out, mobiedit_error *err) {
    enum { USUAL_TOKENS = 256 };
    static const char *const members[] = {"messages", "max_tokens", NULL};
    *out = (ask_request){.max_tokens = USUAL_TOKENS};
    ME_TRY(check_members(json, members, err));
    const cJSON *most = cJSON_GetObjectItemCaseSensitive(json, "max_tokens");
    if (most && !(cJSON_IsNumber(most) && most->valuedouble >= 1 && most->valuedouble <= REQUEST_MAX_TOKENS))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "\"max_tokens\" is no number from 1 to %d",
                       REQUEST_MAX_TOKENS);
    if (most) out->max_tokens = (int)most->valuedouble;
    return read_messages(cJSON_GetObjectItemCaseSensitive(json, "messages"), out, err);
}

/* ---- edit ---------------------------------------------------------------------------------------------- */

/* A list that may be missing: prompts [*n]. */
static mobiedit_status read_prompts(const cJSON *json, const char *name, const char **prompts, size_t *n,
                                    mobiedit_error *err) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!list || cJSON_IsNull(list)) return MOBIEDIT_OK;
    if (!cJSON_IsArray(list)) return refuse(err, name, "is no list");
    if (cJSON_GetArraySize(list) > REQUEST_MAX_PROMPTS) return refuse(err, name, "has too many prompts");
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsString(item) || strlen(item->valuestring) > REQUEST_MAX_TEXT)
            return refuse(err, name, "is no list of short texts");
        prompts[(*n)++] = item->valuestring;
    }
    return MOBIEDIT_OK;
}

mobiedit_status request_read_edit(const cJSON *json, edit_request *out, mobiedit_error *err) {
    static const char *const members[] = {"prompt", "target", "question", "also", "keep",
                                          "place",  "force",  "strict",   NULL};
    *out = (edit_request){0};
    ME_TRY(check_members(json, members, err));
    ME_TRY(read_text(json, "prompt", REQUEST_MAX_TEXT, true, &out->prompt, err));
    ME_TRY(read_text(json, "target", REQUEST_MAX_TEXT, true, &out->target, err));
    ME_TRY(read_text(json, "question", REQUEST_MAX_TEXT, false, &out->question, err));
    if (out->question && !*out->question) out->question = NULL;
    ME_TRY(read_text(json, "place", REQUEST_MAX_TEXT, false, &out->place, err));
    ME_TRY(read_bool(json, "force", &out->force, err));
    ME_TRY(read_bool(json, "strict", &out->strict, err));
    ME_TRY(read_prompts(json, "also", out->also, &out->n_also, err));
    return read_prompts(json, "keep", out->keep, &out->n_keep, err);
}

/* ---- the others ---------------------------------------------------------------------------------------- */

mobiedit_status request_read_merge(const cJSON *json, merge_request *out, mobiedit_error *err) {
    static const char *const members[] = {"name", "keep_float", NULL};
    enum { MAX_NAME = 200 };
    *out = (merge_request){0};
    ME_TRY(check_members(json, members, err));
    ME_TRY(read_text(json, "name", MAX_NAME, true, &out->name, err));
    const char *dot = strrchr(out->name, '.');
    if (out->name[0] == '.' || strchr(out->name, '/') || !dot || strcmp(dot, ".gguf") != 0)
        return refuse(err, "name", "is no file name such as merged.gguf");
    for (const char *c = out->name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return refuse(err, "name", "has a control character in it");
    return read_bool(json, "keep_float", &out->keep_float, err);
}

mobiedit_status request_read_propose(const cJSON *json, propose_request *out, mobiedit_error *err) {
    static const char *const members[] = {"text", NULL};
    *out = (propose_request){0};
    ME_TRY(check_members(json, members, err));
    return read_text(json, "text", REQUEST_MAX_TEXT, true, &out->text, err);
}

mobiedit_status request_read_verify(const cJSON *json, verify_request *out, mobiedit_error *err) {
    static const char *const members[] = {"repair", NULL};
    *out = (verify_request){0};
    ME_TRY(check_members(json, members, err));
    return read_bool(json, "repair", &out->repair, err);
}

bool request_read_id(const char *path, const char *before, const char *behind, int64_t *id) {
    char digits[24];
    uint64_t value;
    const size_t n = strlen(path), head = strlen(before), tail = strlen(behind);
    if (n <= head + tail || n - head - tail >= sizeof digits) return false;
    if (strncmp(path, before, head) != 0 || strcmp(path + n - tail, behind) != 0) return false;
    memcpy(digits, path + head, n - head - tail);
    digits[n - head - tail] = '\0';
    if (!value_number(digits, INT64_MAX, &value) || value == 0) return false;
    *id = (int64_t)value;
    return true;
}
