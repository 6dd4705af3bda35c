/* mobiedit eval */
#include "compare.h"
#include "html.h"
#include "progress.h"
#include "report_eval.h"

#include "base/file.h"

#include <stdio.h>

static const option_row TABLE[] = {
    OPTION_ROW_ADAPTER("measure this adapter; edit nothing"),
    {.name = "baseline",
     .kind = OPTION_TEXT,
     .at = offsetof(options, baseline),
     .help = "context: edit nothing; the system prompt tells the fact",
     .value = "NAME"},
    {.name = "system",
     .kind = OPTION_TEXT,
     .at = offsetof(options, system),
     .help = "the system prompt of questions that have one",
     .value = "TEXT"},
    {.name = "state",
     .kind = OPTION_TEXT,
     .at = offsetof(options, state),
     .file = FILE_WRITTEN,
     .help = "keep finished cases here, and resume from there",
     .value = "FILE"},
    {.name = "html",
     .kind = OPTION_TEXT,
     .at = offsetof(options, html),
     .file = FILE_WRITTEN,
     .help = "a report with plots and the worst cases",
     .value = "FILE.html"},
    {.name = "compare", .at = offsetof(options, compare), .help = "two results of --json, A.json and B.json"},
    {.name = "no-fluency", .at = offsetof(options, no_fluency), .help = "skip generated texts"},
    {.name = "no-drift", .at = offsetof(options, no_drift), .help = "skip generic text"},
    {.name = "no-answers",
     .at = offsetof(options, no_answers),
     .help = "skip chat, and other things about the subject"},
    {.name = "quick", .at = offsetof(options, quick), .help = "skip all of these, and the texts"},
    {.name = "without",
     .kind = OPTION_PARTS,
     .at = offsetof(options, edit_advanced.without),
     .help = "leave out parts, to see what they are worth: contrast, basis, stop",
     .value = "LIST"},
    OPTION_ROW_END};

typedef struct {
    const options *o;
    progress_line line;
    me_cases cases;
    mobiedit_error err; /* of on_case */
} evaluation;

static bool on_progress(void *user, const mobiedit_progress *now) {
    evaluation *e = user;
    return progress_show(&e->line, now);
}

static bool on_case(void *user, int index, int total, const mobiedit_eval_case *done) {
    evaluation *e = user;
    progress_case(&e->line, index + 1, total, !done->restored);
    if (!e->o->json && !e->o->quiet) {
        if (index == 0) report_case_header();
        report_case(done);
    }
    return me_cases_add(&e->cases, done, &e->err) == MOBIEDIT_OK && !interrupted() && !ferror(stdout);
}

static int write_page(const evaluation *e, const mobiedit_eval_summary *summary, int status) {
    const html_evaluation what = {.model = me_base_name(e->o->positional[0]),
                                  .facts = me_base_name(e->o->positional[1]),
                                  .adapter = e->o->adapter ? me_base_name(e->o->adapter) : NULL,
                                  .baseline = e->o->baseline,
                                  .summary = summary,
                                  .cases = &e->cases};
    mobiedit_error err = {0};
    if (!e->o->html || status != STATUS_DONE) return status;
    return html_write_evaluation(e->o->html, &what, &err) == MOBIEDIT_OK ? status : complain_of(&err);
}

static int evaluate(evaluation *e, mobiedit_model *model) {
    const options *o = e->o;
    const mobiedit_eval_options eval_options = {.edit = options_edit(o, on_progress, e),
                                                .n = o->n,
                                                .skip = o->skip,
                                                .state = o->state,
                                                .adapter = o->adapter,
                                                .system = o->system,
                                                .baseline = o->baseline,
                                                .no_fluency = o->no_fluency || o->quick,
                                                .no_drift = o->no_drift || o->quick,
                                                .no_answers = o->no_answers || o->quick,
                                                .no_said = o->quick,
                                                .on_case = on_case,
                                                .user = e};
    mobiedit_eval_summary summary = {0};
    mobiedit_error err = {0};
    progress_start(&e->line, o->quiet);
    const mobiedit_status status = mobiedit_eval(model, o->positional[1], &eval_options, &summary, &err);
    progress_clear(&e->line);
    if (e->err.status != MOBIEDIT_OK) return complain_of(&e->err);
    if (status != MOBIEDIT_OK) return complain_of(&err);
    int done = STATUS_DONE;
    if (o->json)
        done = report_eval_json(o, &summary, &e->cases);
    else
        report_eval(o, &summary);
    return write_page(e, &summary, done);
}

static int open_and_evaluate(const options *o) {
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    if (mobiedit_open(o->positional[0], &o->model, &model, &err) != MOBIEDIT_OK) return complain_of(&err);
    evaluation e = {.o = o};
    const int status = evaluate(&e, model);
    me_cases_free(&e.cases);
    mobiedit_close(model);
    return status;
}

static int run(const options *o) {
    return o->compare ? compare_files(o) : open_and_evaluate(o);
}

const command command_eval = {
    .name = "eval",
    .usage = "MODEL.gguf FACTS.json [OPTION...] | --compare A.json B.json",
    .summary = "edits each fact of a CounterFact or ZsRE file by itself, and measures it",
    .arguments = {{"MODEL.gguf", FILE_MODEL}, {"FACTS.json", FILE_READ}},
    .options = {options_picking, TABLE, options_solving, options_running, options_measuring},
    .run = run};
