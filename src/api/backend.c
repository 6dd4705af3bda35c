#include "api/backend.h"

#include "base/backend.h"
#include "base/memory.h"
#include "engine/ggml/devices.h"
#include "engine/ggml/remote.h"
#include "engine/native/kernels/kernels.h"

#include <string.h>

static const char native[] = "native";

/* The name without "auto" and NULL. */
static const char *resolved(const char *name) {
    if (!name) return native;
    if (strcmp(name, "auto") != 0) return name;
    const char *best = me_devices_best();
    return best ? best : native;
}

mobiedit_status me_backend_check(const char *name, mobiedit_error *err) {
    name = resolved(name);
    return strcmp(name, native) == 0 ? MOBIEDIT_OK : me_devices_check(name, err);
}

mobiedit_status me_backend_open(const char *name, const me_model *model, me_pool *pool,
                                const mobiedit_model_options *options, me_engine **out, mobiedit_error *err) {
    name = resolved(name);
    if (strcmp(name, native) == 0) {
        const me_native_options ours = {.memory_bytes = options->memory_bytes};
        return me_native_open(model, pool, &ours, out, err);
    }
    const me_ggml_options ggml = {
        .backend = name, .memory_bytes = options->memory_bytes, .threads = options->threads};
    return me_devices_remote(name) ? me_remote_open(model, &ggml, out, err)
                                   : me_ggml_open(model, &ggml, out, err);
}

static mobiedit_device describe(ggml_backend_dev_t device) {
    mobiedit_device out = {.name = ggml_backend_dev_name(device),
                           .kind = me_device_kind(device),
                           .description = ggml_backend_dev_description(device)};
    ggml_backend_dev_memory(device, &out.memory_free, &out.memory_total);
    return out;
}

mobiedit_status mobiedit_devices(mobiedit_device **devices, size_t *n, mobiedit_error *err) {
    me_backend_init();
    const size_t count = ggml_backend_dev_count();
    mobiedit_device *list = me_calloc(count + 1, sizeof *list);
    if (!list) return me_fail_memory(err, "the devices");
    list[0] = (mobiedit_device){.name = native, .kind = "cpu", .description = me_kernels_pick(NULL)->name};
    for (size_t i = 0; i < count; i++) {
        list[i + 1] = describe(ggml_backend_dev_get(i));
        if (strcmp(list[i + 1].kind, "cpu") != 0) continue;
        list[0].memory_free = list[i + 1].memory_free;
        list[0].memory_total = list[i + 1].memory_total;
    }
    *devices = list;
    *n = count + 1;
    return MOBIEDIT_OK;
}
