/* Checked reading of the fields of a case. */
#ifndef ME_EVAL_FIELDS_H
#define ME_EVAL_FIELDS_H

#include "eval/fact.h"

#include <cJSON.h>

/* The case at hand, for messages. */
typedef struct {
    const char *file;
    size_t index;
    mobiedit_error *err;
} me_place;

/* "FILE: case INDEX: FIELD WHAT", E_FORMAT. */
mobiedit_status me_refuse_field(const me_place *at, const char *field, const char *what);

/* The first of the names (ended by NULL) that the object has with a value other than null; *name is it, or
 * the first name where none is there. */
const cJSON *me_field(const cJSON *object, const char *const *names, const char **name);

/* A string that must be there and not empty. */
mobiedit_status me_copy_text(const me_place *at, const cJSON *item, const char *field, char **out);

/* A string that may be missing, null or empty: *out stays as it is. */
mobiedit_status me_copy_optional(const me_place *at, const cJSON *item, const char *field, char **out);

/* Strings: of a list or lists of lists (all their strings, the empty ones left out), or one by itself. */
mobiedit_status me_copy_strings(const me_place *at, const cJSON *item, const char *field, me_texts *out);

/* A list of strings, none of them empty. One that is missing or null is empty. */
mobiedit_status me_copy_texts(const me_place *at, const cJSON *list, const char *field, me_texts *out);

/* Adds a prompt with its answers (NULL: none). */
mobiedit_status me_add_item(const me_place *at, const cJSON *prompt, const cJSON *answers, const char *field,
                            me_items *out);

/* Adds questions: {"prompt", "ground_truth"}, a list of such, or an object of such lists by name. Those
 * without an answer are left out. */
mobiedit_status me_add_questions(const me_place *at, const cJSON *item, const char *field, me_items *out);

#endif
