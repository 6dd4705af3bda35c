/* Checked allocation, sizes that cannot overflow, and copies of strings. */
#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

bool me_mul_size(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

bool me_add_size(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

void *me_calloc(size_t n, size_t size) {
    size_t bytes;
    if (!me_mul_size(n, size, &bytes) || bytes > SIZE_MAX - 2 * (size_t)ALIGNMENT) return NULL;
    bytes = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    void *p = aligned_alloc(ALIGNMENT, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void me_free(void *p) {
    free(p);
}

bool me_grow(void *items, size_t *capacity, size_t n, size_t size) {
    enum { LEAST = 16 };
    size_t larger;
    void *old, *grown;
    if (n <= *capacity) return true;
    if (!me_mul_size(2, *capacity, &larger) || larger < n) larger = n;
    if (larger < LEAST) larger = LEAST;
    if (!(grown = me_calloc(larger, size))) return false;
    memcpy(&old, items, sizeof old); /* a pointer to elements of any type */
    if (*capacity) memcpy(grown, old, *capacity * size);
    me_free(old);
    memcpy(items, &grown, sizeof grown);
    *capacity = larger;
    return true;
}

char *me_strndup(const char *text, size_t n) {
    char *copy = n < SIZE_MAX ? me_calloc(n + 1, 1) : NULL;
    if (copy) memcpy(copy, text, n);
    return copy;
}

bool me_ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

bool me_is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void me_trim(char *text) {
    if (!text) return;
    size_t begin = 0, end = strlen(text);
    while (end > 0 && me_is_space(text[end - 1]))
        end--;
    while (begin < end && me_is_space(text[begin]))
        begin++;
    memmove(text, text + begin, end - begin);
    text[end - begin] = 0;
}

char *me_strdup(const char *text) {
    return me_strndup(text, strlen(text));
}

char *me_strjoin(const char *first, const char *second) {
    const size_t n_first = strlen(first), n_second = strlen(second), size = n_first + n_second + 1;
    char *whole = n_first < SIZE_MAX - n_second ? me_calloc(size, 1) : NULL;
    if (whole) (void)snprintf(whole, size, "%s%s", first, second);
    return whole;
}
