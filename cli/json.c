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

void json_print_failure(int status) {
    if (printed) return;
    const char *message, *kind = first_failure(status, &message);
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "version", mobiedit_version());
    me_json_add_text(object, "status", kind);
    me_json_add_number(object, "exit_status", status);
    me_json_add_text(object, "message", message);
    (void)json_print(object, status);
}
