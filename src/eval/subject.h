/* Where the subject of a fact is in its prompt. */
#ifndef ME_EVAL_SUBJECT_H
#define ME_EVAL_SUBJECT_H

#include "eval/fact.h"

/* Settles a fact that was read: its prompt has {} in the subject's place, and prompt, subject and target are
 * there and not empty. E_ARGUMENT with the reason if no edit can be made of the fact; E_MEMORY. */
mobiedit_status me_fact_settle(me_fact *fact, mobiedit_error *err);

#endif
