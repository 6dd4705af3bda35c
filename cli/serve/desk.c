/* What `mobiedit serve` works at: a chat that stays loaded, the ledger, and one job at a time. */
#define _GNU_SOURCE
#include "serve/desk.h"

#include "base/file.h"
#include "base/memory.h"
#include "records.h"
#include "serve/adapter.h"
#include "serve/lane.h"
#include "serve/unfinished.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONTEXT = 4096, MAX_WAITING = 4 };

typedef enum { STATE_RUNNING, STATE_DONE, STATE_FAILED } job_state;

/* The one that is under way, or the last one. */
typedef struct {
    int64_t number; /* from 1; 0: there was none */
    job_kind kind;
    job_state state;
    cJSON *json; /* the request; the readings below borrow its texts */
    edit_request edit;
    merge_request merge;
    verify_request verify;
    int64_t id; /* of an edit to undo or to redo */
    bool told, checking, cancelled;
    mobiedit_progress progress; /* where `told` */
    cJSON *result, *checks;     /* NULL: none yet */
    mobiedit_error error;       /* where it failed */
} job;

struct desk {
    const options *o;
    char *folder, *name; /* of the model's file */
    char *unfinished_file;
    /* Of the lane `work`. */
    mobiedit_model *model;
    mobiedit_ledger *ledger;
    lane *work;
    /* Of the lane `talk`. */
    mobiedit_chat *chat;
    lane *talk;
    bool has_template;
    /* The same file and ledger once more, for who reads them meanwhile. */
    pthread_mutex_t reading;
    mobiedit_model *read_model;
    mobiedit_ledger *read_ledger;
    /* Everything below. */
    pthread_mutex_t lock;
    job job;
    adapter attached;
    cJSON *unfinished; /* an edit that an earlier run did not finish; NULL: none */
    bool stopping;
};

static void hold(desk *d) {
    (void)pthread_mutex_lock(&d->lock);
}

static void let_go(desk *d) {
    (void)pthread_mutex_unlock(&d->lock);
}

static bool is_stopping(desk *d) {
    hold(d);
    const bool stopping = d->stopping;
    let_go(d);
    return stopping;
}

/* ---- the chat's lane ----------------------------------------------------------------------------------- */

typedef struct {
    desk *d;
    const ask_request *ask;
    bool (*on_text)(void *user, const char *piece);
    void *user;
    const char *path; /* to attach */
    const char *text; /* to propose for */
    mobiedit_proposal *proposal;
    const mobiedit_request *request;
    const mobiedit_check_options *check;
    mobiedit_status status;
    mobiedit_error *err;
} talk_call;

static bool pass_text(void *user, const char *piece) {
    const talk_call *call = user;
    return call->on_text(call->user, piece) && !is_stopping(call->d);
}

static void talk_ask(void *user) {
    talk_call *call = user;
    const ask_request *ask = call->ask;
    const mobiedit_ask_options how = {.chat = call->d->has_template,
                                      .max_tokens = ask->max_tokens,
                                      .on_text = pass_text,
                                      .user = call,
                                      .turns = call->d->has_template ? ask->turns : NULL,
                                      .n_turns = call->d->has_template ? ask->n_turns : 0};
    char *text = NULL;
    call->status = is_stopping(call->d)
                       ? me_fail(call->err, MOBIEDIT_E_CANCELLED, "the program is being closed")
                       : mobiedit_chat_ask(call->d->chat, ask->prompt, &how, &text, call->err);
    mobiedit_free(text);
}

mobiedit_status desk_ask(desk *d, const ask_request *ask, bool (*on_text)(void *user, const char *piece),
                         void *user, mobiedit_error *err) {
    talk_call call = {.d = d, .ask = ask, .on_text = on_text, .user = user, .err = err};
    if (!lane_run(d->talk, MAX_WAITING, talk_ask, &call))
        return me_fail(err, MOBIEDIT_E_MEMORY, "too many questions wait for the model");
    return call.status;
}

static void talk_propose(void *user) {
    talk_call *call = user;
    call->status = mobiedit_propose(call->d->chat, call->text, call->proposal, call->err);
}

mobiedit_status desk_propose(desk *d, const propose_request *propose, mobiedit_proposal *out,
                             mobiedit_error *err) {
    talk_call call = {.d = d, .text = propose->text, .proposal = out, .err = err};
    if (!lane_run(d->talk, MAX_WAITING, talk_propose, &call))
        return me_fail(err, MOBIEDIT_E_MEMORY, "too many questions wait for the model");
    return call.status;
}

