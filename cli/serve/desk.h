/* What `mobiedit serve` works at: the model that is talked with, its ledger, and the one job that changes the
 * ledger. Several threads may use it at once. */
#ifndef CLI_SERVE_DESK_H
#define CLI_SERVE_DESK_H

#include "options.h"
#include "serve/requests.h"

typedef struct desk desk;

/* Loads the model, opens the ledger and attaches its edits. Returns an exit status, not 0 after a one-line error.
 * `o` must outlive it. */
int desk_open(const options *o, desk **out);

/* Ends what is under way; what is asked from then on fails with E_CANCELLED. */
void desk_stop(desk *d);
void desk_close(desk *d); /* NULL is fine */

/* The model, the job, all edits and which of them are attached, as doc/serve.yaml has it; deleted by the caller.
 * NULL: out of memory, or the ledger cannot be read (told in *err). Begins to attach what another program has
 * changed in the ledger. */
cJSON *desk_state(desk *d, mobiedit_error *err);

/* The model's answer with the edits that are attached; E_MEMORY also where too many others wait. */
mobiedit_status desk_ask(desk *d, const ask_request *ask, bool (*on_text)(void *user, const char *piece),
                         void *user, mobiedit_error *err);

/* mobiedit_propose; E_MEMORY also where too many others wait. */
mobiedit_status desk_propose(desk *d, const propose_request *propose, mobiedit_proposal *out,
                             mobiedit_error *err);

/* How a job began. */
typedef enum { DESK_STARTED, DESK_BUSY, DESK_REFUSED, DESK_FAILED } desk_outcome;

typedef enum { JOB_ATTACH, JOB_EDIT, JOB_UNDO, JOB_REDO, JOB_VERIFY, JOB_MERGE } job_kind;

/* Begins a job, whose request is `json`; of JOB_UNDO and JOB_REDO the edit `id`. Takes over the JSON in any case.
 * Where it is not started, *err says why. */
desk_outcome desk_start(desk *d, job_kind kind, cJSON *json, int64_t id, mobiedit_error *err);

/* The job that is under way, or the last one; deleted by the caller. NULL: out of memory. cJSON's null: none. */
cJSON *desk_job(desk *d);

/* Asks the job under way to end. */
void desk_cancel(desk *d);

/* Forgets the edit that an earlier run of the program did not finish. */
void desk_forget_unfinished(desk *d);

/* The adapter of all active edits, as an open file that the caller closes; -1: no edit is active. */
int desk_adapter(desk *d);

/* The model's file without its folder and ".gguf". */
const char *desk_name(const desk *d);

#endif
