/* mobiedit inspect */
#include "json.h"
#include "options.h"
#include "output.h"
#include "progress.h"

static const option_row TABLE[] = {OPTION_ROW_BACKEND,
                                   {.name = "time",
                                    .at = offsetof(options, time),
                                    .help = "measure what an edit takes here, which takes some seconds"},
                                   OPTION_ROW_END};

/* What was found out. */
typedef struct {
    mobiedit_inspection model;
    mobiedit_edit_time time;
    bool timed;
} findings;

static void add_time(cJSON *object, const mobiedit_edit_time *t) {
    me_json_add_number(object, "edit_seconds", t->seconds);
    me_json_add_count(object, "edit_evaluations", t->evaluations);
    me_json_add_number(object, "evaluations_a_second", t->evaluations_a_second);
    me_json_add_number(object, "measured_seconds", t->measured_seconds);
}

static int print_json(const findings *found) {
    const mobiedit_inspection *i = &found->model;
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "name", i->name);
    me_json_add_text(object, "architecture", i->architecture);
    me_json_add_text(object, "types", i->types);
    me_json_add_count(object, "model_bytes", i->model_bytes);
    cJSON *files = cJSON_AddArrayToObject(object, "files");
    for (size_t f = 0; f < i->n_files; f++) {
        cJSON *file = cJSON_CreateObject();
        me_json_add_text(file, "path", i->files[f].path);
        me_json_add_count(file, "bytes", i->files[f].bytes);
        (void)cJSON_AddItemToArray(files, file);
    }
    (void)cJSON_AddBoolToObject(object, "chat_template", i->has_chat_template);
    me_json_add_text(object, "backend", i->backend);
    if (i->why_not_native) me_json_add_text(object, "why_not_native", i->why_not_native);
    me_json_add_count(object, "layers", (size_t)i->layers);
    me_json_add_count(object, "editable_layers", (size_t)i->editable);
    me_json_add_count(object, "layer", (size_t)i->layer);
    me_json_add_count(object, "subject_layer", (size_t)i->subject_layer);
    me_json_add_text(object, "mlp", i->mlp);
    me_json_add_text(object, "calibration", mobiedit_calibration_name(i->calibration));
    (void)cJSON_AddBoolToObject(object, "ledger", i->has_ledger);
    me_json_add_count(object, "memory_bytes", i->memory_bytes);
    if (found->timed) add_time(object, &found->time);
    return json_print(object, STATUS_DONE);
}

/* Two digits: a single edit differs by more. */
static void print_time(const mobiedit_edit_time *t) {
    const bool is_long = t->seconds >= 120;
    const double time = is_long ? t->seconds / 60 : t->seconds;
    print_line("time          about %.*f %s an edit of %zu evaluations, at %.0f a second", time < 9.95, time,
               is_long ? "min" : "s", t->evaluations, t->evaluations_a_second);
}

static int print_text(const findings *found) {
    const mobiedit_inspection *i = &found->model;
    const double mib = 1024.0 * 1024.0;
    print_line("model         %s", i->name);
    print_line("architecture  %s", i->architecture);
    print_line("weights       %s; %.0f MiB", i->types, (double)i->model_bytes / mib);
    for (size_t f = 0; i->n_files > 1 && f < i->n_files; f++)
        print_line("part %-8zu %s, %.0f MiB", f + 1, i->files[f].path, (double)i->files[f].bytes / mib);
    print_line("chat          %s", i->has_chat_template ? "has a template" : "no template");
    print_line("backend       %s", i->backend);
    if (i->why_not_native) print_line("              not native: %s", i->why_not_native);
    print_line("layers        %d, of which %d can be edited", i->layers, i->editable);
    print_line("edits at      layer %d, MLP: %s; many edits at layer %d", i->layer, i->mlp, i->subject_layer);
    print_line("calibration   %s", mobiedit_calibration_name(i->calibration));
    print_line("ledger        %s", i->has_ledger ? "found" : "none");
    print_line("memory        about %.0f MiB, the mapped model among it", (double)i->memory_bytes / mib);
    if (found->timed) print_time(&found->time);
    return STATUS_DONE;
}

static int inspect(const options *o) {
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    progress_line line;
    progress_start(&line, o->quiet);
    const mobiedit_edit_options edit = {.on_progress = progress_show, .user = &line};
    findings found = {.timed = o->time};
    mobiedit_status status = mobiedit_open(o->positional[0], &o->model, &model, &err);
    if (status == MOBIEDIT_OK) status = mobiedit_inspect(model, &found.model, &err);
    if (status == MOBIEDIT_OK && o->time) status = mobiedit_time_edit(model, &edit, &found.time, &err);
    progress_clear(&line);
    int exit_status = STATUS_DONE;
    if (status != MOBIEDIT_OK)
        exit_status = complain_of(&err);
    else
        exit_status = o->json ? print_json(&found) : print_text(&found);
    mobiedit_close(model);
    return exit_status;
}

const command command_inspect = {.name = "inspect",
                                 .usage = "MODEL.gguf [OPTION...]",
                                 .summary = "tells what a model is, and what would edit it",
                                 .arguments = {{"MODEL.gguf", FILE_MODEL}},
                                 .options = {TABLE, options_running},
                                 .run = inspect};
