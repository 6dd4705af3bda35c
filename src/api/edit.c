/* mobiedit_edit: from a request to a verified adapter. */
#include "api/edit_job.h"
#include "api/handle.h"
#include "api/neuron_adapter.h"
#include "base/energy.h"
#include "base/memory.h"
#include "base/usage.h"
#include "edit/solver.h"
#include "store/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- progress ---------------------------------------------------------------------------------------- */

/* Each attempt counts its own seconds; the caller sees those of the whole edit. */
static bool pass_progress(void *user, const mobiedit_progress *progress) {
    me_edit_job *job = user;
    job->last = *progress;
    me_energy_sample(job->energy);
    job->last.seconds = me_wall_seconds() - job->started;
    const mobiedit_edit_options *caller = job->ask.options;
    return !caller->on_progress || caller->on_progress(caller->user, &job->last);
}

static mobiedit_status tell(me_edit_job *job, mobiedit_stage stage, mobiedit_error *err) {
    mobiedit_progress now = job->last;
    now.stage = stage;
    return pass_progress(job, &now) ? MOBIEDIT_OK : me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
}

/* ---- attempts ---------------------------------------------------------------------------------------- */

/* Whether another attempt, with more margin or at another layer, may do what the last did not: at a layer
 * that the caller names, a solver that found nothing would find nothing again. */
static bool worth_a_try(const me_edit_job *job, mobiedit_status last) {
    const mobiedit_stop stop = job->solved.solve.stop;
    if (last != MOBIEDIT_E_NOT_SOLVED && last != MOBIEDIT_E_NOT_VERIFIED) return false;
    return stop == MOBIEDIT_STOP_SOLVED || (stop == MOBIEDIT_STOP_NO_PROGRESS && !job->options.fix_layer);
}

/* Where the last attempt made the model say a longer word, the same is made with the word's end taught. */
static bool teach_follow(me_edit_job *job, mobiedit_status last) {
    if (last != MOBIEDIT_E_NOT_VERIFIED || !job->prolonged || !job->has_follow || job->prompt.teach_follow)
        return false;
    job->prompt.teach_follow = true;
    return true;
}

bool me_attempt_begin(me_edit_job *job, mobiedit_status last) {
    if (teach_follow(job, last)) {
        me_pending_discard(&job->pending);
        return true;
    }
    if (job->attempt + 1 == ME_EDIT_ATTEMPTS || !worth_a_try(job, last)) return false;
    me_pending_discard(&job->pending);
    job->attempt++;
    return true;
}

mobiedit_status me_attempt_solve(me_edit_job *job, int layer, const float *offset, mobiedit_error *err) {
    const mobiedit_edit_options options = layer < 0 ? job->options : me_fix_layer(&job->options, layer);
    me_session *session;
    ME_TRY(me_handle_session(job->handle, &session, err));
    return me_edit_solve(session, &job->prompt, job->ask.request, &options, offset, job->attempt,
                         &job->solved, err);
}

const char *me_attempt_path(const me_edit_job *job) {
    return job->ask.output ? job->ask.output : job->ask.beside;
}

/* ---- verification in libllama ------------------------------------------------------------------------ */

static mobiedit_status keep_tokens(const me_edit_job *job, me_runtime *runtime, me_token *out,
                                   mobiedit_error *err) {
    const mobiedit_request *request = job->ask.request;
    for (size_t i = 0; i < request->n_keep; i++)
        ME_TRY(me_runtime_next_token(runtime, request->keep[i], &out[i], err));
    return MOBIEDIT_OK;
}

