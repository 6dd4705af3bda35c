/* mobiedit_eval: each fact edited by itself, or with an adapter that is there, and measured. */
#define _POSIX_C_SOURCE 200809L
#include "api/edit_job.h"
#include "api/handle.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/usage.h"
#include "base/utf8.h"
#include "edit/solver.h"
#include "eval/cases.h"
#include "eval/dataset.h"
#include "eval/figures.h"
#include "eval/metrics.h"
#include "eval/state.h"
#include "model/calibration.h"
#include "store/adapter.h"
#include "store/fingerprint.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A private folder for the adapter of the case at hand. */
typedef struct {
    char folder[1024];
    char adapter[1040];
} scratch;

static mobiedit_status scratch_open(scratch *s, mobiedit_error *err) {
    const char *root = getenv("TMPDIR");
    if (!root || !*root) root = "/tmp";
    const int n = snprintf(s->folder, sizeof s->folder, "%s/mobiedit-XXXXXX", root);
    if (n < 0 || (size_t)n >= sizeof s->folder)
        return me_fail(err, MOBIEDIT_E_IO, "the path of the folder for temporary files is too long");
    if (!mkdtemp(s->folder))
        return me_fail(err, MOBIEDIT_E_IO, "cannot make a folder in %s: %s", root, strerror(errno));
    (void)snprintf(s->adapter, sizeof s->adapter, "%s/edit.gguf", s->folder);
    return MOBIEDIT_OK;
}

static void scratch_close(const scratch *s) {
    (void)unlink(s->adapter);
    (void)rmdir(s->folder);
}

static mobiedit_status edit_request(mobiedit_model *model, const mobiedit_request *request,
                                    const mobiedit_edit_options *options, const char *adapter,
                                    mobiedit_edit_result *result, mobiedit_error *err) {
    me_prompt prompt;
    ME_TRY(me_request_read(request, &prompt, err));
    prompt.at_answer = me_edits_at_answer(options, 1);
    const me_job_request ask = {.prompt = &prompt, .request = request, .options = options, .output = adapter};
    const mobiedit_status status = me_job_run(model, &ask, result, err);
    me_prompt_free(&prompt);
    return status;
}

/* Edits the fact into the scratch file. The edit's own failure goes into `done` and `why`. */
static mobiedit_status edit_fact(mobiedit_model *model, const me_fact *fact,
                                 const mobiedit_edit_options *options, const char *adapter,
                                 mobiedit_eval_case *done, mobiedit_error *why, mobiedit_error *err) {
    char *prompt = me_fact_request_prompt(fact);
    if (!prompt) return me_fail_memory(err, "a prompt");
    const mobiedit_request request = {.prompt = prompt, .target = fact->target};
    mobiedit_edit_result result = {.joules = NAN};
    done->status = edit_request(model, &request, options, adapter, &result, why);
    done->message = done->status == MOBIEDIT_OK ? NULL : why->message;
    done->evaluations = result.solve.evaluations;
    done->stop = result.solve.stop;
    done->seconds = result.solve.seconds;
    done->cpu_seconds = done->stop == MOBIEDIT_STOP_ALREADY_SAID ? NAN : result.cpu_seconds;
    done->joules = done->stop == MOBIEDIT_STOP_ALREADY_SAID ? NAN : result.joules;
    done->layer = result.solve.layer;
    done->loss = result.solve.evaluations ? (double)result.solve.loss : NAN;
    mobiedit_edit_result_free(&result);
    me_free(prompt);
    if (done->status == MOBIEDIT_OK || me_is_failed_fact(done->status)) return MOBIEDIT_OK;
    return me_fail(err, done->status, "%s", why->message);
}

/* Where an adapter is given, or the model is told the fact. */
static bool edits_nothing(const mobiedit_eval_options *options) {
    return options->adapter || options->baseline;
}

static void leave_unedited(mobiedit_eval_case *done) {
    done->layer = -1;
    done->loss = NAN;
    done->seconds = done->cpu_seconds = done->joules = NAN;
}

/* An evaluation under way. */
typedef struct {
    mobiedit_model *model;
    const me_dataset *facts;
    const mobiedit_eval_options *options;
    scratch scratch;
    const char *adapter; /* the one that is given, else the scratch file's */
    me_meter *meter;
    me_state *state; /* NULL: none is kept */
    me_cases cases;
} evaluation;

/* Measures the case and adds it to those of the evaluation. */
static mobiedit_status measure(evaluation *e, const me_fact *fact, mobiedit_eval_case *done,
                               mobiedit_error *err) {
    const bool edited =
        done->status == MOBIEDIT_OK && done->stop != MOBIEDIT_STOP_ALREADY_SAID && !e->options->baseline;
    me_runtime *runtime;
    me_measured measured = {0};
    const double started = me_wall_seconds();
    ME_TRY(me_handle_runtime(e->model, &runtime, err));
    ME_TRY(me_metrics_measure(e->meter, runtime, fact, edited ? e->adapter : NULL, &measured, err));
    done->metrics = measured.metrics;
    done->said = measured.said;
    done->n_said = measured.n_said;
    done->measure_seconds = me_wall_seconds() - started;
    const mobiedit_status status = me_cases_add(&e->cases, done, err);
    me_measured_free(&measured);
    return status;
}

