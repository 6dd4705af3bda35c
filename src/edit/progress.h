/* What the caller sees of an edit while it runs, and the curve that is kept of it. */
#ifndef ME_EDIT_PROGRESS_H
#define ME_EDIT_PROGRESS_H

#include "base/error.h"

typedef struct {
    mobiedit_progress_fn on_progress; /* may be NULL */
    void *user;
    double started;          /* wall clock of the start, seconds */
    mobiedit_progress state; /* the last one told */
    mobiedit_trace_point *trace;
    size_t n_trace, trace_capacity;
} me_progress;

/* Tells the caller progress->state (a NULL progress tells nobody).
 * E_CANCELLED where the answer is to stop. */
mobiedit_status me_progress_tell(me_progress *progress, mobiedit_error *err);

/* Adds a point to the curve. */
mobiedit_status me_progress_trace(me_progress *progress, size_t evaluations, float loss, mobiedit_error *err);

#endif
