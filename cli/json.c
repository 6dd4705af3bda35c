#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void json_add_number(cJSON *object, const char *name, double value) {
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%.6g", value);
    if (isfinite(value))
        (void)cJSON_AddNumberToObject(object, name, strtod(digits, NULL));
    else
        (void)cJSON_AddNullToObject(object, name);
}

void json_add_count(cJSON *object, const char *name, size_t value) {
    (void)cJSON_AddNumberToObject(object, name, (double)value);
}

void json_add_text(cJSON *object, const char *name, const char *text) {
    if (text)
        (void)cJSON_AddStringToObject(object, name, text);
    else
        (void)cJSON_AddNullToObject(object, name);
}

int json_print(cJSON *object, int status) {
    char *text = cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) return complain(STATUS_MEMORY, "out of memory for the report");
    (void)puts(text);
    cJSON_free(text);
    return status;
}
