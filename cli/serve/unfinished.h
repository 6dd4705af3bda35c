/* The edit that is being made, written beside the ledger for as long as it takes: a program that is closed in the
 * middle of it can offer it again. */
#ifndef CLI_SERVE_UNFINISHED_H
#define CLI_SERVE_UNFINISHED_H

#include "base/json.h"

/* The file that goes with the ledger at `ledger`. Freed with me_free; NULL: out of memory. */
char *unfinished_path(const char *ledger);

/* Writes the body of the edit's request there, for the owner alone, in place of what was there. */
mobiedit_status unfinished_write(const char *path, const cJSON *request, mobiedit_error *err);
void unfinished_remove(const char *path);

/* What was written there; NULL: there is none, or it is no request. */
cJSON *unfinished_read(const char *path);

#endif
