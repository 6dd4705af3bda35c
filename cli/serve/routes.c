/* The paths of the HTTP interface, each with what it asks of the desk. */
#include "serve/routes.h"

#include "base/memory.h"
#include "serve/page.h"

#include <stdio.h>
#include <string.h>

static int http_status(mobiedit_status status) {
    switch (status) {
    case MOBIEDIT_E_ARGUMENT:
    case MOBIEDIT_E_UNSUPPORTED:
        return 400;
    case MOBIEDIT_E_MEMORY:
    case MOBIEDIT_E_CANCELLED:
        return 503;
    default:
        return 500;
    }
}

static void send_failure(http_request *r, const mobiedit_error *err) {
    http_send_error(r, http_status(err->status), mobiedit_status_name(err->status), err->message);
}

/* ---- what is told -------------------------------------------------------------------------------------- */

static void get_state(desk *d, http_request *r) {
    mobiedit_error err = {.status = MOBIEDIT_E_MEMORY, .message = "out of memory"};
    cJSON *state = desk_state(d, &err);
    if (state)
        http_send_json(r, 200, state);
    else
        send_failure(r, &err);
}

static void get_job(desk *d, http_request *r) {
    http_send_json(r, 200, desk_job(d));
}

static void get_adapter(desk *d, http_request *r) {
    char name[256];
    const int fd = desk_adapter(d);
    if (fd < 0) {
        http_send_error(r, 409, "argument", "no edit is active: there is no adapter");
        return;
    }
    (void)snprintf(name, sizeof name, "%.200s-edits.gguf", desk_name(d));
    for (char *c = name; *c; c++) /* in a header */
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~' || *c == '"' || *c == '\\') *c = '_';
    http_send_file(r, name, fd);
}

/* ---- the chat ------------------------------------------------------------------------------------------ */

typedef struct {
    http_request *r;
    bool begun;
} answer;

/* The head is sent with the first words: what is refused before has a status of its own. */
static bool send_piece(void *user, const char *piece) {
    answer *a = user;
    cJSON *line = cJSON_CreateObject();
    if (!a->begun) http_begin_lines(a->r);
    a->begun = true;
    me_json_add_text(line, "text", piece);
    return http_send_line(a->r, line);
}

static void end_answer(answer *a, mobiedit_status status, const mobiedit_error *err) {
    cJSON *line = cJSON_CreateObject();
    if (!a->begun && status != MOBIEDIT_OK) {
        cJSON_Delete(line);
        send_failure(a->r, err);
        return;
    }
    if (!a->begun) http_begin_lines(a->r);
    (void)cJSON_AddBoolToObject(line, "done", status == MOBIEDIT_OK);
    if (status != MOBIEDIT_OK) me_json_add_text(line, "error", err->message);
    (void)http_send_line(a->r, line);
    http_end_lines(a->r);
}

static void post_chat(desk *d, http_request *r) {
    cJSON *body = http_body(r);
    if (!body) return;
    ask_request ask;
    answer a = {.r = r};
    mobiedit_error err = {0};
    mobiedit_status status = request_read_ask(body, &ask, &err);
    if (status == MOBIEDIT_OK) status = desk_ask(d, &ask, send_piece, &a, &err);
    end_answer(&a, status, &err);
    cJSON_Delete(body);
}

/* ---- proposals ----------------------------------------------------------------------------------------- */

static void add_part(cJSON *object, const char *name, const char *text, size_t from, size_t to) {
    char *part = me_strndup(text + from, to - from);
    me_json_add_text(object, name, part);
    me_free(part);
}

/* The sentence in five parts: whatever a client counts in, they fit together. */
static cJSON *proposal_json(const char *text, const mobiedit_proposal *p) {
    cJSON *object = cJSON_CreateObject();
    add_part(object, "before", text, 0, p->subject_begin);
    add_part(object, "subject", text, p->subject_begin, p->subject_end);
    add_part(object, "between", text, p->subject_end, p->target_begin);
    add_part(object, "target", text, p->target_begin, p->target_end);
    add_part(object, "after", text, p->target_end, strlen(text));
    return object;
}

