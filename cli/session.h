/* The model and its ledger, as the commands on a ledger open them. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "options.h"

/* The model positional[0] and its ledger. */
typedef struct {
    mobiedit_model *model;
    mobiedit_ledger *ledger;
} ledger_session;

/* false after a one-line error; *status is then the exit status. Close in any case. */
bool ledger_session_open(ledger_session *session, const options *o, bool write, int *status);
void ledger_session_close(ledger_session *session);

/* A failure to open the ledger of an edit, with what can be done about it. */
int complain_of_ledger(const options *o, const mobiedit_error *err);

#endif
