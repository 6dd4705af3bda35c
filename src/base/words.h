/* Where a word or a number ends, and where a space stands before the next one: rules of writing that hold for
 * all scripts. All texts are UTF-8. */
#ifndef ME_BASE_WORDS_H
#define ME_BASE_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* How what was heard compares with what was wanted. */
typedef enum {
    ME_SAID_OTHER,  /* something else */
    ME_SAID_LONGER, /* a longer word or number, which only begins like it: "Bernie" for "Bern" */
    ME_SAID_OPEN,   /* more must be heard */
    ME_SAID_WHOLE,  /* it, and its end */
} me_said;

/* What was heard so far; `complete`: nothing follows.
 *
 * A wanted text that ends in a letter goes on where a letter, a digit or a combining mark follows; in a
 * number also where a decimal or thousands separator and a digit do ("2.5", "2,000", "2:30", "2/3"), or a
 * percent sign. An apostrophe, a hyphen or any other character ends it: "Lima's" is Lima. Scripts that are
 * written without spaces (Chinese, Japanese, Thai ...) and Korean, whose particles follow a word at once,
 * show no end of a word: there any next letter ends it, but for Katakana behind Katakana. */
me_said me_said_of(const char *wanted, const char *heard, bool complete);

/* Where `wanted` stands in the text from byte `from` on, as words of its own by the same rule on both sides,
 * letters' case aside: bytes [*begin, *end). False if it does so nowhere, or is empty. `from` is where a
 * character begins. */
bool me_find_words(const char *text, size_t from, const char *wanted, size_t *begin, size_t *end);

/* The same, letter by letter: "US" is not "us". */
bool me_find_same_words(const char *text, size_t from, const char *wanted, size_t *begin, size_t *end);

/* Whether a space stands between `text` and what is to follow it. Yes behind letters, digits, closing
 * brackets and quotes, and punctuation; no behind white space, behind scripts that are written without spaces
 * and their punctuation, inside an address ("https://www."), a number ("3.") or an identifier, behind an
 * opening bracket or quote, a currency sign, "+", "-", "/", "#", "@"; and none before a closing bracket, a
 * comma and the like.
 */
bool me_space_between(const char *text, const char *next);

/* Whether the last character of the text is a letter or a digit. */
bool me_ends_in_word(const char *text);

/* The text with each of its words beginning with a capital letter. Freed with me_free; NULL: out of memory. */
char *me_capitalized(const char *text);

#endif