static void talk_attach(void *user) {
    talk_call *call = user;
    call->status = mobiedit_chat_attach(call->d->chat, call->path, call->err);
}

static void talk_check(void *user) {
    talk_call *call = user;
    call->status = mobiedit_chat_check(call->d->chat, call->request, call->check, call->err);
}

/* ---- the adapter --------------------------------------------------------------------------------------- */

/* What the chat has attached from now on; takes it over. */
static void put_adapter(desk *d, adapter *a) {
    hold(d);
    adapter old = d->attached;
    d->attached = *a;
    let_go(d);
    *a = (adapter){.fd = -1};
    adapter_close(&old);
}

/* On the lane `work`. */
static mobiedit_status attach_edits(desk *d, mobiedit_error *err) {
    adapter made = {.fd = -1};
    ME_TRY(adapter_export(d->ledger, &made, err));
    talk_call call = {.d = d, .path = adapter_path(&made), .err = err};
    (void)lane_run(d->talk, INT_MAX, talk_attach, &call);
    if (call.status == MOBIEDIT_OK)
        put_adapter(d, &made);
    else
        adapter_close(&made);
    return call.status;
}

int desk_adapter(desk *d) {
    hold(d);
    /* A description of its own: nobody else moves its place in the file. */
    const int fd = d->attached.fd >= 0 ? open(d->attached.path, O_RDONLY | O_CLOEXEC) : -1;
    let_go(d);
    return fd;
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static bool on_progress(void *user, const mobiedit_progress *now) {
    desk *d = user;
    hold(d);
    d->job.progress = *now;
    d->job.told = true;
    const bool go_on = !d->job.cancelled && !d->stopping;
    let_go(d);
    return go_on;
}

static void put_result(desk *d, cJSON *result) {
    hold(d);
    cJSON_Delete(d->job.result);
    d->job.result = result;
    let_go(d);
}

static const char *said_name(mobiedit_said_kind kind) {
    switch (kind) {
    case MOBIEDIT_SAID_PROMPT:
        return "prompt";
    case MOBIEDIT_SAID_PARAPHRASE:
        return "paraphrase";
    case MOBIEDIT_SAID_CHAT:
        return "chat";
    case MOBIEDIT_SAID_NEIGHBOUR:
        return "neighbour";
    case MOBIEDIT_SAID_TELL:
        return "tell";
    default:
        return "same_subject";
    }
}

static bool add_check(void *user, const mobiedit_said *said) {
    desk *d = user;
    cJSON *item = cJSON_CreateObject();
    me_json_add_text(item, "kind", said_name(said->kind));
    me_json_add_text(item, "prompt", said->prompt);
    me_json_add_text(item, "before", said->before);
    me_json_add_text(item, "after", said->after);
    (void)cJSON_AddBoolToObject(item, "held", said->held);
    hold(d);
    if (!d->job.checks) d->job.checks = cJSON_CreateArray();
    if (!cJSON_AddItemToArray(d->job.checks, item)) cJSON_Delete(item);
    let_go(d);
    return true;
}

/* What was asked before the edit was written: `strict` goes by it. */
static void add_others(desk *d, const mobiedit_asides *asides) {
    for (size_t i = 0; i < asides->n_others; i++) {
        const mobiedit_other *other = &asides->others[i];
        const mobiedit_said said = {.kind = MOBIEDIT_SAID_SAME_SUBJECT,
                                    .prompt = other->prompt,
                                    .before = other->before,
                                    .after = other->after,
                                    .held = other->unchanged};
        (void)add_check(d, &said);
    }
}

/* What the model says without and with the edit; the one with it is attached then. */
static mobiedit_status check_edit(desk *d, const mobiedit_request *request, mobiedit_error *err) {
    adapter after = {.fd = -1};
    ME_TRY(adapter_export(d->ledger, &after, err));
    hold(d);
    d->job.checking = true;
    let_go(d);
    /* Only this lane replaces what is attached. */
    const mobiedit_check_options how = {.before = adapter_path(&d->attached),
                                        .after = adapter_path(&after),
                                        .questions = &d->job.edit.question,
                                        .n_questions = d->job.edit.question ? 1 : 0,
                                        .on_said = add_check,
                                        .user = d};
    talk_call call = {.d = d, .request = request, .check = &how, .path = adapter_path(&after), .err = err};
    (void)lane_run(d->talk, INT_MAX, talk_check, &call);
    if (call.status != MOBIEDIT_OK) (void)lane_run(d->talk, INT_MAX, talk_attach, &call);
    if (call.status == MOBIEDIT_OK)
        put_adapter(d, &after);
    else
        adapter_close(&after);
    return call.status;
}

static cJSON *edit_json(const mobiedit_edit_result *result, const mobiedit_change *change) {
    cJSON *object = cJSON_CreateObject();
    change_add_json(object, change);
    me_json_add_text(object, "stop", mobiedit_stop_name(result->solve.stop));
    me_json_add_number(object, "layer", result->solve.layer);
    search_add_json(object, &result->solve);
    me_json_add_text(object, "before", result->before);
    me_json_add_text(object, "after", result->after);
    asides_add_json(object, &result->asides);
    warnings_add_json(object, result->high_loss, result->known_as);
    return object;
}

static mobiedit_status run_edit(desk *d, mobiedit_error *err) {
    const edit_request *edit = &d->job.edit;
    const mobiedit_request request = {.prompt = edit->prompt,
                                      .target = edit->target,
                                      .keep = edit->keep,
                                      .n_keep = edit->n_keep,
                                      .also = edit->also,
                                      .n_also = edit->n_also};
    mobiedit_edit_options how = options_edit(d->o, on_progress, d);
    mobiedit_edit_result result = {0};
    mobiedit_change change = {0};
    if (edit->place) how.place = edit->place;
    how.force |= edit->force;
    how.strict |= edit->strict;
    mobiedit_status status = mobiedit_ledger_edit(d->ledger, &request, &how, NULL, &result, &change, err);
    if (status == MOBIEDIT_OK) put_result(d, edit_json(&result, &change));
    add_others(d, &result.asides);
    mobiedit_edit_result_free(&result);
    /* What the end of the program cuts off is offered when it is started again. */
    if (status != MOBIEDIT_E_CANCELLED || !is_stopping(d)) unfinished_remove(d->unfinished_file);
    return status == MOBIEDIT_OK ? check_edit(d, &request, err) : status;
}

typedef mobiedit_status (*step_fn)(mobiedit_ledger *ledger, int64_t id, mobiedit_change *change,
                                   mobiedit_error *err);

static mobiedit_status run_step(desk *d, step_fn step, mobiedit_error *err) {
    mobiedit_change change = {0};
    ME_TRY(step(d->ledger, d->job.id, &change, err));
    cJSON *object = cJSON_CreateObject();
    change_add_json(object, &change);
    put_result(d, object);
    return attach_edits(d, err);
}

static mobiedit_status run_verify(desk *d, mobiedit_error *err) {
    const mobiedit_verify_options how = {.repair = d->job.verify.repair,
                                         .edit = options_edit(d->o, on_progress, d)};
    mobiedit_verify_summary summary = {0};
    ME_TRY(mobiedit_ledger_verify(d->ledger, &how, &summary, err));
    cJSON *object = cJSON_CreateObject();
    together_add_json(object, &summary);
    put_result(d, object);
    return attach_edits(d, err);
}

static mobiedit_status run_merge(desk *d, mobiedit_error *err) {
    const mobiedit_merge_options how = {
        .keep_float = d->job.merge.keep_float, .on_progress = on_progress, .user = d};
    mobiedit_merge_result result = {0};
    char *path = me_strjoin(d->folder, d->job.merge.name);
    if (!path) return me_fail_memory(err, "a path");
    mobiedit_status status =
        access(path, F_OK) == 0
            ? me_fail(err, MOBIEDIT_E_ARGUMENT, "there is a file %s already: choose another name",
                      d->job.merge.name)
            : mobiedit_ledger_merge(d->ledger, &how, path, &result, err);
    if (status == MOBIEDIT_OK) {
        cJSON *object = cJSON_CreateObject();
        me_json_add_text(object, "path", path);
        me_json_add_number(object, "tensors", result.tensors);
        me_json_add_text(object, "type", result.type);
        me_json_add_count(object, "facts", result.facts);
        me_json_add_count(object, "held", result.held);
        me_json_add_count(object, "kept", result.kept);
        put_result(d, object);
    }
    me_free(path);
    return status;
}

static mobiedit_status run_kind(desk *d, mobiedit_error *err) {
    switch (d->job.kind) {
    case JOB_ATTACH:
        return attach_edits(d, err);
    case JOB_EDIT:
        return run_edit(d, err);
    case JOB_UNDO:
        return run_step(d, mobiedit_ledger_undo, err);
    case JOB_REDO:
        return run_step(d, mobiedit_ledger_redo, err);
    case JOB_VERIFY:
        return run_verify(d, err);
    case JOB_MERGE:
        return run_merge(d, err);
    }
    return MOBIEDIT_OK;
}

static void end_job(desk *d, const mobiedit_error *err) {
    hold(d);
    d->job.error = *err;
    d->job.state = err->status == MOBIEDIT_OK ? STATE_DONE : STATE_FAILED;
    let_go(d);
}

static void run_job(void *user) {
    desk *d = user;
    mobiedit_error err = {0};
    err.status = run_kind(d, &err);
    end_job(d, &err);
}

/* Reads the job's request from its JSON. */
static mobiedit_status read_job(job *j, mobiedit_error *err) {
    switch (j->kind) {
    case JOB_EDIT:
        return request_read_edit(j->json, &j->edit, err);
    case JOB_VERIFY:
        return request_read_verify(j->json, &j->verify, err);
    case JOB_MERGE:
        return request_read_merge(j->json, &j->merge, err);
    default:
        return MOBIEDIT_OK;
    }
}

static void job_free(job *j) {
    cJSON_Delete(j->json);
    cJSON_Delete(j->result);
    cJSON_Delete(j->checks);
}

/* With the lock held. */
static desk_outcome begin_job(desk *d, job *next, mobiedit_error *err) {
    if (d->stopping) {
        (void)me_fail(err, MOBIEDIT_E_CANCELLED, "the program is being closed");
        return DESK_FAILED;
    }
    if (d->job.number && d->job.state == STATE_RUNNING) {
        (void)me_fail(err, MOBIEDIT_E_ARGUMENT, "one change at a time: another one is under way");
        return DESK_BUSY;
    }
    next->number = d->job.number + 1;
    job_free(&d->job);
    d->job = *next;
    if (next->kind == JOB_EDIT) {
        cJSON_Delete(d->unfinished);
        d->unfinished = NULL;
    }
    return DESK_STARTED;
}

desk_outcome desk_start(desk *d, job_kind kind, cJSON *json, int64_t id, mobiedit_error *err) {
    job next = {.kind = kind, .state = STATE_RUNNING, .json = json, .id = id};
    desk_outcome outcome = DESK_REFUSED;
    if (read_job(&next, err) == MOBIEDIT_OK) {
        hold(d);
        outcome = begin_job(d, &next, err);
        let_go(d);
    }
    if (outcome != DESK_STARTED) {
        cJSON_Delete(json);
        return outcome;
    }
    /* Whoever hears that the job is taken can rely on it. */
    if (kind == JOB_EDIT && unfinished_write(d->unfinished_file, json, err) != MOBIEDIT_OK) {
        end_job(d, err);
        return DESK_FAILED;
    }
    lane_start(d->work, run_job, d);
    return DESK_STARTED;
}

void desk_cancel(desk *d) {
    hold(d);
    d->job.cancelled = true;
    let_go(d);
}

void desk_forget_unfinished(desk *d) {
    hold(d);
    if (d->unfinished) unfinished_remove(d->unfinished_file);
    cJSON_Delete(d->unfinished);
    d->unfinished = NULL;
    let_go(d);
}

/* ---- what is told -------------------------------------------------------------------------------------- */

static const char *stage_name(const job *j) {
    if (j->checking) return "check";
    if (!j->told) return "prepare";
    switch (j->progress.stage) {
    case MOBIEDIT_STAGE_PREPARE:
        return "prepare";
    case MOBIEDIT_STAGE_SOLVE:
        return "solve";
    case MOBIEDIT_STAGE_KEY:
        return "key";
    case MOBIEDIT_STAGE_VERIFY:
        return "verify";
    }
    return "prepare";
}

static void add_progress(cJSON *object, const job *j) {
    cJSON *p = cJSON_AddObjectToObject(object, "progress");
    const mobiedit_progress none = {.layer = -1, .loss = NAN}, *now = j->told ? &j->progress : &none;
    me_json_add_text(p, "stage", stage_name(j));
    me_json_add_number(p, "round", now->round);
    me_json_add_number(p, "loss", (double)now->loss);
    me_json_add_number(p, "said", now->carriers_say);
    me_json_add_number(p, "texts", now->carriers);
    me_json_add_count(p, "evals", now->evaluations);
    me_json_add_number(p, "seconds", now->seconds);
}

static void add_copy(cJSON *object, const char *name, const cJSON *item) {
    cJSON *copy = item ? cJSON_Duplicate(item, true) : cJSON_CreateNull();
    if (!cJSON_AddItemToObject(object, name, copy)) cJSON_Delete(copy);
}

/* With the lock held. */
static cJSON *job_json(const desk *d) {
    static const char *const kinds[] = {"attach", "edit", "undo", "redo", "verify", "merge"};
    static const char *const states[] = {"running", "done", "failed"};
    const job *j = &d->job;
    if (!j->number) return cJSON_CreateNull();
    cJSON *object = cJSON_CreateObject();
    me_json_add_count(object, "number", (size_t)j->number);
    me_json_add_text(object, "kind", kinds[j->kind]);
    me_json_add_text(object, "state", states[j->state]);
    add_copy(object, "request", j->json);
    add_progress(object, j);
    add_copy(object, "result", j->result);
    add_copy(object, "checks", j->checks);
    if (j->state == STATE_FAILED) {
        cJSON *error = cJSON_AddObjectToObject(object, "error");
        me_json_add_text(error, "kind", mobiedit_status_name(j->error.status));
        me_json_add_text(error, "message", j->error.message);
    } else {
        (void)cJSON_AddNullToObject(object, "error");
    }
    return object;
}

cJSON *desk_job(desk *d) {
    hold(d);
    cJSON *json = job_json(d);
    let_go(d);
    return json;
}

static bool add_record(void *user, const mobiedit_record *record) {
    cJSON *item = record_json(record);
    if (!cJSON_AddItemToArray(user, item)) cJSON_Delete(item);
    return true;
}

/* All edits; *state as adapter_state has it. */
static cJSON *list_edits(desk *d, char **state, mobiedit_error *err) {
    cJSON *edits = cJSON_CreateArray();
    (void)pthread_mutex_lock(&d->reading);
    mobiedit_status status = mobiedit_ledger_list(d->read_ledger, 0, add_record, edits, err);
    *state = status == MOBIEDIT_OK ? adapter_state(d->read_ledger, err) : NULL;
    (void)pthread_mutex_unlock(&d->reading);
    if (*state) return edits;
    cJSON_Delete(edits);
    return NULL;
}

static cJSON *make_state(desk *d, cJSON *edits, bool attached) {
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "version", mobiedit_version());
    me_json_add_text(object, "model", d->name);
    (void)cJSON_AddBoolToObject(object, "chat", d->has_template);
    (void)cJSON_AddBoolToObject(object, "attached", attached);
    if (!cJSON_AddItemToObject(object, "edits", edits)) cJSON_Delete(edits);
    hold(d);
    cJSON *now = job_json(d);
    if (!cJSON_AddItemToObject(object, "job", now)) cJSON_Delete(now);
    add_copy(object, "unfinished", d->unfinished);
    let_go(d);
    return object;
}

