/* Prints what an edit or a merge comes to, as text and as JSON. */
#include "report.h"
#include "output.h"

#include "records.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

double report_mebibytes(size_t bytes) {
    return (double)bytes / (1 << 20);
}

const char *report_profile(const options *o) {
    return o->model_advanced.profile ? o->model_advanced.profile : "none";
}

/* ---- edit -------------------------------------------------------------------------------------------- */

static void print_energy(const options *o, const mobiedit_edit_result *r) {
    char idle[48] = "";
    if (o->edit_advanced.idle_watts > 0)
        (void)snprintf(idle, sizeof idle, ", less %.1f W for idleness", o->edit_advanced.idle_watts);
    if (isnan(r->joules))
        print_line("%-13s not measurable here", "energy");
    else
        print_line("%-13s %.1f J (%s%s)", "energy", r->joules, r->energy_source, idle);
}

/* The prompt without its braces, then what the model goes on with, or answers. */
static void print_text(const char *label, const char *prompt, const char *text) {
    const size_t length = strlen(prompt);
    const bool is_asked = length > 0 && prompt[length - 1] == '?';
    print_part("%-13s ", label);
    while (*prompt) {
        const int n = (int)strcspn(prompt, "{}");
        print_part("%.*s", n, prompt);
        prompt += n + (prompt[n] != '\0');
    }
    if (is_asked && text && *text != ' ') print_part(" ");
    print_line("%s", text ? text : "");
}

/* Of all active edits, of this one alone, or of none if the model needs none. */
static void report_edits_adapter(const edit_report *e) {
    if (!e->o->output) return;
    if (e->recorded)
        report_adapter(e->o->output, e->active);
    else if (e->result.solve.stop == MOBIEDIT_STOP_ALREADY_SAID)
        print_line("%-13s %s, which does nothing", "adapter", e->o->output);
    else
        print_line("%-13s %s, of this edit alone", "adapter", e->o->output);
}

static const char HIGH_LOSS_WARNING[] =
    "the edit ended at a high loss: other wordings may not say the target, and a later edit may undo it";

static void print_warnings(const mobiedit_edit_result *r) {
    if (r->high_loss) print_line("%-13s %s", "warning", HIGH_LOSS_WARNING);
    if (r->known_as)
        print_line(
            "%-13s the model knows the subject as \"%s\", and prompts that spell it that way are unchanged: "
            "edit {%s}",
            "warning", r->known_as, r->known_as);
}

void report_edit(const edit_report *e) {
    const mobiedit_edit_result *r = &e->result;
    print_text("before", e->o->positional[1], r->before);
    if (r->solve.stop == MOBIEDIT_STOP_ALREADY_SAID)
        print_line("The model already says \"%s\" by itself (--force edits it anyway).", e->o->positional[2]);
    else
        print_text("after", e->o->positional[1], r->after);
    report_edits_adapter(e);
    if (e->recorded) report_change(&e->change);
    report_asides(e->o->positional[1], &r->asides);
    print_warnings(r);
    if (e->change.known || r->solve.stop == MOBIEDIT_STOP_ALREADY_SAID) return;
    print_line("%-13s %s, layer %d%s, %d rounds, loss %.3f, |delta| %.2f of |v|", "edit", r->solve.solver,
               r->solve.layer, r->solve.at_answer ? " at the answer" : "", r->solve.rounds,
               (double)r->solve.loss, (double)r->solve.delta_ratio);
    print_line("%-13s %zu prompts, %zu tokens", "evaluations", r->solve.evaluations, r->solve.token_passes);
    if (r->calibration == MOBIEDIT_CALIBRATION_UNFINISHED)
        print_line("%-13s unfinished, and not used: `mobiedit calibrate` resumes it", "calibration");
    print_line("%-13s %.2f s wall, %.2f s CPU", "time", r->solve.seconds, r->cpu_seconds);
    print_energy(e->o, r);
    print_line("%-13s %.0f MiB", "peak memory", report_mebibytes(r->peak_rss_bytes));
}

