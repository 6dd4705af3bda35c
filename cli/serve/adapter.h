/* The adapter of all active edits as an open file without a name: nothing is left of it when the program ends,
 * however it ends. */
#ifndef CLI_SERVE_ADAPTER_H
#define CLI_SERVE_ADAPTER_H

#include "mobiedit.h"

enum { ADAPTER_PATH = 32 };

typedef struct {
    int fd;                  /* -1: no edit is active */
    char path[ADAPTER_PATH]; /* by which the open file can be opened once more; "" where there is none */
    char *state;             /* of the ledger's active edits, for adapter_state */
} adapter;

/* What is active in the ledger, as a text that changes with it; freed with free(). NULL after a failure, told in
 * *err. */
char *adapter_state(mobiedit_ledger *ledger, mobiedit_error *err);

/* The adapter of the ledger's active edits. Closed with adapter_close. */
mobiedit_status adapter_export(mobiedit_ledger *ledger, adapter *out, mobiedit_error *err);
void adapter_close(adapter *a);

/* For mobiedit_chat_attach: NULL where no edit is active. */
const char *adapter_path(const adapter *a);

#endif
