#include "edit/watch.h"

#include "base/memory.h"
#include "base/usage.h"

#include <string.h>

mobiedit_status me_watch_tell(me_watch *watch, mobiedit_error *err) {
    if (!watch || !watch->on_progress) return MOBIEDIT_OK;
    watch->state.seconds = me_wall_seconds() - watch->started;
    if (watch->on_progress(watch->user, &watch->state)) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
}

mobiedit_status me_watch_trace(me_watch *watch, size_t evaluations, float loss, mobiedit_error *err) {
    if (!watch) return MOBIEDIT_OK;
    if (watch->n_trace == watch->trace_capacity) {
        size_t capacity = 2 * watch->trace_capacity + 16;
        mobiedit_trace_point *trace = me_calloc(capacity, sizeof *trace);
        if (!trace) return me_fail_memory(err, "the loss curve");
        if (watch->n_trace) memcpy(trace, watch->trace, watch->n_trace * sizeof *trace);
        me_free(watch->trace);
        watch->trace = trace;
        watch->trace_capacity = capacity;
    }
    watch->trace[watch->n_trace++] = (mobiedit_trace_point){.evaluations = evaluations, .loss = loss};
    return MOBIEDIT_OK;
}
