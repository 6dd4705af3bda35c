/* What an evaluation comes to, for people and for programs. */
#ifndef CLI_EVAL_REPORT_EVAL_H
#define CLI_EVAL_REPORT_EVAL_H

#include "json.h"
#include "options.h"

#include "eval/cases.h"

void report_case_header(void);
void report_case(const mobiedit_eval_case *c);

/* positional: model, facts. */
void report_eval(const options *o, const mobiedit_eval_summary *summary);
int report_eval_json(const options *o, const mobiedit_eval_summary *summary, const me_cases *cases);

#endif
