/* mobiedit undo, mobiedit redo */
#include "output.h"
#include "records.h"
#include "session.h"

static const option_row TABLE[] = {OPTION_ROW_OUTPUT("the adapter to write, of the edits still active"),
                                   OPTION_ROW_DESCRIBE, OPTION_ROW_LEDGER, OPTION_ROW_JSON, OPTION_ROW_END};

typedef mobiedit_status (*change_fn)(mobiedit_ledger *ledger, int64_t id, mobiedit_change *change,
                                     mobiedit_error *err);

static int change(const options *o, mobiedit_ledger *ledger, int64_t id, change_fn apply, const char *done) {
    mobiedit_change c = {0};
    mobiedit_error err = {0};
    int status = STATUS_DONE;
    if (apply(ledger, id, &c, &err) != MOBIEDIT_OK) return complain_of(&err);
    if (o->output && mobiedit_ledger_export(ledger, o->output, &err) != MOBIEDIT_OK)
        status = complain_of(&err);
    const char *written = status == STATUS_DONE ? o->output : NULL;
    const int active = count_active(ledger, &status);
    if (o->json) {
        cJSON *object = cJSON_CreateObject();
        change_add_json(object, &c);
        adapter_add_json(object, written, active);
        return json_print(object, status);
    }
    print_line("%-13s edit %lld", done, (long long)c.id);
    c.id = 0;
    report_change(&c);
    if (written) report_adapter(written, active);
    return status;
}

static int run_change(const options *o, change_fn apply, const char *done) {
    ledger_session session;
    int status;
    int64_t id;
    if (!options_read_id(o->positional[1], &id)) return STATUS_USAGE;
    if (ledger_session_open(&session, o, true, &status)) status = change(o, session.ledger, id, apply, done);
    ledger_session_close(&session);
    return status;
}

static int run_undo(const options *o) {
    return run_change(o, mobiedit_ledger_undo, "undone");
}

static int run_redo(const options *o) {
    return run_change(o, mobiedit_ledger_redo, "done again");
}

const command command_undo = {.name = "undo",
                              .usage = "MODEL.gguf ID|last [OPTION...]",
                              .summary = "takes an edit back",
                              .arguments = {{"MODEL.gguf", FILE_MODEL}, {"ID", FILE_NONE}},
                              .options = {TABLE},
                              .run = run_undo};

const command command_redo = {.name = "redo",
                              .usage = "MODEL.gguf ID|last [OPTION...]",
                              .summary = "makes an edit active again that was taken back",
                              .arguments = {{"MODEL.gguf", FILE_MODEL}, {"ID", FILE_NONE}},
                              .options = {TABLE},
                              .run = run_redo};
