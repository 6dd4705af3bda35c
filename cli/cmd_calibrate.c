/* mobiedit calibrate */
#include "json.h"
#include "options.h"
#include "output.h"
#include "progress.h"

#include <stdio.h>

static const option_row TABLE[] = {{.name = "output",
                                    .letter = 'o',
                                    .kind = OPTION_TEXT,
                                    .at = offsetof(options, model.calibration),
                                    .file = FILE_NEW_CALIBRATION,
                                    .help = "where to write it (MODEL.gguf.mobiedit.calibration)",
                                    .value = "FILE"},
                                   OPTION_ROW_BACKEND,
                                   OPTION_ROW_LAYER("the layer to edit (tries a few, and takes the best)"),
                                   OPTION_ROW_END};

static bool on_prompt(void *user, int done, int total) {
    return progress_prompt(user, done, total);
}

/* What a calibration found. */
typedef struct {
    mobiedit_calibrate_result result;
    mobiedit_layer_trial trials[MOBIEDIT_MAX_LAYER_TRIALS];
    int n_trials;
} findings;

static int report(const options *o, const findings *f) {
    const mobiedit_calibrate_result *r = &f->result;
    if (o->json) {
        cJSON *object = cJSON_CreateObject();
        me_json_add_number(object, "layer", r->layer);
        cJSON *trials = cJSON_AddArrayToObject(object, "trials");
        for (int i = 0; i < f->n_trials; i++) {
            cJSON *trial = cJSON_CreateObject();
            me_json_add_number(trial, "layer", f->trials[i].layer);
            me_json_add_number(trial, "loss", f->trials[i].loss);
            cJSON_AddItemToArray(trials, trial);
        }
        me_json_add_number(object, "prompts", r->prompts);
        me_json_add_number(object, "found", r->found);
        me_json_add_count(object, "evaluations", r->evaluations);
        me_json_add_number(object, "seconds", r->seconds);
        return json_print(object, STATUS_DONE);
    }
    for (int i = 0; i < f->n_trials; i++)
        print_part("%s layer %d: %.2f", i ? "," : "loss of trial edits in other words:", f->trials[i].layer,
                   f->trials[i].loss);
    if (f->n_trials) print_newline();
    print_part("layer %d calibrated: %d prompts", r->layer, r->prompts);
    if (r->found) print_part(", %d of them before", r->found);
    print_line(", %zu evaluations, %.0f s", r->evaluations, r->seconds);
    return STATUS_DONE;
}

static int calibrate(const options *o) {
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    progress_line line;
    progress_start(&line, o->quiet);
    const mobiedit_calibrate_options wanted = {.fix_layer = o->layer >= 0,
                                               .layer = o->layer >= 0 ? o->layer : 0,
                                               .on_prompt = on_prompt,
                                               .user = &line};
    findings found = {0};
    mobiedit_status status = mobiedit_open(o->positional[0], &o->model, &model, &err);
    if (status == MOBIEDIT_OK) status = mobiedit_calibrate(model, &wanted, &found.result, &err);
    if (status == MOBIEDIT_OK) status = mobiedit_layer_trials(model, found.trials, &found.n_trials, &err);
    progress_clear(&line);
    mobiedit_close(model);
    return status == MOBIEDIT_OK ? report(o, &found) : complain_of(&err);
}

const command command_calibrate = {.name = "calibrate",
                                   .usage = "MODEL.gguf [OPTION...]",
                                   .summary = "measures a model once, so that its edits need fewer tries",
                                   .arguments = {{"MODEL.gguf", FILE_MODEL}},
                                   .options = {TABLE, options_running},
                                   .run = calibrate};
