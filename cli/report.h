/* What an edit and a merge come to, for people and for programs. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "json.h"
#include "options.h"

/* positional: model, prompt, target. change: NULL without a ledger. */
void report_edit(const options *o, const mobiedit_edit_result *result, const mobiedit_change *change);
/* `err` tells how the edit ended, also where it failed. Returns the exit status. */
int report_edit_json(const options *o, const mobiedit_edit_result *result, const mobiedit_change *change,
                     const mobiedit_error *err, int status);

/* positional: model. Returns the exit status. */
int report_merge(const options *o, const mobiedit_merge_result *result);

/* For both kinds of report. */
double report_mebibytes(size_t bytes);
const char *report_profile(const options *o); /* "none", or the one that was asked for */

#endif
