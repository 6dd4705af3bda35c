/* Text that comes in pieces cut anywhere, given out in whole characters. */
#ifndef ME_RUNTIME_TEXT_H
#define ME_RUNTIME_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All text so far: `bytes` is zero-terminated; the first n are whole characters, `pending` bytes after them
 * begin one that has not ended. Zero-initialised by the caller; bytes freed with me_free. */
typedef struct {
    char *bytes;
    size_t n;
    size_t pending;
    size_t capacity;
} me_text;

/* Adds n bytes. Bytes that cannot be part of a character (and zeros, which would end the string) are dropped,
 * as llama-cpp-python drops them. false: out of memory. */
bool me_text_add(me_text *text, const char *bytes, size_t n);

/* Drops what is still pending. */
void me_text_end(me_text *text);

/* Cuts the text at its first newline after byte `from`; whether there was one. */
bool me_text_cut_at_newline(me_text *text, size_t from);

/* Cuts the text at byte `from` where a sentence ends there: a full stop, a question or exclamation mark, then
 * white space and no lower-case letter. Whether it does. */
bool me_text_cut_at_sentence(me_text *text, size_t from);

#endif
