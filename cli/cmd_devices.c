/* mobiedit devices */
#include "json.h"
#include "options.h"
#include "output.h"

#include <stdio.h>

static const option_row TABLE[] = {OPTION_ROW_JSON, OPTION_ROW_END};

static void add_kernels(cJSON *item, const char *const *kernels) {
    cJSON *list = cJSON_AddArrayToObject(item, "kernels");
    for (; *kernels; kernels++)
        (void)cJSON_AddItemToArray(list, cJSON_CreateString(*kernels));
}

static int print_json(const mobiedit_device *devices, size_t n) {
    cJSON *object = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(object, "devices");
    for (size_t i = 0; i < n; i++) {
        cJSON *item = cJSON_CreateObject();
        me_json_add_text(item, "name", devices[i].name);
        me_json_add_text(item, "kind", devices[i].kind);
        me_json_add_text(item, "description", devices[i].description);
        me_json_add_count(item, "memory_free_bytes", devices[i].memory_free);
        me_json_add_count(item, "memory_total_bytes", devices[i].memory_total);
        if (devices[i].kernels) add_kernels(item, devices[i].kernels);
        (void)cJSON_AddItemToArray(list, item);
    }
    return json_print(object, list ? STATUS_DONE : STATUS_MEMORY);
}

static int print_table(const mobiedit_device *devices, size_t n) {
    const double mib = 1024.0 * 1024.0;
    print_line("%-12s %-15s %10s %10s  %s", "name", "kind", "free MiB", "of MiB", "");
    for (size_t i = 0; i < n; i++) {
        print_part("%-12s %-15s %10.0f %10.0f  %s", devices[i].name, devices[i].kind,
                   (double)devices[i].memory_free / mib, (double)devices[i].memory_total / mib,
                   devices[i].description);
        for (const char *const *kernels = devices[i].kernels; kernels && *kernels; kernels++)
            print_part("%s%s", kernels == devices[i].kernels ? ", of: " : " ", *kernels);
        print_newline();
    }
    return STATUS_DONE;
}

static int run(const options *o) {
    mobiedit_device *devices = NULL;
    size_t n = 0;
    mobiedit_error err = {0};
    if (mobiedit_devices(&devices, &n, &err) != MOBIEDIT_OK) return complain_of(&err);
    const int status = o->json ? print_json(devices, n) : print_table(devices, n);
    mobiedit_free(devices);
    return status;
}

const command command_devices = {.name = "devices",
                                 .usage = "[--json]",
                                 .summary = "lists the devices that --backend can name",
                                 .options = {TABLE},
                                 .run = run};
