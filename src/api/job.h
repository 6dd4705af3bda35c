/* One edit with its verification, as mobiedit_edit and mobiedit_eval both run it. */
#ifndef ME_API_JOB_H
#define ME_API_JOB_H

#include "mobiedit.h"

typedef struct {
    const mobiedit_request *request;
    const mobiedit_edit_options *options;
    const char *output;
    bool with_texts; /* also generate result->before and result->after */
} me_job;

/* As mobiedit_edit says; *result holds zeros and joules NaN at first. Leaves the runtime open and unattached
 * where it was needed. */
mobiedit_status me_job_run(mobiedit_model *model, const me_job *ask, mobiedit_edit_result *result,
                           mobiedit_error *err);

#endif
