/* One case of a data set, in whichever schema it is written. */
#ifndef ME_EVAL_SCHEMAS_H
#define ME_EVAL_SCHEMAS_H

#include "eval/fields.h"

/* Fills the fact, which is still to be settled, see subject.h. A fact read by half is freed with
 * me_fact_free. */
mobiedit_status me_read_case(const me_place *at, const cJSON *item, me_fact *fact);

#endif
