/* Reads the text behind an option into its member of struct options, within its bounds. */
#include "values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool value_number(const char *text, uint64_t most, uint64_t *out) {
    uint64_t value = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        const uint64_t digit = (uint64_t)(*text - '0');
        if (value > (most - digit) / 10 || digit > most) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool read_count(const option_row *row, const char *text, uint64_t *out) {
    if (value_number(text, row->most, out) && *out >= (uint64_t)row->least) return true;
    (void)complain(STATUS_USAGE, "--%s: \"%s\" is not a number from %lld to %llu", row->name, text,
                   (long long)row->least, (unsigned long long)row->most);
    return false;
}

static bool read_int(const option_row *row, const char *text, int *out) {
    uint64_t value;
    if (!read_count(row, text, &value)) return false;
    *out = (int)value;
    return true;
}

static bool read_bytes(const option_row *row, const char *text, size_t *out) {
    static const char suffixes[] = "KMG";
    char digits[32];
    const size_t n = strspn(text, "0123456789");
    const char *suffix = text[n] ? strchr(suffixes, text[n]) : NULL;
    uint64_t value = 0;
    const bool shaped = n > 0 && n < sizeof digits && (!text[n] || (suffix && !text[n + 1]));
    const int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
    (void)snprintf(digits, sizeof digits, "%.*s", (int)(n < sizeof digits ? n : sizeof digits - 1), text);
    if (shaped && value_number(digits, SIZE_MAX >> shift, &value) && value > 0) {
        *out = (size_t)value << shift;
        return true;
    }
    (void)complain(STATUS_USAGE, "--%s: \"%s\" is not a size such as 512M or 2G", row->name, text);
    return false;
}

static bool read_real(const option_row *row, const char *text, double *out) {
    char *end;
    const double value = strtod(text, &end);
    if (end != text && !*end && value >= (double)row->least && value <= (double)row->most) {
        *out = value;
        return true;
    }
    (void)complain(STATUS_USAGE, "--%s: \"%s\" is not a number such as 0.5", row->name, text);
    return false;
}

/* If nothing can be measured, nothing is subtracted. */
static bool read_watts(const option_row *row, const char *text, double *out) {
    if (strcmp(text, "measure") != 0) return read_real(row, text, out);
    const double watts = mobiedit_idle_watts(1);
    *out = watts <= (double)row->most ? watts : 0;
    return true;
}

static bool read_parts(const option_row *row, const char *text, unsigned *out) {
    static const struct {
        const char *name;
        unsigned part;
    } parts[] = {{"contrast", MOBIEDIT_WITHOUT_CONTRAST},
                 {"basis", MOBIEDIT_WITHOUT_BASIS},
                 {"stop", MOBIEDIT_WITHOUT_STOP}};
    *out = 0;
    for (const char *end; *text; text = *end ? end + 1 : end) {
        unsigned part = 0;
        end = text + strcspn(text, ",");
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            if (strlen(parts[i].name) == (size_t)(end - text) &&
                strncmp(parts[i].name, text, (size_t)(end - text)) == 0)
                part = parts[i].part;
        if (!part) {
            (void)complain(STATUS_USAGE, "--%s: \"%.*s\" is not one of contrast, basis, stop", row->name,
                           (int)(end - text), text);
            return false;
        }
        *out |= part;
    }
    return true;
}

bool value_read(const option_row *row, const char *text, options *o) {
    void *member = (char *)o + row->at;
    text_list *list;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)member = true;
        return true;
    case OPTION_TEXT:
        *(const char **)member = text;
        return true;
    case OPTION_TEXTS:
        list = member;
        list->items[list->n++] = text;
        return true;
    case OPTION_INT:
        return read_int(row, text, member);
    case OPTION_COUNT:
        return read_count(row, text, member);
    case OPTION_BYTES:
        return read_bytes(row, text, member);
    case OPTION_REAL:
        return read_real(row, text, member);
    case OPTION_WATTS:
        return read_watts(row, text, member);
    case OPTION_PARTS:
        return read_parts(row, text, member);
    }
    return false;
}
