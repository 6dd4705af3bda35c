/* Parses JSON strictly, and adds numbers and texts to objects. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ----------------------------------------------------------------------------------------- */

/* Line and column (from 1) of a byte, for the place of a syntax error. */
static mobiedit_status refuse_syntax(const char *name, const char *text, const char *end, const char *at,
                                     mobiedit_error *err) {
    size_t line = 1, column = 1;
    for (const char *p = text; p < at && p < end; p++) {
        line += *p == '\n';
        column = *p == '\n' ? 1 : column + 1;
    }
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s: not JSON: line %zu, column %zu", name, line, column);
}

static bool only_space(const char *text, const char *end) {
    while (text < end && *text && strchr(" \t\r\n", *text))
        text++;
    return text == end;
}

mobiedit_status me_json_parse(const char *text, size_t length, const char *name, cJSON **out,
                              mobiedit_error *err) {
    const char *end = text;
    cJSON *root = cJSON_ParseWithLengthOpts(text, length, &end, false);
    if (!root || !only_space(end, text + length)) {
        cJSON_Delete(root);
        return refuse_syntax(name, text, text + length, end ? end : text, err);
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
