/* Facts of one file that ask for the same prompt. */
#ifndef ME_EVAL_REPEATS_H
#define ME_EVAL_REPEATS_H

#include "eval/fact.h"

/* last[i], for each fact: the number of the last one that has its prompt and subject, which may be itself.
 * Freed with me_free. E_MEMORY. */
mobiedit_status me_last_of_prompt(const me_dataset *facts, size_t **last, mobiedit_error *err);

#endif
