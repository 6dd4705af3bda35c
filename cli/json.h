/* Results for programs. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include "command.h"
#include "eval/json.h"

static inline void json_add_number(cJSON *object, const char *name, double value) {
    me_json_add_number(object, name, value);
}

static inline void json_add_count(cJSON *object, const char *name, size_t value) {
    me_json_add_count(object, name, value);
}

static inline void json_add_text(cJSON *object, const char *name, const char *text) {
    me_json_add_text(object, name, text);
}

/* Prints the object on stdout and deletes it. Returns `status`, or STATUS_MEMORY where it is incomplete. */
int json_print(cJSON *object, int status);

#endif
