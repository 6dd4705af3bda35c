/* Tells the caller how far an edit is, and keeps the curve of its loss. */
#include "edit/progress.h"

#include "base/memory.h"
#include "base/usage.h"

mobiedit_status me_progress_tell(me_progress *progress, mobiedit_error *err) {
    if (!progress || !progress->on_progress) return MOBIEDIT_OK;
    progress->state.seconds = me_wall_seconds() - progress->started;
    if (progress->on_progress(progress->user, &progress->state)) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
}

mobiedit_status me_progress_trace(me_progress *progress, size_t evaluations, float loss,
                                  mobiedit_error *err) {
    if (!progress) return MOBIEDIT_OK;
    if (!me_grow(&progress->trace, &progress->trace_capacity, progress->n_trace + 1, sizeof *progress->trace))
        return me_fail_memory(err, "the loss curve");
    progress->trace[progress->n_trace++] = (mobiedit_trace_point){.evaluations = evaluations, .loss = loss};
    return MOBIEDIT_OK;
}
