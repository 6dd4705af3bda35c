/* Prints a JSON result and maps the outcome to an exit status. */
#include "json.h"

#include <stdio.h>

int json_print(cJSON *object, int status) {
    char *text = cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) return complain(STATUS_MEMORY, "out of memory for the report");
    (void)puts(text);
    cJSON_free(text);
    return status;
}