static void post_propose(desk *d, http_request *r) {
    cJSON *body = http_body(r);
    if (!body) return;
    propose_request propose;
    mobiedit_proposal proposal;
    mobiedit_error err = {0};
    mobiedit_status status = request_read_propose(body, &propose, &err);
    if (status == MOBIEDIT_OK) status = desk_propose(d, &propose, &proposal, &err);
    if (status == MOBIEDIT_OK)
        http_send_json(r, 200, proposal_json(propose.text, &proposal));
    else
        send_failure(r, &err);
    cJSON_Delete(body);
}

/* ---- changes ------------------------------------------------------------------------------------------- */

static void start(desk *d, http_request *r, job_kind kind, int64_t id) {
    cJSON *body = http_body(r);
    mobiedit_error err = {0};
    if (!body) return;
    switch (desk_start(d, kind, body, id, &err)) {
    case DESK_STARTED:
        http_send_json(r, 202, desk_job(d));
        break;
    case DESK_BUSY:
        http_send_error(r, 409, "busy", err.message);
        break;
    default:
        send_failure(r, &err);
    }
}

static void post_edits(desk *d, http_request *r) {
    start(d, r, JOB_EDIT, 0);
}

static void post_verify(desk *d, http_request *r) {
    start(d, r, JOB_VERIFY, 0);
}

static void post_merge(desk *d, http_request *r) {
    start(d, r, JOB_MERGE, 0);
}

static void post_cancel(desk *d, http_request *r) {
    cJSON *body = http_body(r);
    if (!body) return;
    cJSON_Delete(body);
    desk_cancel(d);
    http_send_json(r, 202, desk_job(d));
}

static void post_forget(desk *d, http_request *r) {
    cJSON *body = http_body(r);
    if (!body) return;
    cJSON_Delete(body);
    desk_forget_unfinished(d);
    get_state(d, r);
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static const struct {
    const char *method, *path;
    void (*answer)(desk *d, http_request *r);
} routes[] = {
    {"GET", "api/state", get_state},     {"GET", "api/job", get_job},
    {"GET", "api/adapter", get_adapter}, {"POST", "api/chat", post_chat},
    {"POST", "api/edits", post_edits},   {"POST", "api/verify", post_verify},
    {"POST", "api/merge", post_merge},   {"POST", "api/job/cancel", post_cancel},
    {"POST", "api/forget", post_forget}, {"POST", "api/propose", post_propose},
};

static bool is_get(const char *method) {
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static bool send_page(http_request *r) {
    for (const page_file *file = page_files; file->path; file++) {
        if (strcmp(http_path(r), file->path) != 0) continue;
        if (is_get(http_method(r)))
            http_send(r, 200, file->type, file->bytes, file->n);
        else
            http_send_error(r, 405, "argument", "this path is only read");
        return true;
    }
    return false;
}

/* "api/edits/12/undo" and ".../redo" */
static bool change_edit(desk *d, http_request *r) {
    int64_t id;
    const bool undo = request_read_id(http_path(r), "api/edits/", "/undo", &id);
    if (!undo && !request_read_id(http_path(r), "api/edits/", "/redo", &id)) return false;
    if (strcmp(http_method(r), "POST") == 0)
        start(d, r, undo ? JOB_UNDO : JOB_REDO, id);
    else
        http_send_error(r, 405, "argument", "this path takes POST");
    return true;
}

void route_request(desk *d, http_request *r) {
    bool known = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (strcmp(http_path(r), routes[i].path) != 0) continue;
        known = true;
        if (strcmp(http_method(r), routes[i].method) != 0) continue;
        routes[i].answer(d, r);
        return;
    }
    if (known)
        http_send_error(r, 405, "argument", "this path does not take that method");
    else if (!send_page(r) && !change_edit(d, r))
        http_send_error(r, 404, "argument", "there is no such path");
}