/* [[evaluations, loss], ...] */
static void add_trace(cJSON *object, const mobiedit_edit_result *r) {
    cJSON *trace = cJSON_AddArrayToObject(object, "trace");
    for (size_t i = 0; i < r->n_trace; i++) {
        const double point[2] = {(double)r->trace[i].evaluations, (double)r->trace[i].loss};
        cJSON_AddItemToArray(trace, cJSON_CreateDoubleArray(point, 2));
    }
}

int report_edit_json(const edit_report *e, int status) {
    const options *o = e->o;
    const mobiedit_edit_result *r = &e->result;
    const mobiedit_error *err = &e->err;
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "version", mobiedit_version());
    me_json_add_text(object, "status", mobiedit_status_name(err->status));
    me_json_add_text(object, "message", err->status == MOBIEDIT_OK ? NULL : err->message);
    me_json_add_text(object, "model", me_base_name(o->positional[0]));
    me_json_add_text(object, "prompt", o->positional[1]);
    me_json_add_text(object, "target", o->positional[2]);
    me_json_add_text(object, "adapter", err->status == MOBIEDIT_OK ? o->output : NULL);
    me_json_add_text(object, "before", r->before);
    me_json_add_text(object, "after", r->after);
    me_json_add_text(object, "solver", r->solve.solver);
    me_json_add_text(object, "profile", report_profile(o));
    me_json_add_text(object, "stop", mobiedit_stop_name(r->solve.stop));
    me_json_add_text(object, "calibration", mobiedit_calibration_name(r->calibration));
    me_json_add_number(object, "layer", r->solve.layer);
    me_json_add_text(object, "place", r->solve.at_answer ? "answer" : "subject");
    search_add_json(object, &r->solve);
    me_json_add_number(object, "cpu_seconds", r->cpu_seconds);
    me_json_add_number(object, "joules", r->joules);
    me_json_add_text(object, "energy_source", r->energy_source);
    me_json_add_number(object, "idle_watts", o->edit_advanced.idle_watts);
    me_json_add_count(object, "peak_rss_bytes", r->peak_rss_bytes);
    add_trace(object, r);
    warnings_add_json(object, r->high_loss, r->known_as);
    asides_add_json(object, &r->asides);
    if (e->recorded) {
        change_add_json(object, &e->change);
        me_json_add_number(object, "active", e->active);
    }
    return json_print(object, status);
}

/* ---- merge ------------------------------------------------------------------------------------------- */

static int report_merge_json(const options *o, const mobiedit_merge_result *r) {
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "version", mobiedit_version());
    me_json_add_text(object, "model", me_base_name(o->positional[0]));
    me_json_add_text(object, "merged", o->output);
    if (o->modelfile) me_json_add_text(object, "modelfile", o->modelfile);
    me_json_add_number(object, "tensors", r->tensors);
    me_json_add_text(object, "type", r->type);
    me_json_add_number(object, "error", r->error);
    me_json_add_count(object, "facts", r->facts);
    me_json_add_count(object, "held", r->held);
    me_json_add_count(object, "kept", r->kept);
    me_json_add_number(object, "seconds", r->seconds);
    me_json_add_count(object, "peak_rss_bytes", r->peak_rss_bytes);
    return json_print(object, STATUS_DONE);
}

int report_merge(const options *o, const mobiedit_merge_result *r) {
    if (o->json) return report_merge_json(o, r);
    print_line("%-13s %s", "merged", o->output);
    if (o->modelfile)
        print_line("%-13s %s, for ollama create NAME -f %s", "modelfile", o->modelfile, o->modelfile);
    print_line("%-13s %d %s in %s, edit off by %.2g %%", "changed", r->tensors,
               r->tensors == 1 ? "matrix" : "matrices", r->type, 100 * r->error);
    print_line("%-13s %zu of %zu, as with the adapter", "facts", r->kept, r->facts);
    print_line("%-13s %.2f s wall", "time", r->seconds);
    print_line("%-13s %.0f MiB", "peak memory", report_mebibytes(r->peak_rss_bytes));
    return STATUS_DONE;
}