/* Measures fact `index`, edited first unless an adapter is given. */
static mobiedit_status run_case(evaluation *e, size_t index, mobiedit_error *err) {
    const me_fact *fact = &e->facts->facts[index];
    mobiedit_error why = {0};
    mobiedit_eval_case done = {.case_id = fact->case_id,
                               .prompt = fact->prompt,
                               .subject = fact->subject,
                               .relation = fact->relation,
                               .target = fact->target};
    if (edits_nothing(e->options))
        leave_unedited(&done);
    else
        ME_TRY(edit_fact(e->model, fact, &e->options->edit, e->adapter, &done, &why, err));
    ME_TRY(measure(e, fact, &done, err));
    return e->state ? me_state_add(e->state, index, &e->cases.items[e->cases.n - 1], err) : MOBIEDIT_OK;
}

/* Runs the case, or takes it from the state. */
static mobiedit_status next_case(evaluation *e, size_t index, mobiedit_error *err) {
    const mobiedit_eval_case *finished = e->state ? me_state_find(e->state, index) : NULL;
    return finished ? me_cases_add(&e->cases, finished, err) : run_case(e, index, err);
}

/* Cases [skip, skip + n) of the data set. */
static mobiedit_status run_cases(evaluation *e, mobiedit_error *err) {
    const mobiedit_eval_options *options = e->options;
    const int left = (int)e->facts->n - options->skip;
    const int total = options->n > 0 && options->n < left ? options->n : left;
    for (int i = 0; i < total; i++) {
        ME_TRY(next_case(e, (size_t)options->skip + (size_t)i, err));
        if (options->on_case && !options->on_case(options->user, i, total, &e->cases.items[e->cases.n - 1]))
            return me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
    }
    return MOBIEDIT_OK;
}

static mobiedit_status median_seconds(const me_cases *cases, double *out, mobiedit_error *err) {
    double *seconds = me_calloc(cases->n, sizeof *seconds);
    if (!seconds) return me_fail_memory(err, "the summary");
    for (size_t i = 0; i < cases->n; i++)
        seconds[i] = me_metric_value(ME_METRIC_SECONDS, &cases->items[i]);
    *out = me_median(seconds, cases->n);
    me_free(seconds);
    return MOBIEDIT_OK;
}

static mobiedit_status sum_up(const evaluation *e, mobiedit_eval_summary *out, mobiedit_error *err) {
    const mobiedit_eval_options *options = e->options;
    mobiedit_eval_summary s = {.solver = edits_nothing(options) ? NULL : me_solver_of(&options->edit)->name,
                               .cases = (int)e->cases.n};
    for (size_t i = 0; i < e->cases.n; i++)
        s.failed += e->cases.items[i].status != MOBIEDIT_OK;
    s.unusable = (int)e->facts->unusable.n;
    ME_TRY(me_figures(e->cases.items, e->cases.n, NULL, s.figures, err));
    ME_TRY(median_seconds(&e->cases, &s.seconds, err));
    s.peak_rss_bytes = me_peak_rss_bytes();
    *out = s;
    return MOBIEDIT_OK;
}

/* ---- the state --------------------------------------------------------------------------------------- */

static void add_hex(cJSON *object, const char *name, uint64_t value) {
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%016" PRIx64, value);
    me_json_add_text(object, name, digits);
}

/* Which adapter is given, as a text of its bytes or null. */
static mobiedit_status add_adapter(cJSON *settings, const char *path, mobiedit_error *err) {
    static const char name[] = "adapter's bytes";
    uint64_t hash;
    if (!path) {
        (void)cJSON_AddNullToObject(settings, name);
        return MOBIEDIT_OK;
    }
    ME_TRY(me_hash_file(path, &hash, err));
    add_hex(settings, name, hash);
    return MOBIEDIT_OK;
}

/* What decides how a case comes out. */
static cJSON *settings_of(const evaluation *e, const char *fingerprint) {
    const mobiedit_eval_options *o = e->options;
    cJSON *s = cJSON_CreateObject();
    me_json_add_text(s, "version", mobiedit_version());
    me_json_add_text(s, "model", me_base_name(e->model->model->path));
    me_json_add_text(s, "model's fingerprint", fingerprint);
    add_hex(s, "facts' bytes", e->facts->hash);
    me_json_add_text(s, "solver", me_solver_of(&o->edit)->name);
    me_json_add_text(s, "backend", e->model->options.backend ? e->model->options.backend : "native");
    me_json_add_text(s, "profile", e->model->profile);
    me_json_add_number(s, "calibrated prompts", e->model->calibration ? e->model->calibration->n_done : 0);
    me_json_add_number(s, "layer", me_fixed_layer(&o->edit));
    me_json_add_text(s, "place", o->edit.place ? o->edit.place : "auto");
    me_json_add_count(s, "max-evals", o->edit.max_evaluations);
    me_json_add_number(s, "probe-step", (double)me_edit_advanced(&o->edit)->probe_step);
    me_json_add_count(s, "without", me_edit_advanced(&o->edit)->without);
    add_hex(s, "seed", o->edit.seed);
    (void)cJSON_AddBoolToObject(s, "fluency", !o->no_fluency);
    (void)cJSON_AddBoolToObject(s, "drift", !o->no_drift);
    (void)cJSON_AddBoolToObject(s, "answers", !o->no_answers);
    (void)cJSON_AddBoolToObject(s, "said", !o->no_said);
    me_json_add_text(s, "system", o->system);
    me_json_add_text(s, "baseline", o->baseline);
    return s;
}

