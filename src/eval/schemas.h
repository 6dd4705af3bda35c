/* One case of a data set, in whichever schema it is written. */
#ifndef ME_EVAL_SCHEMAS_H
#define ME_EVAL_SCHEMAS_H

#include "eval/fields.h"

/* Fills the fact; *usable is false where no edit can be made of it, see dataset.h. A fact read by half is
 * freed with me_fact_free. */
mobiedit_status me_read_case(const me_place *at, const cJSON *item, me_fact *fact, bool *usable);

void me_fact_free(me_fact *fact);

#endif
