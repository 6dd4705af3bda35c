/* Opens the model and its ledger for a command, and explains a ledger that cannot be opened. */
#include "session.h"

#include <stdio.h>

bool ledger_session_open(ledger_session *session, const options *o, bool write, int *status) {
    mobiedit_error err = {0};
    *session = (ledger_session){0};
    if (mobiedit_open(o->positional[0], &o->model, &session->model, &err) == MOBIEDIT_OK &&
        mobiedit_ledger_open(session->model, o->ledger, write, &session->ledger, &err) == MOBIEDIT_OK)
        return true;
    *status = complain_of(&err);
    return false;
}

void ledger_session_close(ledger_session *session) {
    mobiedit_ledger_close(session->ledger);
    mobiedit_close(session->model);
}

int complain_of_ledger(const options *o, const mobiedit_error *err) {
    if (err->status != MOBIEDIT_E_IO || o->ledger) return complain_of(err);
    mobiedit_error longer = *err;
    (void)snprintf(longer.message, sizeof longer.message,
                   "%.400s (--ledger FILE: elsewhere; --no-ledger: none)", err->message);
    return complain_of(&longer);
}
