/* What an edit and an evaluation come to, for people and for programs. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "json.h"
#include "options.h"

#include "eval/cases.h"

/* positional: model, prompt, target. change: NULL without a ledger. */
void report_edit(const options *o, const mobiedit_edit_result *result, const mobiedit_change *change);
/* `err` tells how the edit ended, also where it failed. Returns the exit status. */
int report_edit_json(const options *o, const mobiedit_edit_result *result, const mobiedit_change *change,
                     const mobiedit_error *err, int status);

/* positional: model. Returns the exit status. */
int report_merge(const options *o, const mobiedit_merge_result *result);

void report_case_header(void);
void report_case(const mobiedit_eval_case *c);

/* positional: model, facts. */
void report_eval(const options *o, const mobiedit_eval_summary *summary);
int report_eval_json(const options *o, const mobiedit_eval_summary *summary, const me_cases *cases);

#endif
