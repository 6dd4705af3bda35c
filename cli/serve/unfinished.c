/* Keeps the request of the edit that is being made in a file beside the ledger. */
#include "serve/unfinished.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/pending.h"
#include "serve/requests.h"

#include <string.h>
#include <unistd.h>

char *unfinished_path(const char *ledger) {
    return me_strjoin(ledger, ".unfinished");
}

static mobiedit_status write_text(const char *path, const char *text, mobiedit_error *err) {
    me_pending_file file = {0};
    mobiedit_status status = me_pending_open_private(path, &file, err);
    if (status == MOBIEDIT_OK) status = me_pending_add(&file, text, strlen(text), err);
    if (status == MOBIEDIT_OK) status = me_pending_finish(&file, err);
    if (status == MOBIEDIT_OK) return me_pending_commit(&file, err);
    me_pending_discard(&file);
    return status;
}

mobiedit_status unfinished_write(const char *path, const cJSON *request, mobiedit_error *err) {
    char *text = cJSON_PrintUnformatted(request);
    if (!text) return me_fail_memory(err, "the request");
    const mobiedit_status status = write_text(path, text, err);
    cJSON_free(text);
    return status;
}

void unfinished_remove(const char *path) {
    (void)unlink(path);
}

cJSON *unfinished_read(const char *path) {
    char *bytes = NULL;
    size_t n;
    cJSON *json = NULL;
    edit_request edit;
    if (me_read_file(path, REQUEST_MAX_BODY, &bytes, &n, NULL) != MOBIEDIT_OK) return NULL;
    if (me_json_parse(bytes, n, path, &json, NULL) == MOBIEDIT_OK &&
        request_read_edit(json, &edit, NULL) != MOBIEDIT_OK) {
        cJSON_Delete(json);
        json = NULL;
    }
    me_free(bytes);
    return json;
}