cJSON *desk_state(desk *d, mobiedit_error *err) {
    mobiedit_error ignored = {0};
    char *state;
    cJSON *edits = list_edits(d, &state, err);
    if (!edits) return NULL;
    hold(d);
    const bool attached = d->attached.state && strcmp(d->attached.state, state) == 0;
    const bool idle = !d->job.number || d->job.state != STATE_RUNNING;
    let_go(d);
    free(state);
    if (!attached && idle) (void)desk_start(d, JOB_ATTACH, NULL, 0, &ignored);
    return make_state(d, edits, attached);
}

const char *desk_name(const desk *d) {
    return d->name;
}

/* ---- opening and closing ------------------------------------------------------------------------------- */

/* Whether the model has a chat template, found by asking it something; the first answer is slow in any case. */
static mobiedit_status try_chat(desk *d, mobiedit_error *err) {
    const mobiedit_ask_options how = {.chat = true, .max_tokens = 1};
    char *text = NULL;
    const mobiedit_status status = mobiedit_chat_ask(d->chat, "Hello.", &how, &text, err);
    mobiedit_free(text);
    d->has_template = status == MOBIEDIT_OK;
    return status == MOBIEDIT_E_UNSUPPORTED ? MOBIEDIT_OK : status;
}

static mobiedit_status cut_path(desk *d, const char *path, mobiedit_error *err) {
    static const char suffix[] = ".gguf";
    const char *base = me_base_name(path);
    const size_t n = strlen(base), tail = sizeof suffix - 1;
    const bool has_suffix = n > tail && me_ends_with(base, suffix);
    d->folder = me_strndup(path, (size_t)(base - path));
    d->name = me_strndup(base, has_suffix ? n - tail : n);
    char *usual = d->o->ledger ? NULL : me_strjoin(path, MOBIEDIT_LEDGER_SUFFIX);
    const char *ledger = d->o->ledger ? d->o->ledger : usual;
    d->unfinished_file = ledger ? unfinished_path(ledger) : NULL;
    me_free(usual);
    return d->folder && d->name && d->unfinished_file ? MOBIEDIT_OK : me_fail_memory(err, "a path");
}

