/* How an internal function reports failure: a status, and one line of text for the person. */
#ifndef ME_BASE_ERROR_H
#define ME_BASE_ERROR_H

#include "mobiedit.h"

/* Fills *err (which may be NULL) and returns `status`, so that callers write `return me_fail(err, ...)`. */
mobiedit_status me_fail(mobiedit_error *err, mobiedit_status status, const char *format, ...)
    MOBIEDIT_PRINTF(3, 4);

/* The one message for a failed allocation. Inline, so that static analysis sees that it is a failure. */
static inline mobiedit_status me_fail_memory(mobiedit_error *err, const char *what) {
    (void)me_fail(err, MOBIEDIT_E_MEMORY, "out of memory for %s", what);
    return MOBIEDIT_E_MEMORY;
}

/* The end of a public function, which fills *err with what it returns: where it succeeded, nothing is left there of what
 * failed on the way and was tried otherwise. */
static inline mobiedit_status me_outcome(mobiedit_status status, mobiedit_error *err) {
    if (status == MOBIEDIT_OK && err) {
        err->status = MOBIEDIT_OK;
        err->message[0] = '\0';
    }
    return status;
}

#define ME_TRY(call)                                                                                         \
    do {                                                                                                     \
        mobiedit_status me_try_status_ = (call);                                                             \
        if (me_try_status_ != MOBIEDIT_OK) return me_try_status_;                                            \
    } while (0)

#endif
