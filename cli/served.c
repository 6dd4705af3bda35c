/* Reads what a llama-server answers: its adapters, its slots, its models. */
#define _XOPEN_SOURCE 700
#include "server.h"

#include <cJSON.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ADAPTERS = 4096, MAX_SLOTS = 4096 };

static const char *text_of(const cJSON *object, const char *name) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

void served_free(served_adapters *adapters) {
    for (size_t i = 0; i < adapters->n; i++)
        free(adapters->items[i].path);
    free(adapters->items);
    *adapters = (served_adapters){0};
}

static bool parse_adapter(const cJSON *item, served_adapter *out) {
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
    const cJSON *path = cJSON_GetObjectItemCaseSensitive(item, "path");
    const cJSON *scale = cJSON_GetObjectItemCaseSensitive(item, "scale");
    if (!cJSON_IsNumber(id) || !(id->valuedouble >= 0 && id->valuedouble <= INT_MAX) ||
        id->valuedouble != floor(id->valuedouble))
        return false;
    if (!cJSON_IsString(path) || !cJSON_IsNumber(scale) || !isfinite(scale->valuedouble)) return false;
    *out = (served_adapter){
        .id = (int)id->valuedouble, .path = strdup(path->valuestring), .scale = scale->valuedouble};
    return out->path != NULL;
}

bool served_parse(const char *text, size_t n, served_adapters *out) {
    *out = (served_adapters){0};
    cJSON *list = cJSON_ParseWithLength(text, n);
    const int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
    bool ok = count >= 0 && count <= MAX_ADAPTERS;
    if (ok) out->items = calloc((size_t)count + 1, sizeof *out->items);
    ok = ok && out->items;
    const cJSON *item = ok ? list->child : NULL;
    for (; ok && item; item = item->next) {
        ok = parse_adapter(item, &out->items[out->n]);
        out->n += ok;
    }
    cJSON_Delete(list);
    if (!ok) served_free(out);
    return ok;
}

int served_slots(const char *text, size_t n) {
    cJSON *props = cJSON_ParseWithLength(text, n);
    const cJSON *slots = cJSON_GetObjectItemCaseSensitive(props, "total_slots");
    const double count = cJSON_IsNumber(slots) ? slots->valuedouble : -1;
    cJSON_Delete(props);
    return count >= 1 && count <= MAX_SLOTS && count == floor(count) ? (int)count : -1;
}

/* The value of the line "lora = ..." of an INI text; NULL where there is none, or out of memory (*ok is then
 * unset). */
static char *find_lora(const char *ini, bool *ok) {
    static const char key[] = "lora = ";
    for (const char *line = ini; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        line += strlen(key);
        char *value = strndup(line, strcspn(line, "\n"));
        *ok = value != NULL;
        return value;
    }
    return NULL;
}

/* Whether the entry is one of a router's list; the model's fills *out. */
static bool parse_model(const cJSON *item, const char *name, served_model *out) {
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(item, "status");
    const char *id = text_of(item, "id"), *value = text_of(status, "value"), *ini = text_of(status, "preset");
    bool ok = id && value;
    if (!ok || strcmp(id, name) != 0 || out->listed) return ok;
    out->listed = true;
    out->running =
        strcmp(value, "loaded") == 0 || strcmp(value, "loading") == 0 || strcmp(value, "sleeping") == 0;
    out->tells = ini != NULL;
    if (ini) out->lora = find_lora(ini, &ok);
    return ok;
}

bool served_model_parse(const char *text, size_t n, const char *name, served_model *out) {
    *out = (served_model){0};
    cJSON *answer = cJSON_ParseWithLength(text, n);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(answer, "data");
    bool ok = cJSON_IsArray(list);
    for (const cJSON *item = ok ? list->child : NULL; ok && item; item = item->next)
        ok = parse_model(item, name, out);
    cJSON_Delete(answer);
    if (!ok) served_model_free(out);
    return ok;
}

void served_model_free(served_model *model) {
    free(model->lora);
    *model = (served_model){0};
}

bool served_is(const char *path, const char *file) {
    if (strcmp(path, file) == 0) return true;
    if (strncmp(path, "./", 2) == 0) path += 2;
    char *whole = realpath(file, NULL);
    if (!whole || !*path) {
        free(whole);
        return false;
    }
    const size_t n = strlen(path), n_whole = strlen(whole);
    const bool ends = n_whole > n && strcmp(whole + n_whole - n, path) == 0 && whole[n_whole - n - 1] == '/';
    const bool same = strcmp(whole, path) == 0 || (*path != '/' && ends);
    free(whole);
    return same;
}
