/* mobiedit verify */
#include "progress.h"
#include "records.h"
#include "session.h"

#include <stdio.h>

static const option_row TABLE[] = {
    {.name = "repair", .at = offsetof(options, repair), .help = "solve the edits again that do not hold"},
    OPTION_ROW_LEDGER,
    OPTION_ROW_END};

typedef struct {
    progress_line line;
    cJSON *records; /* NULL: a table */
    int n;
} verification;

static bool on_progress(void *user, const mobiedit_progress *now) {
    verification *v = user;
    return progress_show(&v->line, now);
}

static bool on_record(void *user, const mobiedit_record *record) {
    verification *v = user;
    progress_clear(&v->line);
    if (v->records) {
        (void)cJSON_AddItemToArray(v->records, record_json(record));
    } else {
        if (v->n == 0) report_record_header();
        report_record(record);
    }
    v->n++;
    return !ferror(stdout);
}

static int report_json(cJSON *records, const mobiedit_verify_summary *s, int status) {
    cJSON *object = cJSON_CreateObject();
    together_add_json(object, s);
    if (!cJSON_AddItemToObject(object, "edits", records)) cJSON_Delete(records);
    return json_print(object, status);
}

static int verify(const options *o, mobiedit_ledger *ledger) {
    verification v = {.records = o->json ? cJSON_CreateArray() : NULL};
    progress_start(&v.line, o->quiet);
    const mobiedit_verify_options verify_options = {
        .repair = o->repair, .edit = options_edit(o, on_progress, &v), .on_record = on_record, .user = &v};
    mobiedit_verify_summary summary = {0};
    mobiedit_error err = {0};
    const mobiedit_status status = mobiedit_ledger_verify(ledger, &verify_options, &summary, &err);
    progress_clear(&v.line);
    if (status != MOBIEDIT_OK) {
        cJSON_Delete(v.records);
        return complain_of(&err);
    }
    const int end = summary.hold == summary.active ? STATUS_DONE : STATUS_NOT_EDITED;
    if (o->json) return report_json(v.records, &summary, end);
    report_together(&summary);
    return end;
}

static int run(const options *o) {
    ledger_session session;
    int status;
    if (ledger_session_open(&session, o, true, &status)) status = verify(o, session.ledger);
    ledger_session_close(&session);
    return status;
}

const command command_verify = {
    .name = "verify",
    .usage = "MODEL.gguf [--repair] [OPTION...]",
    .summary = "asks libllama whether every active edit holds, and what they do to other text",
    .arguments = {{"MODEL.gguf", FILE_MODEL}},
    .options = {TABLE, options_solving, options_running},
    .run = run};
