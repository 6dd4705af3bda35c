/* Well-formed text: what is handed to tokenizers and written into JSON must be UTF-8. */
#ifndef ME_BASE_UTF8_H
#define ME_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the well-formed UTF-8 character at text (zero-terminated), 0 where there is none: at the end, or
 * where the bytes are overlong, a surrogate, past U+10FFFF, or cut short. */
size_t me_utf8_length(const char *text);

bool me_utf8_valid(const char *text);

#endif
