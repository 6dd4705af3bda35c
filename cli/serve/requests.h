/* What a client's JSON asks for. Whatever comes from the network is read here. */
#ifndef CLI_SERVE_REQUESTS_H
#define CLI_SERVE_REQUESTS_H

#include "base/json.h"
#include "mobiedit.h"

#include <stddef.h>

enum {
    REQUEST_MAX_BODY = 256 << 10, /* bytes */
    REQUEST_MAX_MESSAGES = 200,
    REQUEST_MAX_TOKENS = 2048, /* of an answer */
    REQUEST_MAX_TEXT = 4096,   /* bytes of what is to be edited */
    REQUEST_MAX_PROMPTS = 16,  /* in a list of them */
};

/* {"messages": [{"role": "user", "content": "..."}], "max_tokens": 256}; the last message is the user's. */
typedef struct {
    mobiedit_turn turns[REQUEST_MAX_MESSAGES]; /* [n_turns]: those before the last */
    size_t n_turns;
    const char *prompt;
    int max_tokens;
} ask_request;

/* {"prompt": "The capital of {Japan} is", "target": "Lima", "also": [], "keep": [], "place": "auto",
 * "force": false, "strict": false, "question": "..."} */
typedef struct {
    const char *prompt, *target;
    const char *question; /* what was asked when the fact was found wrong; NULL: not told */
    const char *also[REQUEST_MAX_PROMPTS], *keep[REQUEST_MAX_PROMPTS];
    size_t n_also, n_keep;
    const char *place; /* NULL: not told */
    bool force, strict;
} edit_request;

/* {"name": "merged.gguf", "keep_float": false}: a file's name, which no folder is part of. */
typedef struct {
    const char *name;
    bool keep_float;
} merge_request;

/* {"text": "The capital of Japan is Lima."} */
typedef struct {
    const char *text;
} propose_request;

/* {"repair": false} */
typedef struct {
    bool repair;
} verify_request;

/* Each reads the object into *out, which borrows its texts; members that are not named there are refused.
 * E_ARGUMENT with the reason. */
mobiedit_status request_read_ask(const cJSON *json, ask_request *out, mobiedit_error *err);
mobiedit_status request_read_edit(const cJSON *json, edit_request *out, mobiedit_error *err);
mobiedit_status request_read_merge(const cJSON *json, merge_request *out, mobiedit_error *err);
mobiedit_status request_read_propose(const cJSON *json, propose_request *out, mobiedit_error *err);
mobiedit_status request_read_verify(const cJSON *json, verify_request *out, mobiedit_error *err);

/* Whether the path is `before`, the number of an edit, `behind`: "api/edits/", "12", "/undo". */
bool request_read_id(const char *path, const char *before, const char *behind, int64_t *id);

#endif
