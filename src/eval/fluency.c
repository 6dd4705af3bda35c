/* How varied the words of a text are: its n-gram entropy, and whether it goes in circles. */
#include "eval/fluency.h"

#include "base/memory.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

typedef struct {
    const char *begin;
    size_t length;
} word;

static bool is_letter(char c) {
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* words: room for strlen(text) of them; how many there are. */
static size_t cut_words(const char *text, word *words) {
    size_t n = 0;
    while (*text) {
        if (isspace((unsigned char)*text)) {
            text++;
            continue;
        }
        const char *end = text + 1;
        while (is_letter(*text) && is_letter(*end))
            end++;
        words[n++] = (word){.begin = text, .length = (size_t)(end - text)};
        text = end;
    }
    return n;
}

static bool same(const word *a, const word *b, size_t order) {
    for (size_t i = 0; i < order; i++)
        if (a[i].length != b[i].length || memcmp(a[i].begin, b[i].begin, a[i].length) != 0) return false;
    return true;
}

/* Entropy of the n-grams of `order` words. Each of n occurrences adds -log2(its n-gram's count / n) / n, so
 * no table of distinct ones is needed. */
static double entropy(const word *words, size_t n_words, size_t order) {
    if (n_words < order) return 0;
    const size_t n = n_words - order + 1;
    double bits = 0;
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;
        for (size_t k = 0; k < n; k++)
            count += same(words + i, words + k, order);
        bits -= log2((double)count / (double)n) / (double)n;
    }
    return bits;
}

mobiedit_status me_ngram_entropy(const char *text, double *bits, mobiedit_error *err) {
    word *words = me_calloc(strlen(text), sizeof *words);
    if (!words) return me_fail_memory(err, "the words of a text");
    const size_t n = cut_words(text, words);
    *bits = (2.0 / 3.0 * entropy(words, n, 2) + 4.0 / 3.0 * entropy(words, n, 3)) / 2;
    me_free(words);
    return MOBIEDIT_OK;
}

enum { LOOP_WORDS = 3, LOOP_TIMES = 5 };

static bool occurs_often(const word *words, size_t n, size_t i) {
    int times = 0;
    for (size_t k = i; k + LOOP_WORDS <= n && times < LOOP_TIMES; k++)
        times += same(words + i, words + k, LOOP_WORDS);
    return times == LOOP_TIMES;
}

mobiedit_status me_repeats_itself(const char *text, bool *repeats, mobiedit_error *err) {
    word *words = me_calloc(strlen(text), sizeof *words);
    if (!words) return me_fail_memory(err, "the words of a text");
    const size_t n = cut_words(text, words);
    *repeats = false;
    for (size_t i = 0; i + LOOP_WORDS <= n && !*repeats; i++)
        *repeats = occurs_often(words, n, i);
    me_free(words);
    return MOBIEDIT_OK;
}
