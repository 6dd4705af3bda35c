/* One edit with its verification, in steps that mobiedit_edit, mobiedit_eval and the ledger's edit share. The
 * caller owns the job, and calls in this order:
 *
 *   me_job_begin                   then, unless me_job_is_said,
 *     while (me_attempt_begin)     as long as an attempt failed in a way that another may not:
 *       me_attempt_solve           delta and key, into job.solved
 *       the caller writes the adapter into job.pending
 *       me_attempt_verify          libllama, with it attached, says the target
 *     me_attempt_finish            the adapter appears
 *   me_job_end                     in any case
 */
#ifndef ME_API_EDIT_JOB_H
#define ME_API_EDIT_JOB_H

#include "api/asides.h"
#include "api/handle.h"
#include "base/energy.h"
#include "base/pending.h"
#include "edit/edit.h"

/* What an edit is asked for; all of it is borrowed. */
typedef struct {
    const me_prompt *prompt; /* of `request`, parsed */
    const mobiedit_request *request;
    const mobiedit_edit_options *options;
    const char *output; /* NULL: no file appears */
    const char *beside; /* a path that adapters are written beside if there is no output */
    bool with_texts;    /* also generate result->before and result->after */
} me_job_request;

typedef struct {
    mobiedit_model *handle;
    me_job_request ask;
    mobiedit_edit_options options; /* the caller's, with on_progress passing through here */
    me_prompt prompt; /* as asked, and how it is taught; what it owns is `opening` and `taught` */
    bool has_follow;  /* prompt.follow is known */
    bool prolonged;   /* the last verification heard a longer word or number than the target */
    int attempt;      /* the one at hand, from 0; -1 before the first */
    me_edit_result solved;
    me_pending_file pending;
    me_aside aside;         /* what the attempt at hand does beside its prompt */
    mobiedit_progress last; /* as last told to the caller */
    double started;         /* wall clock, seconds */
    double cpu_started;
    me_energy *energy;
    mobiedit_edit_result *result;
} me_edit_job;

/* Refuses, before any work, what cannot be done. *result holds zeros and joules NaN at first. */
mobiedit_status me_job_begin(me_edit_job *job, mobiedit_model *model, const me_job_request *ask,
                             mobiedit_edit_result *result, mobiedit_error *err);

/* Whether the model says the target already, after the prompt and in a chat: result->solve.stop tells so, and
 * result->before is filled. Never where options.force is set. */
mobiedit_status me_job_is_said(me_edit_job *job, bool *already, mobiedit_error *err);

/* Whether to make another attempt after one that ended with `last`; before the first E_NOT_SOLVED. Drops what
 * the last one left pending. */
bool me_attempt_begin(me_edit_job *job, mobiedit_status last);

/* With the job's options but for the layer: `layer` fixes another (-1: it does not). offset as me_edit_solve
 * takes it. */
mobiedit_status me_attempt_solve(me_edit_job *job, int layer, const float *offset, mobiedit_error *err);

/* The path that the attempt's adapter is to be written beside. */
const char *me_attempt_path(const me_edit_job *job);

/* Asks libllama with job->pending attached; E_NOT_VERIFIED. Leaves the runtime open. */
mobiedit_status me_attempt_verify(me_edit_job *job, mobiedit_error *err);

/* Greedy continuation of the prompt, as the runtime is attached. *out is freed with me_free. */
mobiedit_status me_job_continuation(const me_edit_job *job, me_runtime *runtime, char **out,
                                    mobiedit_error *err);

/* Fills what the result warns of: of the solved edit, with its adapter attached. */
mobiedit_status me_job_warn(me_edit_job *job, me_runtime *runtime, mobiedit_error *err);

/* The verified adapter appears at the output, if there is one. */
mobiedit_status me_attempt_finish(me_edit_job *job, mobiedit_error *err);

/* Fills what is left of the result of an edit that ended with `status`, and frees the job. */
void me_job_end(me_edit_job *job, mobiedit_status status);

/* The whole of an edit by itself, without a ledger. */
mobiedit_status me_job_run(mobiedit_model *model, const me_job_request *ask, mobiedit_edit_result *result,
                           mobiedit_error *err);

#endif