/* before, after: [n_keep] next greedy tokens of the prompts to keep */
static mobiedit_status verify_attached(me_edit_job *job, me_runtime *runtime, const me_token *before,
                                       me_token *after, mobiedit_error *err) {
    const mobiedit_request *request = job->ask.request;
    me_said said;
    ME_TRY(me_prompt_said(runtime, job->ask.prompt, &said, err));
    job->prolonged = said == ME_SAID_LONGER;
    if (said != ME_SAID_WHOLE)
        return me_fail(err, MOBIEDIT_E_NOT_VERIFIED,
                       "libllama with the adapter %s \"%.100s\"; nothing was written",
                       job->prolonged ? "says a longer word or number that begins with" : "does not say",
                       job->ask.prompt->target);
    ME_TRY(keep_tokens(job, runtime, after, err));
    for (size_t i = 0; i < request->n_keep; i++)
        if (before[i] != after[i])
            return me_fail(err, MOBIEDIT_E_NOT_VERIFIED,
                           "the edit changes the answer to \"%.100s\", which must stay; nothing was written",
                           request->keep[i]);
    return MOBIEDIT_OK;
}

/* With the pending adapter attached the runtime says the target, and answers the prompts to keep as before.
 * The adapter stays attached. */
static mobiedit_status verify(me_edit_job *job, me_runtime *runtime, mobiedit_error *err) {
    const size_t n_keep = job->ask.request->n_keep;
    me_token *before = me_calloc(n_keep, sizeof *before), *after = me_calloc(n_keep, sizeof *after);
    mobiedit_status status = before && after ? MOBIEDIT_OK : me_fail_memory(err, "the prompts to keep");
    if (status == MOBIEDIT_OK) status = keep_tokens(job, runtime, before, err);
    if (status == MOBIEDIT_OK) status = me_runtime_set_adapter(runtime, job->pending.temporary, err);
    if (status == MOBIEDIT_OK) status = verify_attached(job, runtime, before, after, err);
    me_free(before);
    me_free(after);
    return status;
}

/* The texts of a result that is not handed out. */
static void drop_texts(mobiedit_edit_result *result) {
    me_free(result->before);
    me_free(result->after);
    result->before = result->after = NULL;
}

static void drop_asides(mobiedit_edit_result *result) {
    me_asides_free(&result->asides);
}

static void drop_warnings(mobiedit_edit_result *result) {
    me_free(result->known_as);
    result->known_as = NULL;
    result->high_loss = false;
}

static mobiedit_status generate_texts(me_edit_job *job, me_runtime *runtime, mobiedit_error *err) {
    drop_texts(job->result);
    ME_TRY(me_job_continuation(job, runtime, &job->result->after, err));
    ME_TRY(me_runtime_set_adapter(runtime, NULL, err));
    return me_job_continuation(job, runtime, &job->result->before, err);
}

/* With the adapter attached, and without. */
static mobiedit_status look_aside(me_edit_job *job, me_runtime *runtime, bool edited, mobiedit_error *err) {
    if (edited)
        job->aside = (me_aside){.prompt = job->ask.prompt, .holds = true, .out = &job->result->asides};
    return me_asides_ask(runtime, &job->aside, 1, edited, err);
}

static mobiedit_status refuse_harm(const me_edit_job *job, mobiedit_error *err) {
    const mobiedit_asides *asides = &job->result->asides;
    for (size_t i = 0; i < asides->n_others && job->options.strict; i++)
        if (!asides->others[i].unchanged)
            return me_fail(err, MOBIEDIT_E_NOT_VERIFIED,
                           "the edit changes something else about its subject: \"%.100s\" goes on with "
                           "\"%.60s\", not with \"%.60s\"; nothing was written",
                           asides->others[i].prompt, asides->others[i].after, asides->others[i].before);
    return MOBIEDIT_OK;
}

mobiedit_status me_attempt_verify(me_edit_job *job, mobiedit_error *err) {
    me_runtime *runtime;
    ME_TRY(me_handle_runtime(job->handle, &runtime, err));
    ME_TRY(tell(job, MOBIEDIT_STAGE_VERIFY, err));
    ME_TRY(verify(job, runtime, err));
    if (job->ask.with_texts) {
        drop_asides(job->result);
        ME_TRY(me_job_warn(job, runtime, err));
        ME_TRY(look_aside(job, runtime, true, err));
        ME_TRY(generate_texts(job, runtime, err));
        ME_TRY(look_aside(job, runtime, false, err));
        ME_TRY(refuse_harm(job, err));
    }
    return tell(job, MOBIEDIT_STAGE_VERIFY, err);
}