static mobiedit_status open_models(desk *d, const char *path, mobiedit_error *err) {
    const mobiedit_model_options reading = {.calibration = "none"};
    const mobiedit_chat_options talking = {.n_context = CONTEXT};
    ME_TRY(mobiedit_open(path, &d->o->model, &d->model, err));
    ME_TRY(mobiedit_ledger_open(d->model, d->o->ledger, true, &d->ledger, err));
    ME_TRY(mobiedit_open(path, &reading, &d->read_model, err));
    ME_TRY(mobiedit_ledger_open(d->read_model, d->o->ledger, false, &d->read_ledger, err));
    return mobiedit_chat_open(d->model, &talking, &d->chat, err);
}

/* What the lanes do first, so that later calls find all in place. */
typedef struct {
    desk *d;
    mobiedit_status status;
    mobiedit_error *err;
} start_call;

static void start_talk(void *user) {
    start_call *call = user;
    call->status = try_chat(call->d, call->err);
}

static void start_work(void *user) {
    start_call *call = user;
    call->status = attach_edits(call->d, call->err);
}

static mobiedit_status open_parts(desk *d, mobiedit_error *err) {
    start_call call = {.d = d, .err = err};
    const char *path = d->o->positional[0];
    ME_TRY(cut_path(d, path, err));
    ME_TRY(open_models(d, path, err));
    d->unfinished = unfinished_read(d->unfinished_file);
    d->talk = lane_open();
    d->work = lane_open();
    if (!d->talk || !d->work) return me_fail(err, MOBIEDIT_E_RUNTIME, "cannot start a thread");
    (void)lane_run(d->talk, INT_MAX, start_talk, &call);
    ME_TRY(call.status);
    (void)lane_run(d->work, INT_MAX, start_work, &call);
    return call.status;
}

