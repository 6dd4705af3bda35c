/* Finished cases of an evaluation, and what they are in JSON. */
#ifndef ME_EVAL_CASES_H
#define ME_EVAL_CASES_H

#include "base/error.h"

#include <cJSON.h>

/* Cases whose text is owned. Zero it before the first. */
typedef struct {
    mobiedit_eval_case *items;
    size_t n, capacity;
} me_cases;

/* Adds a copy. */
mobiedit_status me_cases_add(me_cases *cases, const mobiedit_eval_case *added, mobiedit_error *err);
void me_cases_free(me_cases *cases);

/* Frees the texts of n sayings, and the list. */
void me_said_free(const mobiedit_said *said, size_t n);

/* NULL where memory runs out. Deleted with cJSON_Delete. */
cJSON *me_case_to_json(const mobiedit_eval_case *done);

/* Adds the case that the object stands for: untrusted, as every file. A metric that is missing or null is
 * NaN. `where` begins the message of a refusal. */
mobiedit_status me_cases_add_json(me_cases *cases, const cJSON *object, const char *where,
                                  mobiedit_error *err);

#endif
