/* The active edits of a ledger in memory, and the one adapter that they make. */
#ifndef ME_API_ACTIVE_EDITS_H
#define ME_API_ACTIVE_EDITS_H

#include "api/handle.h"
#include "edit/joint.h"
#include "edit/progress.h"
#include "store/adapter.h"
#include "store/ledger.h"

struct mobiedit_ledger {
    mobiedit_model *model;
    me_ledger *store;
    char *path;
};

typedef struct {
    me_records records;   /* with data; their own */
    me_prompt *prompts;   /* [records.n] */
    me_joint_edit *edits; /* [n_edits]: those of the records, then one more where a new edit is tried */
    int n_edits;
    bool *solved_anew;    /* [records.n]: or made longer */
    bool *looked_at;      /* [records.n]: whether me_active_look asks about it; the owner's to clear */
    bool *prolonged;      /* [records.n]: the last look heard a longer word or number than the target */
    me_joint joint;       /* of edits; empty before me_active_solve */
    int64_t generation;   /* of the ledger when it was read */
    me_progress progress; /* told before each question of me_active_look; its owner's to start */
} me_active_edits;

/* Which edits: all active ones but `without` (0: none), or of these only those of one subject. */
typedef struct {
    int64_t without;
    const me_prompt *subject; /* NULL: all */
} me_active_choice;

mobiedit_status me_active_open(mobiedit_ledger *ledger, const me_active_choice *choice, me_active_edits *out,
                               mobiedit_error *err);
void me_active_close(me_active_edits *active);

/* How many edits at the answer are active, but for one of the prompt itself (NULL: all). */
mobiedit_status me_active_at_answer(mobiedit_ledger *ledger, const me_prompt *prompt, int *n,
                                    mobiedit_error *err);

/* Puts a new edit behind the others, in place of one put there before; borrowed. NULL: none. */
void me_active_put(me_active_edits *active, const me_joint_edit *edit);

/* me_active_look tells these options' on_progress before each question from here on. */
void me_active_report(me_active_edits *active, const mobiedit_edit_options *options);

/* Solves the edits together; there must be one. */
mobiedit_status me_active_solve(mobiedit_model *model, me_active_edits *active, mobiedit_error *err);

/* The adapter of the solved edits, pending beside `path`. The runtime stays open. */
mobiedit_status me_active_write(mobiedit_model *model, const me_active_edits *active, const char *path,
                                me_pending_file *out, mobiedit_error *err);

/* Asks the runtime, with the adapter file attached, whether the records that are looked at hold: their
 * about.holds, and how many do not. Leaves the runtime open without an adapter. E_CANCELLED where their
 * progress says so. */
mobiedit_status me_active_look(mobiedit_model *model, me_active_edits *active, const char *adapter,
                               int *n_lost, mobiedit_error *err);

/* Asks the runtime without an adapter and with the file attached what the records do beside their prompts: their
 * about.asides. Leaves it as me_active_look does. */
mobiedit_status me_active_look_aside(mobiedit_ledger *ledger, me_active_edits *active, const char *adapter,
                                     mobiedit_error *err);

/* Writes the adapter of the solved edits to a temporary file, and looks with it. */
mobiedit_status me_active_try(mobiedit_ledger *ledger, me_active_edits *active, int *n_lost,
                              mobiedit_error *err);

/* Makes the records hold that were looked at and did not: by a longer delta where that is enough, else by one
 * that is solved anew; where none is found the record stays as it was. At most `most` are solved anew, from
 * record *at on and round; *at is then where to go on. They are then to be solved and looked at again. */
mobiedit_status me_active_repair(mobiedit_ledger *ledger, me_active_edits *active,
                                 const mobiedit_edit_options *options, int most, int *at,
                                 mobiedit_error *err);

/* Writes into the ledger which records were solved anew, and which of those looked at hold; inside a
 * transaction. *n_anew: how many were solved anew, and hold. */
mobiedit_status me_active_record(mobiedit_ledger *ledger, const me_active_edits *active, int *n_anew,
                                 mobiedit_error *err);

/* Whether the record is of a fact that the model said by itself: it adds nothing. */
bool me_is_said_record(const me_record *record);

/* Fills what a record tells of a solve, but for the seconds. Texts and arrays are borrowed. */
void me_record_fill(me_record *record, const me_edit_result *solved);

#endif
