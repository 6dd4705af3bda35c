/* Checks UTF-8. */
#include "base/utf8.h"

#include <utf8proc.h>

size_t me_utf8_length(const char *text) {
    utf8proc_int32_t code;
    /* The terminating zero is no continuation byte: nothing behind it is read. */
    const utf8proc_ssize_t n = *text ? utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &code) : 0;
    return n > 0 ? (size_t)n : 0;
}

bool me_utf8_valid(const char *text) {
    while (*text) {
        const size_t n = me_utf8_length(text);
        if (n == 0) return false;
        text += n;
    }
    return true;
}
