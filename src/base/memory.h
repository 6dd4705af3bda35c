/* Checked allocation. Sizes are counts times element sizes; a product
 * that overflows fails like a full heap. */
#ifndef ME_BASE_MEMORY_H
#define ME_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* a * b into *out; false on overflow. */
bool me_mul_size(size_t a, size_t b, size_t *out);
bool me_add_size(size_t a, size_t b, size_t *out);

/* Zeroed, aligned to 64 bytes (a cache line, and the widest vector), freed with me_free. NULL on failure.
 * n or size 0 gives a valid pointer. */
void *me_calloc(size_t n, size_t size);
void me_free(void *p);

/* Makes room for n elements of `size` bytes in an array that has room for *capacity: &items of a pointer to
 * elements from me_calloc, or to NULL with capacity 0. It at least doubles, and what is new in it is zero.
 * False if memory runs out; the array is then as it was. */
bool me_grow(void *items, size_t *capacity, size_t n, size_t size);

/* A copy of a string or of n bytes (zero-terminated); NULL on failure. Freed with me_free. */
char *me_strdup(const char *text);
char *me_strndup(const char *text, size_t n);

/* Both, one behind the other; NULL on failure. Freed with me_free. */
char *me_strjoin(const char *first, const char *second);

/* Whether the text's last bytes are those of `end`. */
bool me_ends_with(const char *text, const char *end);

/* Whether the byte is white space, whatever the locale. */
bool me_is_space(char c);

/* Takes white space off both ends of the text, in place. NULL is fine. */
void me_trim(char *text);

#endif
