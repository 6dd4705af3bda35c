/* What an edit and a merge come to, for people and for programs. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "json.h"
#include "options.h"

/* An edit that is done, or failed. */
typedef struct {
    const options *o; /* positional: model, prompt, target */
    mobiedit_edit_result result;
    bool recorded; /* in a ledger: */
    mobiedit_change change;
    int active;         /* edits, now */
    mobiedit_error err; /* how it ended */
} edit_report;
void report_edit(const edit_report *edit);
int report_edit_json(const edit_report *edit, int status); /* returns the exit status */

/* positional: model. Returns the exit status. */
int report_merge(const options *o, const mobiedit_merge_result *result);

/* For both kinds of report. */
double report_mebibytes(size_t bytes);
const char *report_profile(const options *o); /* "none", or the one that was asked for */

#endif
