/* mobiedit export */
#include "records.h"
#include "session.h"

static const option_row TABLE[] = {OPTION_ROW_OUTPUT("the adapter to write"),
                                   OPTION_ROW_DESCRIBE,
                                   OPTION_ROW_THREADS,
                                   OPTION_ROW_LEDGER,
                                   OPTION_ROW_JSON,
                                   OPTION_ROW_END};

static int export(const options *o, mobiedit_ledger *ledger) {
    mobiedit_error err = {0};
    int status = STATUS_DONE;
    if (mobiedit_ledger_export(ledger, o->output, &err) != MOBIEDIT_OK) return complain_of(&err);
    const int active = count_active(ledger, &status);
    if (active < 0) return status;
    if (!o->json) {
        report_adapter(o->output, active);
        return STATUS_DONE;
    }
    cJSON *object = cJSON_CreateObject();
    adapter_add_json(object, o->output, active);
    return json_print(object, STATUS_DONE);
}

static int run(const options *o) {
    ledger_session session;
    int status;
    if (!o->output) return complain(STATUS_USAGE, "no output is named: -o FILE (see mobiedit export --help)");
    if (ledger_session_open(&session, o, false, &status)) status = export(o, session.ledger);
    ledger_session_close(&session);
    return status;
}

const command command_export = {.name = "export",
                                .usage = "MODEL.gguf -o FILE [OPTION...]",
                                .summary = "writes the adapter of all active edits",
                                .arguments = {{"MODEL.gguf", FILE_MODEL}},
                                .options = {TABLE},
                                .run = run};
