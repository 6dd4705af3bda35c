/* Keeps an evaluation's state in a file, a finished case a line, and goes on from it. */
#define _GNU_SOURCE
#include "eval/state.h"

#include "base/file.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE ((size_t)1 << 30)
static const char FORMAT[] = "mobiedit_eval_state";
enum { VERSION = 1 };

struct me_state {
    char *path;
    int fd;
    me_cases cases;
    size_t *indices; /* [capacity] fact of each case */
    size_t capacity;
};

static mobiedit_status fail_io(const char *what, const char *path, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static mobiedit_status damaged(const me_state *state, size_t line, const char *what, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s: line %zu %s", state->path, line, what);
}

/* ---- writing ----------------------------------------------------------------------------------------- */

/* One write of the whole line, so that a kill leaves at most its beginning. */
static mobiedit_status append(const me_state *state, const cJSON *object, mobiedit_error *err) {
    char *text = cJSON_PrintUnformatted(object);
    const size_t length = text ? strlen(text) : 0;
    char *line = text ? me_calloc(length + 2, 1) : NULL;
    if (line) (void)snprintf(line, length + 2, "%s\n", text);
    cJSON_free(text);
    if (!line) return me_fail_memory(err, "the state");
    const bool written = me_write_all(state->fd, line, length + 1) && fsync(state->fd) == 0;
    me_free(line);
    return written ? MOBIEDIT_OK : fail_io("write", state->path, err);
}

static mobiedit_status begin(const me_state *state, const cJSON *settings, mobiedit_error *err) {
    cJSON *object = cJSON_CreateObject(), *copy = cJSON_Duplicate(settings, true);
    (void)cJSON_AddNumberToObject(object, FORMAT, VERSION);
    const bool whole = copy && cJSON_AddItemToObject(object, "settings", copy);
    if (!whole) cJSON_Delete(copy);
    const mobiedit_status status = whole ? append(state, object, err) : me_fail_memory(err, "the state");
    cJSON_Delete(object);
    return status;
}

static mobiedit_status keep_index(me_state *state, size_t index, mobiedit_error *err) {
    const size_t n = state->cases.n;
    if (!me_grow(&state->indices, &state->capacity, n, sizeof *state->indices))
        return me_fail_memory(err, "the state");
    state->indices[n - 1] = index;
    return MOBIEDIT_OK;
}

mobiedit_status me_state_add(me_state *state, size_t index, const mobiedit_eval_case *done,
                             mobiedit_error *err) {
    cJSON *object = me_case_to_json(done);
    me_json_add_count(object, "index", index);
    const mobiedit_status status = object ? append(state, object, err) : me_fail_memory(err, "the state");
    cJSON_Delete(object);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

/* A setting as people read it. */
static void print_value(const cJSON *item, char text[64]) {
    if (cJSON_IsString(item))
        (void)snprintf(text, 64, "%s", item->valuestring);
    else if (cJSON_IsNumber(item))
        (void)snprintf(text, 64, "%.17g", item->valuedouble);
    else
        (void)snprintf(text, 64, "%s", cJSON_IsTrue(item) ? "on" : cJSON_IsFalse(item) ? "off" : "none");
}

static mobiedit_status check_settings(const me_state *state, const cJSON *object, const cJSON *settings,
                                      mobiedit_error *err) {
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(object, FORMAT), *setting;
    const cJSON *kept = cJSON_GetObjectItemCaseSensitive(object, "settings");
    if (!cJSON_IsNumber(version) || !cJSON_IsObject(kept))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not the state of an evaluation", state->path);
    if (version->valuedouble != VERSION)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s is of another version of mobiedit", state->path);
    cJSON_ArrayForEach(setting, settings) {
        char was[64], is[64];
        const cJSON *before = cJSON_GetObjectItemCaseSensitive(kept, setting->string);
        if (before && cJSON_Compare(before, setting, true)) continue;
        print_value(before, was);
        print_value(setting, is);
        return me_fail(err, MOBIEDIT_E_MISMATCH, "%s was begun with other settings: %s was %s and is %s",
                       state->path, setting->string, was, is);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status read_case(me_state *state, const cJSON *object, size_t line, mobiedit_error *err) {
    char where[512];
    (void)snprintf(where, sizeof where, "%.400s: line %zu", state->path, line);
    const cJSON *index = cJSON_GetObjectItemCaseSensitive(object, "index");
    const double value = cJSON_IsNumber(index) ? index->valuedouble : -1;
    if (!(value >= 0 && value < 0x1p53) || value != floor(value))
        return damaged(state, line, "has no index", err);
    ME_TRY(me_cases_add_json(&state->cases, object, where, err));
    return keep_index(state, (size_t)value, err);
}

static mobiedit_status read_line(me_state *state, const char *text, size_t length, size_t line,
                                 const cJSON *settings, mobiedit_error *err) {
    cJSON *object = cJSON_ParseWithLength(text, length);
    if (!object) return damaged(state, line, "is not JSON", err);
    const mobiedit_status status =
        line == 1 ? check_settings(state, object, settings, err) : read_case(state, object, line, err);
    cJSON_Delete(object);
    return status;
}

/* *used: bytes of whole lines. */
static mobiedit_status read_lines(me_state *state, const char *text, size_t length, const cJSON *settings,
                                  size_t *used, mobiedit_error *err) {
    const char *at = text, *end = text + length;
    for (size_t line = 1; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline) break;
        ME_TRY(read_line(state, at, (size_t)(newline - at), line, settings, err));
        at = newline + 1;
    }
    *used = (size_t)(at - text);
    return MOBIEDIT_OK;
}

/* A file that holds not even a whole first line is begun anew, if its bytes can be those of a first line. */
static mobiedit_status go_on(me_state *state, const char *text, size_t length, const cJSON *settings,
                             mobiedit_error *err) {
    static const char head[] = "{\"mobiedit_eval_state\":";
    const size_t n_head = length < sizeof head - 1 ? length : sizeof head - 1;
    size_t used = 0;
    if (memcmp(text, head, n_head) != 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not the state of an evaluation", state->path);
    ME_TRY(read_lines(state, text, length, settings, &used, err));
    if (ftruncate(state->fd, (off_t)used) != 0 || lseek(state->fd, 0, SEEK_END) < 0)
        return fail_io("write", state->path, err);
    return used ? MOBIEDIT_OK : begin(state, settings, err);
}

/* ---- opening ----------------------------------------------------------------------------------------- */

static mobiedit_status open_locked(me_state *state, mobiedit_error *err) {
    struct stat info;
    state->fd = open(state->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (state->fd < 0 || fstat(state->fd, &info) != 0) return fail_io("open", state->path, err);
    if (!S_ISREG(info.st_mode)) return me_fail(err, MOBIEDIT_E_IO, "%s is not a regular file", state->path);
    if (!me_lock(state->fd, 0))
        return me_fail(err, MOBIEDIT_E_IO, "%s is in use by another evaluation", state->path);
    return MOBIEDIT_OK;
}

mobiedit_status me_state_open(const char *path, const cJSON *settings, me_state **out, mobiedit_error *err) {
    me_state *state = me_calloc(1, sizeof *state);
    if (!state) return me_fail_memory(err, "the state");
    state->fd = -1;
    state->path = me_strdup(path);
    char *text = NULL;
    size_t length = 0;
    mobiedit_status status = state->path ? open_locked(state, err) : me_fail_memory(err, "the state");
    if (status == MOBIEDIT_OK) status = me_read_file(path, MAX_FILE, &text, &length, err);
    if (status == MOBIEDIT_OK) status = go_on(state, text, length, settings, err);
    me_free(text);
    if (status == MOBIEDIT_OK)
        *out = state;
    else
        me_state_close(state);
    return status;
}

void me_state_close(me_state *state) {
    if (!state) return;
    if (state->fd >= 0) (void)close(state->fd);
    me_cases_free(&state->cases);
    me_free(state->indices);
    me_free(state->path);
    me_free(state);
}

const mobiedit_eval_case *me_state_find(const me_state *state, size_t index) {
    for (size_t i = 0; i < state->cases.n; i++)
        if (state->indices[i] == index) return &state->cases.items[i];
    return NULL;
}
