/* The ledger: every edit of one model in an SQLite file. What is in it, and why: doc/ledger.md.
 *
 * The file is untrusted: its integrity is checked when it is opened, and every record that is read is checked
 * against a hash of its own and the model's sizes. */
#ifndef ME_STORE_LEDGER_H
#define ME_STORE_LEDGER_H

#include "model/model.h"

typedef struct me_ledger me_ledger;

/* fingerprint: of me_fingerprint. If `write` is set, a file that is not there is made, and removed again when it
 * is closed if nothing was recorded. A ledger of the version before is brought up to date.
 * E_IO, E_FORMAT, E_UNSUPPORTED (another version, or it cannot be brought up to date), E_MISMATCH (another
 * model's). The model outlives the ledger. */
mobiedit_status me_ledger_open(const char *path, const me_model *model, const char *fingerprint, bool write,
                               me_ledger **out, mobiedit_error *err);
void me_ledger_close(me_ledger *ledger);

/* The default place: the model's path with ".mobiedit.db" behind it. Freed with me_free; NULL: no memory. */
char *me_ledger_default_path(const me_model *model);

/* ---- records ----------------------------------------------------------------------------------------- */

/* An edit with what it was solved to. Strings and arrays are the record's own where it was read. */
typedef struct {
    mobiedit_record about;
    float *delta; /* [d_model] */
    float *keys;  /* [n_keys][d_model]: inputs of the layer's MLP, the bare prompt's first */
    int n_keys;   /* at least 1 */
} me_record;

typedef struct {
    me_record *items;
    int n;
} me_records;
void me_records_free(me_records *records);

typedef struct {
    bool active;    /* only active ones */
    int64_t id;     /* only this one; 0: all */
    bool with_data; /* delta and keys too */
} me_record_query;

/* Records by id. E_FORMAT where one is damaged. */
mobiedit_status me_ledger_read(me_ledger *ledger, const me_record_query *query, me_records *out,
                               mobiedit_error *err);

/* A number that every change of the adapter by any process raises. */
mobiedit_status me_ledger_generation(me_ledger *ledger, int64_t *out, mobiedit_error *err);

/* Id of an edit of that prompt and target, 0 where there is none: the active one, else the newest. target
 * NULL: the active edit of the prompt. */
mobiedit_status me_ledger_find(me_ledger *ledger, const char *prompt, const char *target, int64_t *id,
                               mobiedit_error *err);

/* Id of the record that came into the state last, 0 where there is none. */
mobiedit_status me_ledger_last(me_ledger *ledger, mobiedit_record_state state, int64_t *id,
                               mobiedit_error *err);

/* ---- changes ----------------------------------------------------------------------------------------- */

/* One transaction around the changes below; others wait. E_IO also if the file was removed meanwhile. Nothing is changed before me_ledger_commit. A change
 * of any edit makes another adapter, so what is known of which edits hold is forgotten. */
mobiedit_status me_ledger_begin(me_ledger *ledger, mobiedit_error *err);
mobiedit_status me_ledger_commit(me_ledger *ledger, mobiedit_error *err);
void me_ledger_rollback(me_ledger *ledger);

/* Commits if the changes went well, as status says, and rolls back if not. What went wrong first is returned. */
mobiedit_status me_ledger_end(me_ledger *ledger, mobiedit_status status, mobiedit_error *err);

/* Adds an active record; about.id, state and times are set here. There must be no active one of its prompt.
 * E_ARGUMENT where it has no keys, or too many keys or prompts to keep. */
mobiedit_status me_ledger_add(me_ledger *ledger, const me_record *record, int64_t *id, mobiedit_error *err);

/* superseded_by 0: none. */
mobiedit_status me_ledger_set_state(me_ledger *ledger, int64_t id, mobiedit_record_state state,
                                    int64_t superseded_by, mobiedit_error *err);

/* Replaces what the record was solved to: delta, keys, layer and measures. E_ARGUMENT as above. */
mobiedit_status me_ledger_replace(me_ledger *ledger, const me_record *record, mobiedit_error *err);

mobiedit_status me_ledger_set_holds(me_ledger *ledger, int64_t id, bool holds, mobiedit_error *err);

/* What the edit does beside its prompt, in the place of what was known. */
mobiedit_status me_ledger_set_asides(me_ledger *ledger, int64_t id, const mobiedit_asides *asides,
                                     mobiedit_error *err);

#endif
