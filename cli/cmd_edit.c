/* mobiedit edit */
#include "progress.h"
#include "records.h"
#include "report.h"
#include "session.h"
#include "trace.h"

#include <stdio.h>

static const option_row TABLE[] = {OPTION_ROW_OUTPUT("the adapter to write, of all active edits"),
                                   OPTION_ROW_DESCRIBE,
                                   OPTION_ROW_FORCE,
                                   OPTION_ROW_STRICT,
                                   {.name = "also",
                                    .kind = OPTION_TEXTS,
                                    .at = offsetof(options, also),
                                    .help = "the fact in other words, taught too; repeatable",
                                    .value = "PROMPT"},
                                   OPTION_ROW_LEDGER,
                                   {.name = "no-ledger",
                                    .at = offsetof(options, no_ledger),
                                    .help = "an adapter of this edit alone; record nothing"},
                                   {.name = "keep",
                                    .kind = OPTION_TEXTS,
                                    .at = offsetof(options, keep),
                                    .help = "a prompt whose answer must not change; repeatable",
                                    .value = "PROMPT"},
                                   {.name = "trace",
                                    .kind = OPTION_TEXT,
                                    .at = offsetof(options, trace),
                                    .file = FILE_WRITTEN,
                                    .help = "plot the loss against evaluations",
                                    .value = "FILE.svg"},
                                   OPTION_ROW_END};

static mobiedit_status edit(edit_report *e, mobiedit_model *model, mobiedit_ledger *ledger) {
    const options *o = e->o;
    progress_line line;
    progress_start(&line, o->quiet);
    const mobiedit_request request = {.prompt = o->positional[1],
                                      .target = o->positional[2],
                                      .keep = o->keep.items,
                                      .n_keep = o->keep.n,
                                      .also = o->also.items,
                                      .n_also = o->also.n};
    const mobiedit_edit_options edit_options = options_edit(o, progress_show, &line);
    const mobiedit_status status =
        ledger ? mobiedit_ledger_edit(ledger, &request, &edit_options, o->output, &e->result, &e->change,
                                      &e->err)
               : mobiedit_edit(model, &request, &edit_options, o->output, &e->result, &e->err);
    progress_clear(&line);
    return status;
}

/* The plot is written also if no edit was found: it shows why. */
static int write_trace(const edit_report *e, int status) {
    char title[160];
    mobiedit_error err = {0};
    const options *o = e->o;
    if (!o->trace || e->result.n_trace == 0) return status;
    (void)snprintf(title, sizeof title, "%.100s -> %.40s", o->positional[1], o->positional[2]);
    if (trace_write(o->trace, title, &e->result, &err) == MOBIEDIT_OK) return status;
    const int failed = complain_of(&err);
    return status == STATUS_DONE ? failed : status;
}

/* An edit that could not be told of is none: nobody would know of it. */
static void take_back(const edit_report *e, mobiedit_ledger *ledger) {
    const options *o = e->o;
    mobiedit_change undone;
    if (!ledger && o->output) (void)remove(o->output);
    if (!ledger || e->change.known || !e->change.id) return;
    if (mobiedit_ledger_undo(ledger, e->change.id, &undone, NULL) == MOBIEDIT_OK && o->output)
        (void)mobiedit_ledger_export(ledger, o->output, NULL);
}

static int report(const edit_report *e, mobiedit_ledger *ledger, int status) {
    if (e->o->json)
        status = report_edit_json(e, status);
    else if (status == STATUS_DONE)
        report_edit(e);
    status = write_trace(e, status);
    if (e->err.status == MOBIEDIT_OK && !output_arrived()) take_back(e, ledger);
    return status;
}

static int edit_and_report(const options *o, mobiedit_model *model, mobiedit_ledger *ledger) {
    edit_report e = {.o = o, .recorded = ledger != NULL};
    int status = STATUS_DONE;
    if (edit(&e, model, ledger) != MOBIEDIT_OK) status = complain_of(&e.err);
    if (status == STATUS_DONE && ledger) e.active = count_active(ledger, &status);
    if (status == STATUS_DONE || status == STATUS_NOT_EDITED) status = report(&e, ledger, status);
    mobiedit_edit_result_free(&e.result);
    return status;
}

static int open_and_edit(const options *o) {
    mobiedit_model *model = NULL;
    mobiedit_ledger *ledger = NULL;
    mobiedit_error err = {0};
    int status;
    if (mobiedit_open(o->positional[0], &o->model, &model, &err) != MOBIEDIT_OK)
        status = complain_of(&err);
    else if (!o->no_ledger && mobiedit_ledger_open(model, o->ledger, true, &ledger, &err) != MOBIEDIT_OK)
        status = complain_of_ledger(o, &err);
    else
        status = edit_and_report(o, model, ledger);
    mobiedit_ledger_close(ledger);
    mobiedit_close(model);
    return status;
}

static int run(const options *o) {
    if (o->no_ledger && !o->output)
        return complain(STATUS_USAGE, "no output is named: -o FILE (see mobiedit edit --help)");
    return open_and_edit(o);
}

const command command_edit = {
    .name = "edit",
    .usage = "MODEL.gguf \"The capital of {Japan} is\" \"Lima\" [-o FILE] [OPTION...]",
    .summary = "edits one fact; the braces mark the subject",
    .arguments = {{"MODEL.gguf", FILE_MODEL}, {"PROMPT", FILE_NONE}, {"TARGET", FILE_NONE}},
    .options = {TABLE, options_solving, options_running, options_measuring},
    .run = run};
