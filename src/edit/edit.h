/* From a request to delta and what it fires at: carriers, value, key. Writes nothing. */
#ifndef ME_EDIT_EDIT_H
#define ME_EDIT_EDIT_H

#include "edit/prompt.h"
#include "engine/engine.h"

/* What is kept of a model between edits: background keys and probe bases by layer. */
typedef struct me_session me_session;
mobiedit_status me_session_open(me_engine *engine, const me_vocab *vocab, me_session **out,
                                mobiedit_error *err);
void me_session_close(me_session *session);

/* The layer that is edited where nobody names one, and in a session, which may be calibrated. */
int me_default_layer(const me_model *model);
int me_answer_layer(const me_model *model); /* of edits at the answer */
int me_usual_layer(const me_session *session, bool at_answer);

/* Whether an edit by these options (NULL: the defaults) is made where the answer begins; with it there are n
 * such edits in its ledger, or by itself 1. */
bool me_edits_at_answer(const mobiedit_edit_options *options, int n);

/* A finished edit, ready for the adapter. */
typedef struct {
    mobiedit_solve_stats solve; /* but for the seconds */
    float *left, *constant;     /* [d]: what the edit's neuron reads with (neuron.h) */
    float *delta;               /* [d]: what it adds to the MLP's output */
    float *keys;                /* [n_keys][d]: the subject's, the bare prompt's first; what `left` is 1 on */
    int n_keys;
    mobiedit_trace_point *trace;
    size_t n_trace;
} me_edit_result;

/* The layer that the options fix, or -1; and a copy of them that fixes it (-1: that does not). */
int me_fixed_layer(const mobiedit_edit_options *options);
mobiedit_edit_options me_fix_layer(const mobiedit_edit_options *options, int layer);

/* The advanced options, or the defaults. */
const struct mobiedit_edit_advanced *me_edit_advanced(const mobiedit_edit_options *options);

/* Solves for delta, left and constant. offset [d]: what other edits add at the subject already (NULL:
 * nothing), which delta comes on top of. attempt 0 is the normal edit; higher attempts (after a failed
 * verification in the runtime, or where no delta was found) demand more margin and take another layer;
 * `result` carries the counts over, and a budget that the user names is for all attempts together.
 * E_NOT_SOLVED with `result` filled where no delta says the target. Free with me_edit_result_free in any
 * case. */
mobiedit_status me_edit_solve(me_session *session, const me_prompt *prompt, const mobiedit_request *request,
                              const mobiedit_edit_options *options, const float *offset, int attempt,
                              me_edit_result *result, mobiedit_error *err);
enum { ME_EDIT_ATTEMPTS = 3 };

/* Wall clock of what an edit is made of. */
typedef struct {
    double fixed;      /* everything but the search for delta */
    double evaluation; /* of that, one delta on one prompt in a batch, scored */
} me_edit_seconds;

/* Runs each part once, on a request whose edit is thrown away. */
mobiedit_status me_edit_time(me_session *session, const me_prompt *prompt, const mobiedit_request *request,
                             const mobiedit_edit_options *options, me_edit_seconds *out, mobiedit_error *err);

/* The keys at `layer` of where a prompt is edited, in its carriers and, of an edit at the subject, in neutral
 * contexts, the bare prompt's first: *keys [*n][d], freed with me_free. */
mobiedit_status me_edit_subject_keys(me_session *session, const me_prompt *prompt, int layer, float **keys,
                                     int *n, mobiedit_error *err);
void me_edit_result_free(me_edit_result *result);

#endif
