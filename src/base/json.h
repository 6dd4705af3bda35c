/* JSON files and values, read with care and written to six digits. */
#ifndef ME_BASE_JSON_H
#define ME_BASE_JSON_H

#include "base/error.h"

#include <cJSON.h>

/* Parses `length` bytes; `name` stands for the file in messages, which tell line and column. A text with
 * a zero character in it, also as \u0000, is refused. *out is deleted with cJSON_Delete. E_FORMAT. */
mobiedit_status me_json_parse(const char *text, size_t length, const char *name, cJSON **out,
                              mobiedit_error *err);

/* A number to 6 significant digits; null where it is NaN. */
void me_json_add_number(cJSON *object, const char *name, double value);
/* The same for a whole number, all digits. */
void me_json_add_count(cJSON *object, const char *name, size_t value);
/* A string, or null. */
void me_json_add_text(cJSON *object, const char *name, const char *text);

#endif
