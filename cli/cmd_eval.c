/* mobiedit eval */
#include "options.h"
#include "progress.h"
#include "report.h"

#include <stdio.h>

static const struct poptOption TABLE[] = {
    {"n", 'n', POPT_ARG_STRING, NULL, OPTION_N, "cases (all)", "N"},
    {"skip", 0, POPT_ARG_STRING, NULL, OPTION_SKIP, "cases to leave out at the start", "N"},
    OPTION_ROWS_SOLVING,
    OPTION_ROWS_END};

typedef struct {
    const options *o;
    progress_line line;
    cJSON *per_case;
} evaluation;

static bool on_progress(void *user, const mobiedit_progress *now) {
    evaluation *e = user;
    return progress_show(&e->line, now);
}

static bool on_case(void *user, int index, int total, const mobiedit_eval_case *done) {
    evaluation *e = user;
    progress_clear(&e->line);
    e->line.done = index + 1;
    e->line.total = total;
    if (e->o->json) {
        (void)cJSON_AddItemToArray(e->per_case, report_case_json(done));
    } else if (!e->o->quiet) {
        if (index == 0) report_case_header();
        report_case(done);
    }
    return !interrupted() && !ferror(stdout);
}

static int evaluate(const options *o, mobiedit_model *model) {
    evaluation e = {.o = o, .per_case = cJSON_CreateArray()};
    progress_start(&e.line, o->quiet, o->n);
    const mobiedit_eval_options eval_options = {.edit = {.solver = o->solver,
                                                         .layer = o->layer,
                                                         .max_evaluations = o->max_evaluations,
                                                         .seed = o->seed,
                                                         .on_progress = on_progress,
                                                         .user = &e},
                                                .n = o->n,
                                                .skip = o->skip,
                                                .on_case = on_case,
                                                .user = &e};
    mobiedit_eval_summary summary = {0};
    mobiedit_error err = {0};
    const mobiedit_status status = mobiedit_eval(model, o->positional[1], &eval_options, &summary, &err);
    progress_clear(&e.line);
    if (status == MOBIEDIT_OK && o->json) return report_eval_json(o, &summary, e.per_case);
    cJSON_Delete(e.per_case);
    if (status != MOBIEDIT_OK) return complain_of(&err);
    report_eval(&summary);
    return STATUS_DONE;
}

static int run(int argc, const char **argv) {
    options o;
    int status;
    if (options_read(&command_eval, 2, argc, argv, &o, &status)) {
        mobiedit_model *model = NULL;
        mobiedit_error err = {0};
        if (mobiedit_open(o.positional[0], &o.model, &model, &err) != MOBIEDIT_OK)
            status = complain_of(&err);
        else
            status = evaluate(&o, model);
        mobiedit_close(model);
    }
    options_free(&o);
    return status;
}

const command command_eval = {.name = "eval",
                              .usage = "MODEL.gguf FACTS.json [OPTION...]",
                              .summary = "edits each fact of a CounterFact file by itself, and measures it",
                              .options = TABLE,
                              .run = run};
