/* Checks UTF-8. */
#include "base/utf8.h"

#include <stdint.h>

/* Least code point that needs 1, 2, 3, 4 bytes: anything below is an overlong form. */
static const uint32_t LEAST[] = {1, 0x80, 0x800, 0x10000};

size_t me_utf8_length(const char *text) {
    const unsigned char first = (unsigned char)text[0];
    if (first < 0x80) return first != 0;
    const size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4) return 0;
    uint32_t code = first & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) { /* the terminating zero is no continuation byte, so this stops there */
        const unsigned char next = (unsigned char)text[i];
        if ((next & 0xC0) != 0x80) return 0;
        code = code << 6 | (next & 0x3F);
    }
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code >= LEAST[n - 1] && code <= 0x10FFFF && !surrogate ? n : 0;
}

bool me_utf8_valid(const char *text) {
    while (*text) {
        const size_t n = me_utf8_length(text);
        if (n == 0) return false;
        text += n;
    }
    return true;
}
