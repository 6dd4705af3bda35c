/* What the commands on a ledger share: opening it, records and changes as text and as JSON. */
#ifndef CLI_LEDGER_H
#define CLI_LEDGER_H

#include "json.h"
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

void report_record_header(void);
void report_record(const mobiedit_record *record);
cJSON *record_json(const mobiedit_record *record);

/* What a change did, a line for each thing beside what was asked. */
void report_change(const mobiedit_change *change);
void change_add_json(cJSON *object, const mobiedit_change *change);

/* How all active edits do together: "hold" and "drift". */
void report_together(const mobiedit_verify_summary *together);
void together_add_json(cJSON *object, const mobiedit_verify_summary *together);

/* Seconds since 1970 as local date and time. */
const char *date_text(int64_t seconds, char text[20]);

#endif
