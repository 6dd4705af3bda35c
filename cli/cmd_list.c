/* mobiedit list */
#include "output.h"
#include "records.h"
#include "session.h"

#include <stdio.h>

static const option_row TABLE[] = {OPTION_ROW_LEDGER, OPTION_ROW_JSON, OPTION_ROW_END};

typedef struct {
    cJSON *records; /* NULL: a table */
    int n;
} listing;

static bool on_record(void *user, const mobiedit_record *record) {
    listing *l = user;
    if (l->records) {
        (void)cJSON_AddItemToArray(l->records, record_json(record));
    } else {
        if (l->n == 0) report_record_header();
        report_record(record);
    }
    l->n++;
    return !interrupted() && !ferror(stdout);
}

static int list(const options *o, mobiedit_ledger *ledger) {
    listing l = {.records = o->json ? cJSON_CreateArray() : NULL};
    mobiedit_error err = {0};
    if (mobiedit_ledger_list(ledger, 0, on_record, &l, &err) != MOBIEDIT_OK) {
        cJSON_Delete(l.records);
        return complain_of(&err);
    }
    if (!o->json) {
        if (l.n == 0) print_line("No edit is recorded.");
        return STATUS_DONE;
    }
    cJSON *object = cJSON_CreateObject();
    if (!cJSON_AddItemToObject(object, "edits", l.records)) cJSON_Delete(l.records);
    return json_print(object, STATUS_DONE);
}

static int run(const options *o) {
    ledger_session session;
    int status;
    if (ledger_session_open(&session, o, false, &status)) status = list(o, session.ledger);
    ledger_session_close(&session);
    return status;
}

const command command_list = {.name = "list",
                              .usage = "MODEL.gguf [OPTION...]",
                              .summary = "lists what has been edited",
                              .arguments = {{"MODEL.gguf", FILE_MODEL}},
                              .options = {TABLE},
                              .run = run};
