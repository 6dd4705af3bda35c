/* mobiedit_time_edit: what an edit takes on this machine, reckoned from each of its parts run once. */
#include "api/handle.h"
#include "base/usage.h"

enum {
    /* Calibrated models of 135 to 494 million weights take 477, 614 and 670 in the mean over 102 facts (README.md). */
    USUAL_EVALUATIONS = 600,
    /* libllama's passes when an edit is verified, three tokens each in the mean, and how many of a prompt are timed. */
    VERIFY_PASSES = 35,
    TIMED_PASSES = 8,
};

static const mobiedit_request FACT = {.prompt = "The capital of {Japan} is", .target = "Lima"};

static mobiedit_status solve_parts(mobiedit_model *model, const me_prompt *prompt,
                                   const mobiedit_edit_options *options, me_edit_seconds *out,
                                   mobiedit_error *err) {
    me_session *session;
    const double started = me_wall_seconds();
    ME_TRY(me_handle_session(model, &session, err));
    const double opened = me_wall_seconds();
    ME_TRY(me_edit_time(session, prompt, &FACT, options, out, err));
    out->fixed += opened - started;
    return MOBIEDIT_OK;
}

static mobiedit_status verify_parts(mobiedit_model *model, const me_prompt *prompt, double *seconds,
                                    mobiedit_error *err) {
    me_runtime *runtime;
    me_token next;
    const double started = me_wall_seconds();
    ME_TRY(me_handle_runtime(model, &runtime, err));
    const double loaded = me_wall_seconds();
    for (int i = 0; i < TIMED_PASSES; i++)
        ME_TRY(me_runtime_next_token(runtime, prompt->text, &next, err));
    *seconds = loaded - started + VERIFY_PASSES * (me_wall_seconds() - loaded) / TIMED_PASSES;
    return MOBIEDIT_OK;
}

static mobiedit_status measure(mobiedit_model *model, const me_prompt *prompt,
                               const mobiedit_edit_options *options, mobiedit_edit_time *out,
                               mobiedit_error *err) {
    const double started = me_wall_seconds();
    const size_t most = options->max_evaluations;
    me_edit_seconds solve;
    double verify;
    ME_TRY(solve_parts(model, prompt, options, &solve, err));
    ME_TRY(verify_parts(model, prompt, &verify, err));
    const size_t n = most && most < USUAL_EVALUATIONS ? most : USUAL_EVALUATIONS;
    *out = (mobiedit_edit_time){.seconds = solve.fixed + (double)n * solve.evaluation + verify,
                                .evaluations = n,
                                .evaluations_a_second = 1 / solve.evaluation,
                                .measured_seconds = me_wall_seconds() - started};
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_time_edit(mobiedit_model *model, const mobiedit_edit_options *options,
                                   mobiedit_edit_time *out, mobiedit_error *err) {
    const mobiedit_edit_options defaults = {0};
    me_prompt prompt;
    if (!options) options = &defaults;
    ME_TRY(me_check_edit_options(model, options, err));
    ME_TRY(me_request_open(model, &FACT, &prompt, err));
    prompt.at_answer = me_edits_at_answer(options, 1);
    const mobiedit_status status = measure(model, &prompt, options, out, err);
    me_prompt_free(&prompt);
    return me_outcome(status, err);
}
