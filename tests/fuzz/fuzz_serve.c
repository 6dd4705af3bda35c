/* Fuzzes what `mobiedit serve` reads of a client: any bytes as a body are refused, or give a request within its
 * limits; any path names an edit by a number above 0, or none. */
#include "serve/requests.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds) {
    if (!holds) abort();
}

static void read_ask(const cJSON *json) {
    ask_request ask;
    if (request_read_ask(json, &ask, NULL) != MOBIEDIT_OK) return;
    expect(ask.prompt && ask.n_turns < REQUEST_MAX_MESSAGES);
    expect(ask.max_tokens >= 1 && ask.max_tokens <= REQUEST_MAX_TOKENS);
    for (size_t i = 0; i < ask.n_turns; i++)
        expect(ask.turns[i].role && ask.turns[i].text);
}

static void read_edit(const cJSON *json) {
    edit_request edit;
    if (request_read_edit(json, &edit, NULL) != MOBIEDIT_OK) return;
    expect(edit.prompt && edit.target);
    expect(edit.n_keep <= REQUEST_MAX_PROMPTS && edit.n_also <= REQUEST_MAX_PROMPTS);
    expect(strlen(edit.prompt) <= REQUEST_MAX_TEXT && strlen(edit.target) <= REQUEST_MAX_TEXT);
    for (size_t i = 0; i < edit.n_keep; i++)
        expect(edit.keep[i] && strlen(edit.keep[i]) <= REQUEST_MAX_TEXT);
    for (size_t i = 0; i < edit.n_also; i++)
        expect(edit.also[i] && strlen(edit.also[i]) <= REQUEST_MAX_TEXT);
}

static void read_others(const cJSON *json) {
    merge_request merge;
    propose_request propose;
    verify_request verify;
    if (request_read_merge(json, &merge, NULL) == MOBIEDIT_OK)
        expect(!strchr(merge.name, '/') && merge.name[0] != '.' && merge.name[0]);
    if (request_read_propose(json, &propose, NULL) == MOBIEDIT_OK) expect(propose.text != NULL);
    (void)request_read_verify(json, &verify, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t id = 0;
    cJSON *json = NULL;
    char *path = calloc(size + 1, 1);
    if (!path) return 0;
    if (size > 0) memcpy(path, data, size);
    if (request_read_id(path, "api/edits/", "/undo", &id)) expect(id > 0);
    free(path);
    if (me_json_parse((const char *)data, size, "the body", &json, NULL) != MOBIEDIT_OK) return 0;
    read_ask(json);
    read_edit(json);
    read_others(json);
    cJSON_Delete(json);
    return 0;
}
