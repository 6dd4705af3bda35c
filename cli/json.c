/* Prints a JSON result and maps the outcome to an exit status. */
#include "json.h"

#include "output.h"

static bool printed;

int json_print(cJSON *object, int status) {
    char *text = cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) return complain(STATUS_MEMORY, "out of memory for the report");
    output_put(stdout, OUTPUT_JSON, text);
    print_newline();
    cJSON_free(text);
    printed = true;
    return status;
}

bool json_printed(void) {
    return printed;
}
