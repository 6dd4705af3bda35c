/* The ledger's records and changes, as text and as JSON. */
#ifndef CLI_RECORDS_H
#define CLI_RECORDS_H

#include "json.h"

/* What a search took and found, from its rounds to its seconds. */
void search_add_json(cJSON *object, const mobiedit_solve_stats *solve);

void report_record_header(void);
void report_record(const mobiedit_record *record);
cJSON *record_json(const mobiedit_record *record);

/* What an edit does beside its prompt: in a chat, and to other things about its subject. In one line, inside a
 * line, and as "chat", "others", "others_unchanged", "others_changed" and "others_same". */
void report_asides(const char *prompt, const mobiedit_asides *asides);
void print_asides_shortly(const mobiedit_asides *asides);
void asides_add_json(cJSON *object, const mobiedit_asides *asides);

/* What an edit warns of: "high_loss" and "known_as". */
void warnings_add_json(cJSON *object, bool high_loss, const char *known_as);

/* How many edits are active, without facts that the model says by itself; -1 after a one-line error, with the exit status in *status. */
int count_active(mobiedit_ledger *ledger, int *status);

/* The adapter that was written, and of how many edits. */
void report_adapter(const char *path, int active);
void adapter_add_json(cJSON *object, const char *path, int active);

/* What a change did, a line for each thing beside what was asked. */
void report_change(const mobiedit_change *change);
void change_add_json(cJSON *object, const mobiedit_change *change);

/* How all active edits do together: "hold" and "drift". */
void report_together(const mobiedit_verify_summary *together);
void together_add_json(cJSON *object, const mobiedit_verify_summary *together);

/* Seconds since 1970 as local date and time. */
const char *date_text(int64_t seconds, char text[20]);

#endif
