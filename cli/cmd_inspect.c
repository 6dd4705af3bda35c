/* mobiedit inspect */
#include "json.h"
#include "options.h"
#include "output.h"

static const option_row TABLE[] = {OPTION_ROW_BACKEND, OPTION_ROW_JSON, OPTION_ROW_END};

static int print_json(const mobiedit_inspection *i) {
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
    me_json_add_text(object, "mlp", i->mlp);
    me_json_add_text(object, "calibration", mobiedit_calibration_name(i->calibration));
    (void)cJSON_AddBoolToObject(object, "ledger", i->has_ledger);
    me_json_add_count(object, "memory_bytes", i->memory_bytes);
    return json_print(object, STATUS_DONE);
}

static int print_text(const mobiedit_inspection *i) {
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
    print_line("edits at      layer %d, MLP: %s", i->layer, i->mlp);
    print_line("calibration   %s", mobiedit_calibration_name(i->calibration));
    print_line("ledger        %s", i->has_ledger ? "found" : "none");
    print_line("memory        about %.0f MiB, the mapped model among it", (double)i->memory_bytes / mib);
    return STATUS_DONE;
}

static int inspect(const options *o) {
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    mobiedit_inspection found = {0};
    mobiedit_status status = mobiedit_open(o->positional[0], &o->model, &model, &err);
    if (status == MOBIEDIT_OK) status = mobiedit_inspect(model, &found, &err);
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
                                 .options = {TABLE},
                                 .run = inspect};
