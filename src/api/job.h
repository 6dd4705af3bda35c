/* One edit with its verification, as mobiedit_edit and mobiedit_eval both run it. */
#ifndef ME_API_JOB_H
#define ME_API_JOB_H

#include "edit/edit.h"
#include "runtime/runtime.h"
#include "store/adapter.h"

/* What a ledger does otherwise than an edit by itself. `user` is passed to all. */
typedef struct {
    /* Before the solve of an attempt: may set options->layer, and gives what other edits add at the subject
     * already (as me_edit_solve takes it; borrowed until the next call). */
    mobiedit_status (*prepare)(void *user, int attempt, mobiedit_edit_options *options, const float **offset,
                               mobiedit_error *err);
    /* The adapter to verify, pending beside `path`. */
    mobiedit_status (*write)(void *user, const me_edit_result *solved, const char *path, me_pending_file *out,
                             mobiedit_error *err);
    /* After the runtime says the target with that adapter: keeps the edit, or asks for the adapter to be
     * written and verified again. `before` and `after` are the texts, where they are known. */
    mobiedit_status (*keep)(void *user, const me_edit_result *solved, const char *adapter,
                            const mobiedit_edit_result *result, bool *again, mobiedit_error *err);
    void *user;
} me_job_ledger;

typedef struct {
    const mobiedit_request *request;
    const mobiedit_edit_options *options;
    const char *output;
    const char *work_path;       /* where output is NULL: a path that adapters can be written beside */
    const me_job_ledger *ledger; /* NULL: an edit by itself */
    bool with_texts;             /* also generate result->before and result->after */
} me_job;

/* As mobiedit_edit says; *result holds zeros and joules NaN at first. Leaves the runtime open and unattached
 * where it was needed. */
mobiedit_status me_job_run(mobiedit_model *model, const me_job *ask, mobiedit_edit_result *result,
                           mobiedit_error *err);

#endif