static mobiedit_status open_state(evaluation *e, mobiedit_error *err) {
    char fingerprint[ME_FINGERPRINT_SIZE];
    if (!e->options->state) return MOBIEDIT_OK;
    ME_TRY(me_fingerprint(e->model->model, fingerprint, err));
    ME_TRY(me_calibration_find(e->model, err));
    cJSON *settings = settings_of(e, fingerprint);
    mobiedit_status status = add_adapter(settings, e->options->adapter, err);
    if (status == MOBIEDIT_OK) status = me_state_open(e->options->state, settings, &e->state, err);
    cJSON_Delete(settings);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static mobiedit_status run(evaluation *e, mobiedit_eval_summary *summary, mobiedit_error *err) {
    const mobiedit_eval_options *options = e->options;
    const me_metric_options metrics = {.fluency = !options->no_fluency,
                                       .drift = !options->no_drift,
                                       .answers = !options->no_answers,
                                       .said = !options->no_said,
                                       .one_adapter = options->adapter != NULL,
                                       .system = options->system,
                                       .context = options->baseline != NULL,
                                       .seed = options->edit.seed};
    ME_TRY(open_state(e, err));
    ME_TRY(me_meter_open(&metrics, &e->meter, err));
    const bool edits = !edits_nothing(options);
    if (edits) ME_TRY(scratch_open(&e->scratch, err));
    e->adapter = options->adapter ? options->adapter : e->scratch.adapter;
    mobiedit_status status = run_cases(e, err);
    if (edits) scratch_close(&e->scratch);
    if (status == MOBIEDIT_OK) status = sum_up(e, summary, err);
    return status;
}

static mobiedit_status evaluate(mobiedit_model *model, const me_dataset *facts,
                                const mobiedit_eval_options *options, mobiedit_eval_summary *summary,
                                mobiedit_error *err) {
    if (options->n < 0 || options->skip < 0 || (size_t)options->skip >= facts->n)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "cannot skip %d cases: the file has %zu", options->skip,
                       facts->n);
    evaluation e = {.model = model, .facts = facts, .options = options};
    model->n_sequences = ME_RUNTIME_MAX_SEQUENCES;
    const mobiedit_status status = run(&e, summary, err);
    model->n_sequences = 0;
    me_meter_close(e.meter);
    me_state_close(e.state);
    me_cases_free(&e.cases);
    return status;
}

/* The state is a file of its own. */
static mobiedit_status check_state(const mobiedit_model *model, const char *facts,
                                   const mobiedit_eval_options *options, mobiedit_error *err) {
    const char *state = options->state;
    if (!state) return MOBIEDIT_OK;
    ME_TRY(me_check_place(model, ME_PLACE_OUTPUT, state, err));
    if (me_same_file(state, facts))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the state %s is the facts", state);
    if (options->adapter && me_same_file(state, options->adapter))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the state %s is the adapter", state);
    return MOBIEDIT_OK;
}

static mobiedit_status check_baseline(const mobiedit_eval_options *options, mobiedit_error *err) {
    if (!options->baseline) return MOBIEDIT_OK;
    if (strcmp(options->baseline, "context") != 0)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no baseline \"%.100s\"; there is context",
                       options->baseline);
    if (options->adapter)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a baseline is measured without an adapter");
    if (options->no_answers)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "a baseline measures only answers, which --no-answers skips");
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_eval(mobiedit_model *model, const char *facts, const mobiedit_eval_options *options,
                              mobiedit_eval_summary *summary, mobiedit_error *err) {
    const mobiedit_eval_options defaults = {0};
    if (!options) options = &defaults;
    me_dataset dataset;
    ME_TRY(me_check_text(facts, "the path of the facts", err));
    ME_TRY(me_check_edit_options(model, &options->edit, err));
    ME_TRY(check_baseline(options, err));
    if (options->system && !me_utf8_valid(options->system))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the system prompt is not UTF-8");
    ME_TRY(check_state(model, facts, options, err));
    if (options->adapter) ME_TRY(me_adapter_check(model->model, options->adapter, err));
    ME_TRY(me_dataset_read(facts, &dataset, err));
    const mobiedit_status status = evaluate(model, &dataset, options, summary, err);
    me_dataset_free(&dataset);
    return me_outcome(status, err);
}