mobiedit_status me_attempt_finish(me_edit_job *job, mobiedit_error *err) {
    if (job->ask.output) return me_pending_commit(&job->pending, err);
    me_pending_discard(&job->pending);
    return MOBIEDIT_OK;
}

/* ---- beginning and end --------------------------------------------------------------------------------- */

static void report_solved(me_edit_job *job) {
    me_edit_result *solved = &job->solved;
    mobiedit_edit_result *result = job->result;
    if (result->solve.stop == MOBIEDIT_STOP_ALREADY_SAID) solved->solve.stop = MOBIEDIT_STOP_ALREADY_SAID;
    result->solve = solved->solve;
    result->trace = solved->trace;
    result->n_trace = solved->n_trace;
    solved->trace = NULL; /* it is the result's now */
    solved->n_trace = 0;
}

static mobiedit_status check(const mobiedit_model *model, const me_job_request *ask, mobiedit_error *err) {
    for (size_t i = 0; i < ask->request->n_keep; i++)
        ME_TRY(me_check_text(ask->request->keep[i], "a prompt to keep", err));
    ME_TRY(me_check_edit_options(model, ask->options, err));
    ME_TRY(me_check_meaning(ask->prompt, err));
    if (!ask->output && ask->beside) return me_check_folder(ask->beside, err);
    return me_check_output(model, ask->beside, ask->output, err);
}

mobiedit_status me_job_begin(me_edit_job *job, mobiedit_model *model, const me_job_request *ask,
                             mobiedit_edit_result *result, mobiedit_error *err) {
    *job = (me_edit_job){.handle = model,
                         .ask = *ask,
                         .options = *ask->options,
                         .prompt = *ask->prompt,
                         .attempt = -1,
                         .result = result};
    job->started = me_wall_seconds();
    job->cpu_started = me_cpu_seconds();
    job->options.on_progress = pass_progress;
    job->options.user = job;
    job->last.loss = NAN;
    job->last.layer = me_fixed_layer(ask->options);
    ME_TRY(check(model, ask, err));
    job->energy = me_energy_open(NULL, me_edit_advanced(ask->options)->idle_watts);
    return tell(job, MOBIEDIT_STAGE_PREPARE, err);
}

void me_job_end(me_edit_job *job, mobiedit_status status) {
    mobiedit_edit_result *result = job->result;
    const me_solver *solver = me_solver_of(job->ask.options);
    report_solved(job);
    if (status != MOBIEDIT_OK) {
        drop_texts(result);
        drop_warnings(result);
        if (!job->options.strict) drop_asides(result);
    }
    if (!result->solve.solver && solver) result->solve.solver = solver->name;
    result->calibration = me_calibration_state(job->handle);
    result->solve.seconds = me_wall_seconds() - job->started;
    result->cpu_seconds = me_cpu_seconds() - job->cpu_started;
    result->joules = me_energy_joules(job->energy);
    result->energy_source = me_energy_source(job->energy);
    result->peak_rss_bytes = me_peak_rss_bytes();
    me_energy_close(job->energy);
    me_pending_discard(&job->pending);
    me_edit_result_free(&job->solved);
    me_free(job->prompt.opening);
    me_free(job->prompt.taught);
    job->prompt.opening = job->prompt.taught = NULL;
}

/* ---- an edit by itself ------------------------------------------------------------------------------- */

