#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

mobiedit_status me_fail(mobiedit_error *err, mobiedit_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        err->status = status;
        (void)vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        /* Names out of a file or a path may hold line breaks and terminal codes. */
        for (char *c = err->message; *c; c++)
            if ((unsigned char)*c < ' ' || *c == 0x7F) *c = '?';
    }
    return status;
}

const char *mobiedit_status_name(mobiedit_status status) {
    switch (status) {
    case MOBIEDIT_OK:
        return "ok";
    case MOBIEDIT_E_ARGUMENT:
        return "argument";
    case MOBIEDIT_E_IO:
        return "io";
    case MOBIEDIT_E_FORMAT:
        return "format";
    case MOBIEDIT_E_UNSUPPORTED:
        return "unsupported";
    case MOBIEDIT_E_MISMATCH:
        return "mismatch";
    case MOBIEDIT_E_MEMORY:
        return "memory";
    case MOBIEDIT_E_NOT_SOLVED:
        return "not solved";
    case MOBIEDIT_E_NOT_VERIFIED:
        return "not verified";
    case MOBIEDIT_E_CANCELLED:
        return "cancelled";
    case MOBIEDIT_E_RUNTIME:
        return "runtime";
    }
    return "unknown";
}

const char *mobiedit_version(void) {
    return MOBIEDIT_VERSION;
}
