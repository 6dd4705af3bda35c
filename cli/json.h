/* Results for programs. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include "command.h"

#include <cJSON.h>

/* A number to 6 significant digits; null where it is NaN. */
void json_add_number(cJSON *object, const char *name, double value);
/* The same for a whole number, all digits. */
void json_add_count(cJSON *object, const char *name, size_t value);
/* A string, or null. */
void json_add_text(cJSON *object, const char *name, const char *text);

/* Prints the object on stdout and deletes it. Returns `status`, or STATUS_MEMORY where it is incomplete. */
int json_print(cJSON *object, int status);

#endif
