/* Text that grows by pieces cut anywhere, and is given out in whole characters. */
#include "runtime/text.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <string.h>

enum { MAX_CHARACTER = 4 }; /* bytes */

/* Whether n > 0 bytes that are no character begin one: some continuation makes it whole. Of the bytes that
 * may follow a lead byte, either the highest or the lowest is allowed after every one. */
static bool begins_character(const char *bytes, size_t n) {
    static const char continuations[] = {(char)0x80, (char)0xBF};
    for (size_t i = 0; i < sizeof continuations; i++)
        for (size_t length = n + 1; length <= MAX_CHARACTER; length++) {
            char whole[MAX_CHARACTER + 1] = {0};
            memset(whole, continuations[i], length);
            memcpy(whole, bytes, n);
            if (me_utf8_length(whole) == length) return true;
        }
    return false;
}

static bool reserve(me_text *text, size_t more) {
    size_t need;
    if (!me_add_size(text->n + text->pending, more, &need) || !me_add_size(need, 1, &need)) return false;
    return me_grow(&text->bytes, &text->capacity, need, 1);
}

bool me_text_add(me_text *text, const char *bytes, size_t n) {
    if (!reserve(text, n)) return false;
    size_t end = text->n + text->pending;
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != '\0') text->bytes[end++] = bytes[i];
    text->bytes[end] = '\0';
    size_t from = text->n;
    while (from < end) {
        size_t length = me_utf8_length(text->bytes + from);
        if (length == 0 && end - from < MAX_CHARACTER && begins_character(text->bytes + from, end - from))
            break;
        memmove(text->bytes + text->n, text->bytes + from, length);
        text->n += length;
        from += length ? length : 1;
    }
    text->pending = end - from;
    memmove(text->bytes + text->n, text->bytes + from, text->pending + 1);
    return true;
}

void me_text_end(me_text *text) {
    text->pending = 0;
    if (text->bytes) text->bytes[text->n] = '\0';
}

bool me_text_cut_at_newline(me_text *text, size_t from) {
    char *newline = text->n > from ? memchr(text->bytes + from, '\n', text->n - from) : NULL;
    if (!newline) return false;
    text->n = (size_t)(newline - text->bytes);
    me_text_end(text);
    return true;
}

static bool ends_sentence(char c) {
    return c == '.' || c == '!' || c == '?';
}

bool me_text_cut_at_sentence(me_text *text, size_t from) {
    if (from == 0 || text->n <= from || !ends_sentence(text->bytes[from - 1])) return false;
    if (!me_is_space(text->bytes[from])) return false;
    if (text->n > from + 1 && text->bytes[from + 1] >= 'a' && text->bytes[from + 1] <= 'z') return false;
    text->n = from;
    me_text_end(text);
    return true;
}
