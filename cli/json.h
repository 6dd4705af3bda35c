/* Results for programs. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include "base/json.h"
#include "command.h"

/* Prints the object on stdout and deletes it. Returns `status`, or STATUS_MEMORY if it is incomplete. */
int json_print(cJSON *object, int status);

/* The first failure that was told of as an object, unless one was printed already. */
void json_print_failure(int status);

#endif
