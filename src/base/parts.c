/* Reads and makes the names of the files of a split model. */
#include "base/parts.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum { DIGITS = 5 };

/* -1: not all of them are digits. */
static int read_digits(const char *text) {
    int value = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        value = 10 * value + (text[i] - '0');
    }
    return value;
}

bool me_part_name_read(const char *path, me_part_name *out) {
    static const char form[] = "-00001-of-00001.gguf";
    enum { AT_NO = 1, AT_OF = AT_NO + DIGITS, AT_N = AT_OF + 4, AT_END = AT_N + DIGITS };
    const size_t n = strlen(path), length = sizeof form - 1;
    if (n <= length) return false;
    const char *end = path + n - length;
    if (end[0] != '-' || strncmp(end + AT_OF, "-of-", AT_N - AT_OF) != 0 ||
        strcmp(end + AT_END, ".gguf") != 0)
        return false;
    const me_part_name found = {
        .no = read_digits(end + AT_NO), .n = read_digits(end + AT_N), .length = n - length};
    if (found.no < 1 || found.n < found.no) return false;
    *out = found;
    return true;
}

char *me_part_path(const char *path, const me_part_name *name, int no) {
    const size_t size = name->length + 64;
    char *out = me_calloc(size, 1);
    if (out) (void)snprintf(out, size, "%.*s-%05d-of-%05d.gguf", (int)name->length, path, no, name->n);
    return out;
}
