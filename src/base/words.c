/* Where words and numbers end, and where a space stands between two texts. */
#include "base/words.h"

#include "base/memory.h"

#include <stddef.h>
#include <string.h>
#include <utf8proc.h>

typedef utf8proc_int32_t character;
enum { NONE = -1 };

/* The first character of the text and its length in bytes; NONE: there is none. */
static character first_of(const char *text, size_t *n) {
    character c = NONE;
    const utf8proc_ssize_t length = *text ? utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &c) : 0;
    *n = length > 0 ? (size_t)length : 0;
    return length > 0 ? c : NONE;
}

/* The last character of text[0, end), and where it begins. */
static character last_of(const char *text, size_t end, size_t *begin) {
    size_t n = 0;
    *begin = end;
    while (*begin > 0 && ((unsigned char)text[--*begin] & 0xC0) == 0x80) {}
    return end > 0 ? first_of(text + *begin, &n) : NONE;
}

/* ---- characters -------------------------------------------------------------------------------------- */

static bool is_letter(character c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME);
}

static bool is_digit(character c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

static bool is_word(character c) {
    return is_letter(c) || is_digit(c);
}

static bool is_space(character c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_CC ||
           (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

static bool is_one_of(character c, const char *ascii) {
    return c > 0 && c < 0x80 && strchr(ascii, (char)c);
}

static bool is_hangul(character c) {
    const unsigned class = utf8proc_get_property(c)->boundclass;
    return class >= UTF8PROC_BOUNDCLASS_L && class <= UTF8PROC_BOUNDCLASS_LVT;
}

static bool is_katakana(character c) {
    return (c >= 0x30A1 && c <= 0x30FF) || (c >= 0x31F0 && c <= 0x31FF) || (c >= 0xFF66 && c <= 0xFF9F);
}

/* Letters of South-East Asian scripts, which have no width of their own to know them by: Thai and Lao,
 * Myanmar, Khmer, Tai Le and New Tai Lue, Tai Tham, Javanese, Cham with Myanmar's and Tai Viet's extensions.
 */
static bool is_south_east_asian(character c) {
    static const character blocks[][2] = {{0x0E00, 0x0EFF}, {0x1000, 0x109F}, {0x1780, 0x17FF},
                                          {0x1950, 0x19DF}, {0x1A20, 0x1AAF}, {0xA980, 0xA9DF},
                                          {0xAA00, 0xAADF}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (c >= blocks[i][0] && c <= blocks[i][1]) return true;
    return false;
}

/* A letter of a script that is written without spaces between words. */
static bool is_unspaced(character c) {
    if (!is_letter(c)) return false;
    const utf8proc_category_t category = utf8proc_category(c);
    const bool cased = category <= UTF8PROC_CATEGORY_LT;
    return is_katakana(c) || is_south_east_asian(c) ||
           (!cased && utf8proc_charwidth(c) == 2 && !is_hangul(c));
}

/* ---- ends -------------------------------------------------------------------------------------------- */

/* What may stand between two digits of one number: "2.5", "2,000", "2'000", "2 000" (no-break and thin
 * spaces), "2/3", "2:30", "2^10". */
static bool joins_digits(character c) {
    static const character others[] = {0xA0, 0x66B, 0x66C, 0x2009, 0x2019, 0x202F, 0x2044, 0xFF0C, 0xFF0E};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (c == others[i]) return true;
    return is_one_of(c, ".,'/:^");
}

static bool is_percent(character c) {
    return c == '%' || c == 0x2030 || c == 0x66A || c == 0xFF05;
}

static bool word_goes_on(character last, character next) {
    if (!is_word(next)) return false;
    if (is_katakana(last) && is_katakana(next)) return true;
    return !is_unspaced(last) && !is_hangul(last) && !is_unspaced(next) && !is_hangul(next);
}

/* The wanted text ends in `last`; what is heard behind it. */
static me_said said_until(character last, const char *after, bool complete) {
    size_t n;
    const character next = first_of(after, &n);
    if (next == NONE) return complete ? ME_SAID_WHOLE : ME_SAID_OPEN;
    if (!utf8proc_grapheme_break(last, next)) return ME_SAID_LONGER;
    if (is_word(last) && word_goes_on(last, next)) return ME_SAID_LONGER;
    if (!is_digit(last)) return ME_SAID_WHOLE;
    if (is_percent(next)) return ME_SAID_LONGER;
    if (!joins_digits(next)) return ME_SAID_WHOLE;
    const character second = first_of(after + n, &n);
    if (second == NONE) return complete ? ME_SAID_WHOLE : ME_SAID_OPEN;
    return is_digit(second) ? ME_SAID_LONGER : ME_SAID_WHOLE;
}

me_said me_said_of(const char *wanted, const char *heard, bool complete) {
    const size_t n_wanted = strlen(wanted), n_heard = strlen(heard);
    size_t begin;
    if (n_heard < n_wanted)
        return !complete && memcmp(wanted, heard, n_heard) == 0 ? ME_SAID_OPEN : ME_SAID_OTHER;
    if (memcmp(wanted, heard, n_wanted) != 0) return ME_SAID_OTHER;
    return said_until(last_of(wanted, n_wanted, &begin), heard + n_wanted, complete);
}

/* ---- words inside a text ----------------------------------------------------------------------------- */

/* How many bytes of the text read as `wanted`, letters' case aside; 0: they do not. */
static size_t match(const char *text, const char *wanted) {
    const char *at = text;
    size_t n_text, n_wanted;
    for (; *wanted; at += n_text, wanted += n_wanted) {
        const character is = first_of(at, &n_text), should = first_of(wanted, &n_wanted);
        if (is == NONE || should == NONE || utf8proc_tolower(is) != utf8proc_tolower(should)) return 0;
    }
    return (size_t)(at - text);
}

/* Whether no word or number that stands in text[0, begin) goes on with `first`. */
static bool begins_word(const char *text, size_t begin, character first) {
    size_t before = 0, n;
    const character last = last_of(text, begin, &before);
    if (last == NONE || !is_word(first)) return true;
    if (is_word(last)) return !word_goes_on(last, first);
    return !(is_digit(first) && joins_digits(last) && is_digit(last_of(text, before, &n)));
}

bool me_find_words(const char *text, size_t from, const char *wanted, size_t *begin, size_t *end) {
    size_t n;
    const character first = first_of(wanted, &n);
    if (first == NONE) return false;
    for (*begin = from; first_of(text + *begin, &n) != NONE; *begin += n) {
        const size_t length = match(text + *begin, wanted);
        size_t unused;
        *end = *begin + length;
        if (length > 0 && begins_word(text, *begin, first) &&
            said_until(last_of(text, *end, &unused), text + *end, true) == ME_SAID_WHOLE)
            return true;
    }
    return false;
}

bool me_find_same_words(const char *text, size_t from, const char *wanted, size_t *begin, size_t *end) {
    const size_t length = strlen(wanted);
    size_t n;
    for (; me_find_words(text, from, wanted, begin, end); from = *begin + n) {
        if (*end - *begin == length && memcmp(text + *begin, wanted, length) == 0) return true;
        (void)first_of(text + *begin, &n);
    }
    return false;
}

/* ---- spaces ------------------------------------------------------------------------------------------ */

/* The text, of which a part is looked at from its end on. */
typedef struct {
    const char *text;
    size_t n;       /* bytes */
    character last; /* the last character */
    size_t begin;   /* where it begins */
} ending;

static ending ending_of(const char *text, size_t n) {
    ending e = {.text = text, .n = n};
    e.last = last_of(text, n, &e.begin);
    return e;
}

static character before(const ending *e) {
    size_t begin;
    return last_of(e->text, e->begin, &begin);
}

/* Whether the last characters up to white space belong to an address: "https://www.", "www.", "info@". */
static bool in_address(const ending *e) {
    size_t begin = e->n;
    while (begin > 0 && !me_is_space(e->text[begin - 1]))
        begin--;
    const char *word = e->text + begin;
    const char *at = strchr(word, '@');
    return strstr(word, "://") || strncmp(word, "www.", strlen("www.")) == 0 || (at && at > word);
}

/* Quotes look the same at both ends. Those that stand for nothing else come in pairs. */
static bool opens_quote(const ending *e) {
    size_t count = 0;
    if (e->last == '\'') {
        const character c = before(e);
        return c == NONE || !(is_word(c) || is_one_of(c, ".!?)]"));
    }
    for (size_t i = 0; i < e->n; i++)
        count += e->text[i] == (char)e->last;
    return count % 2 != 0;
}

static bool is_symbol(character c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_SO;
}

/* Whether the symbols at the end stand by themselves, as in "x =" or "Japan ->". */
static bool stands_alone(const ending *e) {
    ending at = *e;
    while (at.last != NONE && is_symbol(at.last))
        at = ending_of(at.text, at.begin);
    return at.last == NONE || is_space(at.last);
}

static bool is_wide_punctuation(character c) {
    return is_symbol(c) && utf8proc_charwidth(c) == 2 && utf8proc_category(c) <= UTF8PROC_CATEGORY_PO;
}

/* Whether a character that ends a word, a clause or a sentence asks for a space. */
static bool asks_for_space(const ending *e, character next) {
    const character c = e->last;
    if (is_word(c)) return !is_unspaced(c);
    if (is_wide_punctuation(c) || in_address(e)) return false;
    if (is_one_of(c, ".,:'") && is_digit(next)) {
        const character digit = before(e);
        if (digit != NONE && is_digit(digit)) return false;
    }
    if (is_one_of(c, "\"'`")) return !opens_quote(e);
    if (is_one_of(c, ".,;:!?%")) return true;
    if (is_one_of(c, "+-/\\#@~^_")) return false;
    if (c == '*') return !stands_alone(e);
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_SO:
        return true;
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_CF:
        return false;
    default:
        return stands_alone(e);
    }
}

/* Whether `next` begins with what stands at the end of a word without a space. */
static bool clings(const char *next) {
    size_t n;
    const character c = first_of(next, &n), second = first_of(next + n, &n);
    const utf8proc_category_t category = utf8proc_category(c);
    if (c == '.') return second == NONE || !is_word(second);
    if (c == '\'') return second == 's' && !is_word(first_of(next + 2, &n));
    return is_one_of(c, ",;:!?%") || category == UTF8PROC_CATEGORY_PE || category == UTF8PROC_CATEGORY_PF ||
           is_wide_punctuation(c);
}

bool me_space_between(const char *text, const char *next) {
    size_t n;
    const ending e = ending_of(text, strlen(text));
    const character first = first_of(next, &n);
    if (e.last == NONE || first == NONE || is_space(e.last) || is_space(first) || clings(next)) return false;
    return asks_for_space(&e, first);
}

bool me_ends_in_word(const char *text) {
    size_t begin;
    const character c = last_of(text, strlen(text), &begin);
    return c != NONE && is_word(c);
}

/* ---- capital letters --------------------------------------------------------------------------------- */

char *me_capitalized(const char *text) {
    enum { MOST = 4 }; /* bytes of a character */
    const size_t length = strlen(text);
    char *out = length < SIZE_MAX / MOST ? me_calloc(MOST * length + 1, 1) : NULL;
    size_t to = 0, n;
    for (size_t at = 0; out && at < length; at += n) {
        size_t begin;
        const character c = first_of(text + at, &n), previous = last_of(text, at, &begin);
        if (c == NONE) n = 1; /* no UTF-8: as it is */
        if (c != NONE && (previous == NONE || is_space(previous)))
            to += (size_t)utf8proc_encode_char(utf8proc_toupper(c), (utf8proc_uint8_t *)out + to);
        else
            for (size_t i = 0; i < n; i++)
                out[to++] = text[at + i];
    }
    return out;
}
