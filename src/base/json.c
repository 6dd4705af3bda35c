/* Parses JSON strictly, and adds numbers and texts to objects. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ----------------------------------------------------------------------------------------- */

/* Names line and column (from 1) of a byte. */
static mobiedit_status refuse_at(const char *name, const char *what, const char *text, const char *end,
                                 const char *at, mobiedit_error *err) {
    size_t line = 1, column = 1;
    for (const char *p = text; p < at && p < end; p++) {
        line += *p == '\n';
        column = *p == '\n' ? 1 : column + 1;
    }
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s: line %zu, column %zu", name, what, line, column);
}

static bool only_space(const char *text, const char *end) {
    while (text < end && *text && strchr(" \t\r\n", *text))
        text++;
    return text == end;
}

/* A zero byte, or one as an escape; NULL: none. In what was parsed it would end a string before its end. */
static const char *find_zero(const char *text, const char *end) {
    for (; text < end; text++) {
        if (*text == 0) return text;
        if (*text != '\\') continue;
        if (end - text >= 6 && memcmp(text, "\\u0000", 6) == 0) return text;
        text++; /* what the backslash stands before is no escape itself */
    }
    return NULL;
}

mobiedit_status me_json_parse(const char *text, size_t length, const char *name, cJSON **out,
                              mobiedit_error *err) {
    const char *end = text, *zero = find_zero(text, text + length);
    if (zero) return refuse_at(name, "a text with a zero character", text, text + length, zero, err);
    cJSON *root = cJSON_ParseWithLengthOpts(text, length, &end, false);
    if (!root || !only_space(end, text + length)) {
        cJSON_Delete(root);
        return refuse_at(name, "not JSON", text, text + length, end ? end : text, err);
    }
    *out = root;
    return MOBIEDIT_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

void me_json_add_number(cJSON *object, const char *name, double value) {
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%.6g", value);
    if (isfinite(value))
        (void)cJSON_AddNumberToObject(object, name, strtod(digits, NULL));
    else
        (void)cJSON_AddNullToObject(object, name);
}

void me_json_add_count(cJSON *object, const char *name, size_t value) {
    (void)cJSON_AddNumberToObject(object, name, (double)value);
}

void me_json_add_text(cJSON *object, const char *name, const char *text) {
    if (text)
        (void)cJSON_AddStringToObject(object, name, text);
    else
        (void)cJSON_AddNullToObject(object, name);
}
