/* Fills a mobiedit_error, and tells the library's version. */
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

const char *mobiedit_version(void) {
    return MOBIEDIT_VERSION;
}