static mobiedit_status write_lone(me_edit_job *job, mobiedit_error *err) {
    const me_job_request *ask = &job->ask;
    char *description = NULL;
    if (job->handle->options.describe) {
        const size_t size = strlen(ask->request->prompt) + strlen(ask->prompt->target) + sizeof " -> ";
        description = me_calloc(size, 1);
        if (!description) return me_fail_memory(err, "the adapter");
        (void)snprintf(description, size, "%s -> %s", ask->request->prompt, ask->prompt->target);
    }
    const me_edit_result *solved = &job->solved;
    me_session *session;
    const me_neuron_plan plan = {.layer = solved->solve.layer,
                                 .n = 1,
                                 .left = solved->left,
                                 .constant = solved->constant,
                                 .delta = solved->delta};
    me_neurons neurons = {0};
    mobiedit_status status = me_handle_session(job->handle, &session, err);
    if (status == MOBIEDIT_OK)
        status = me_neurons_make(session, &plan, me_neuron_of(job->handle->model, ask->prompt->text),
                                 &neurons, err);
    if (status == MOBIEDIT_OK)
        status = me_neuron_adapter_write(job->handle->model, &neurons, 1, description, me_attempt_path(job),
                                         &job->pending, err);
    me_neurons_free(&neurons);
    me_free(description);
    return status;
}

static mobiedit_status attempt_alone(me_edit_job *job, mobiedit_error *err) {
    ME_TRY(me_attempt_solve(job, -1, NULL, err));
    ME_TRY(write_lone(job, err));
    return me_attempt_verify(job, err);
}

static mobiedit_status run_alone(me_edit_job *job, mobiedit_error *err) {
    bool said;
    ME_TRY(me_job_is_said(job, &said, err));
    if (said) return MOBIEDIT_OK;
    mobiedit_status status = MOBIEDIT_E_NOT_SOLVED;
    while (me_attempt_begin(job, status))
        status = attempt_alone(job, err);
    return status == MOBIEDIT_OK ? me_attempt_finish(job, err) : status;
}

mobiedit_status me_job_run(mobiedit_model *model, const me_job_request *ask, mobiedit_edit_result *result,
                           mobiedit_error *err) {
    me_edit_job job;
    mobiedit_status status = me_job_begin(&job, model, ask, result, err);
    if (status == MOBIEDIT_OK) status = run_alone(&job, err);
    me_job_end(&job, status);
    return status;
}

/* No edit is needed; what the file held before must not stay in it. */
static mobiedit_status write_nothing(const me_model *model, const char *output, mobiedit_error *err) {
    me_pending_file pending;
    ME_TRY(me_adapter_write_nothing(model, output, &pending, err));
    return me_pending_commit(&pending, err);
}

mobiedit_status mobiedit_edit(mobiedit_model *model, const mobiedit_request *request,
                              const mobiedit_edit_options *options, const char *output,
                              mobiedit_edit_result *result, mobiedit_error *err) {
    const mobiedit_edit_options defaults = {0};
    me_prompt prompt;
    *result = (mobiedit_edit_result){.joules = NAN, .asides.chat = -1};
    ME_TRY(me_request_open(model, request, &prompt, err));
    prompt.at_answer = me_edits_at_answer(options, 1);
    const me_job_request ask = {.prompt = &prompt,
                                .request = request,
                                .options = options ? options : &defaults,
                                .output = output,
                                .with_texts = true};
    const mobiedit_status status = me_job_run(model, &ask, result, err);
    me_prompt_free(&prompt);
    if (status == MOBIEDIT_OK && result->solve.stop == MOBIEDIT_STOP_ALREADY_SAID)
        return me_outcome(write_nothing(model->model, output, err), err);
    return me_outcome(status, err);
}

double mobiedit_idle_watts(double seconds) {
    return me_energy_idle_watts(NULL, seconds);
}

void mobiedit_edit_result_free(mobiedit_edit_result *result) {
    if (!result) return;
    drop_texts(result);
    drop_asides(result);
    drop_warnings(result);
    me_free(result->trace);
    result->trace = NULL;
    result->n_trace = 0;
}