int desk_open(const options *o, desk **out) {
    mobiedit_error err = {0};
    desk *d = me_calloc(1, sizeof *d);
    if (!d) return complain(STATUS_MEMORY, "out of memory");
    d->o = o;
    d->attached.fd = -1;
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_mutex_init(&d->reading, NULL);
    err.status = open_parts(d, &err);
    if (err.status == MOBIEDIT_OK) {
        *out = d;
        return STATUS_DONE;
    }
    desk_close(d);
    return complain_of(&err);
}

void desk_stop(desk *d) {
    hold(d);
    d->stopping = true;
    let_go(d);
}

void desk_close(desk *d) {
    if (!d) return;
    desk_stop(d);
    lane_close(d->work);
    lane_close(d->talk);
    mobiedit_chat_close(d->chat);
    mobiedit_ledger_close(d->read_ledger);
    mobiedit_close(d->read_model);
    mobiedit_ledger_close(d->ledger);
    mobiedit_close(d->model);
    adapter_close(&d->attached);
    cJSON_Delete(d->unfinished);
    job_free(&d->job);
    (void)pthread_mutex_destroy(&d->reading);
    (void)pthread_mutex_destroy(&d->lock);
    me_free(d->unfinished_file);
    me_free(d->folder);
    me_free(d->name);
    me_free(d);
}
