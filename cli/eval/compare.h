/* mobiedit eval --compare */
#ifndef CLI_EVAL_COMPARE_H
#define CLI_EVAL_COMPARE_H

#include "options.h"

/* positional: two results of eval --json. Returns the exit status. */
int compare_files(const options *o);

#endif
