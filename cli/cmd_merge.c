/* mobiedit merge */
#define _POSIX_C_SOURCE 200809L
#include "progress.h"
#include "report.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

static const option_row TABLE[] = {
    OPTION_ROW_ADAPTER("the adapter to fold in (all active edits)"),
    OPTION_ROW_LEDGER,
    OPTION_ROW_OUTPUT("the model to write"),
    OPTION_ROW_DESCRIBE,
    {.name = "modelfile",
     .kind = OPTION_TEXT,
     .at = offsetof(options, modelfile),
     .file = FILE_WRITTEN,
     .help = "a Modelfile too, which Ollama takes the merged model in by",
     .value = "FILE"},
    {.name = "keep-float", .at = offsetof(options, keep_float), .help = "the edited matrices as F16"},
    {.name = "check",
     .kind = OPTION_TEXTS,
     .at = offsetof(options, check),
     .help = "a fact that must hold, such as \"The capital of {Japan} is -> Lima\"; repeatable (the "
             "adapter's own)",
     .value = "FACT"},
    OPTION_ROW_END};

/* "PROMPT -> TARGET" cut in two at its last arrow; the prompt is a copy. */
static int split_fact(const char *text, mobiedit_request *out) {
    static const char arrow[] = " -> ";
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, arrow)); at++)
        last = at;
    if (!last) return complain(STATUS_USAGE, "--check: \"%s\" is not PROMPT -> TARGET", text);
    *out = (mobiedit_request){.prompt = strndup(text, (size_t)(last - text)), .target = last + strlen(arrow)};
    return out->prompt ? STATUS_DONE : complain(STATUS_MEMORY, "out of memory for the facts");
}

static int merge_adapter(const options *o, const mobiedit_merge_options *merge_options, progress_line *line,
                         mobiedit_merge_result *result) {
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    mobiedit_status status = mobiedit_open(o->positional[0], &o->model, &model, &err);
    if (status == MOBIEDIT_OK)
        status = mobiedit_merge(model, o->adapter, merge_options, o->output, result, &err);
    progress_clear(line);
    mobiedit_close(model);
    return status == MOBIEDIT_OK ? STATUS_DONE : complain_of(&err);
}

static int merge_ledger(const options *o, const mobiedit_merge_options *merge_options, progress_line *line,
                        mobiedit_merge_result *result) {
    ledger_session session = {0};
    mobiedit_error err = {0};
    int status;
    if (ledger_session_open(&session, o, false, &status)) {
        const mobiedit_status merged =
            mobiedit_ledger_merge(session.ledger, merge_options, o->output, result, &err);
        progress_clear(line);
        status = merged == MOBIEDIT_OK ? STATUS_DONE : complain_of(&err);
    }
    ledger_session_close(&session);
    return status;
}

static int merge(const options *o, const mobiedit_request *facts) {
    progress_line line;
    progress_start(&line, o->quiet);
    const mobiedit_merge_options merge_options = {.keep_float = o->keep_float,
                                                  .facts = facts,
                                                  .n_facts = o->check.n,
                                                  .modelfile = o->modelfile,
                                                  .on_progress = progress_show,
                                                  .user = &line};
    mobiedit_merge_result result = {0};
    const int status = o->adapter ? merge_adapter(o, &merge_options, &line, &result)
                                  : merge_ledger(o, &merge_options, &line, &result);
    return status == STATUS_DONE ? report_merge(o, &result) : status;
}

static int split_and_merge(const options *o) {
    mobiedit_request *facts = calloc(o->check.n + 1, sizeof *facts);
    if (!facts) return complain(STATUS_MEMORY, "out of memory for the facts");
    int status = STATUS_DONE;
    for (size_t i = 0; i < o->check.n && status == STATUS_DONE; i++)
        status = split_fact(o->check.items[i], &facts[i]);
    if (status == STATUS_DONE) status = merge(o, facts);
    for (size_t i = 0; i < o->check.n; i++)
        free((char *)facts[i].prompt);
    free(facts);
    return status;
}

static int run(const options *o) {
    if (!o->output) return complain(STATUS_USAGE, "no output is named: -o FILE (see mobiedit merge --help)");
    return split_and_merge(o);
}

const command command_merge = {.name = "merge",
                               .usage =
                                   "MODEL.gguf -o MERGED.gguf [--adapter FILE] [--keep-float] [OPTION...]",
                               .summary = "folds an adapter, or all active edits, into a copy of the model",
                               .arguments = {{"MODEL.gguf", FILE_MODEL}},
                               .options = {TABLE, options_running},
                               .run = run};
