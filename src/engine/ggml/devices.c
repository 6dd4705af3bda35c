/* The devices that ggml knows, and RPC servers that are added to them. */
#include "engine/ggml/devices.h"

#include "engine/ggml/ggml_engine.h"
#include "model/llama_init.h"

#include <stdlib.h>
#include <string.h>

static const char rpc_prefix[] = "rpc:";

bool me_devices_remote(const char *name) {
    return strncmp(name, rpc_prefix, sizeof rpc_prefix - 1) == 0;
}

const char *me_device_kind(ggml_backend_dev_t device) {
    switch (ggml_backend_dev_type(device)) {
    case GGML_BACKEND_DEVICE_TYPE_CPU:
        return "cpu";
    case GGML_BACKEND_DEVICE_TYPE_GPU:
        return "gpu";
    case GGML_BACKEND_DEVICE_TYPE_IGPU:
        return "integrated gpu";
    default:
        return "accelerator";
    }
}

/* An accelerator such as BLAS only helps the CPU: it does not take a whole model. */
static bool runs_models(ggml_backend_dev_t device) {
    enum ggml_backend_dev_type type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_CPU || type == GGML_BACKEND_DEVICE_TYPE_GPU ||
           type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

const char *me_devices_best(void) {
    static const enum ggml_backend_dev_type types[] = {GGML_BACKEND_DEVICE_TYPE_GPU,
                                                       GGML_BACKEND_DEVICE_TYPE_IGPU};
    me_llama_init();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        ggml_backend_dev_t device = ggml_backend_dev_by_type(types[i]);
        if (device) return ggml_backend_dev_name(device);
    }
    return NULL;
}

/* ---- RPC servers ------------------------------------------------------------------------------------- */

/* The next of the endpoints "HOST:PORT,..." into endpoint[size]; the rest of the text, or NULL where this one
 * has not that form. */
static const char *next_endpoint(const char *text, char *endpoint, size_t size) {
    size_t n = strcspn(text, ",");
    if (n >= size) return NULL;
    memcpy(endpoint, text, n);
    endpoint[n] = '\0';
    const char *colon = strchr(endpoint, ':');
    if (!colon || colon == endpoint || strlen(colon + 1) > 5 || !colon[1]) return NULL;
    if (strspn(colon + 1, "0123456789") != strlen(colon + 1)) return NULL;
    long port = strtol(colon + 1, NULL, 10);
    if (port < 1 || port > 65535) return NULL;
    return text[n] ? text + n + 1 : text + n;
}

static mobiedit_status check_endpoints(const char *name, mobiedit_error *err) {
    char endpoint[256];
    int n = 0;
    const char *text = name + sizeof rpc_prefix - 1;
    do {
        text = next_endpoint(text, endpoint, sizeof endpoint);
        n++;
    } while (text && *text);
    if (!text || n >= ME_GGML_DEVICES || name[strlen(name) - 1] == ',')
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "\"%s\" is not rpc:HOST:PORT[,HOST:PORT...]", name);
    if (!ggml_backend_reg_by_name("RPC"))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "this ggml has no RPC backend");
    return MOBIEDIT_OK;
}

typedef ggml_backend_reg_t (*add_server_fn)(const char *endpoint);

static mobiedit_status find_remote(const char *name, ggml_backend_dev_t *found, int *n, mobiedit_error *err) {
    char endpoint[256];
    void *address =
        ggml_backend_reg_get_proc_address(ggml_backend_reg_by_name("RPC"), "ggml_backend_rpc_add_server");
    add_server_fn add_server;
    memcpy(&add_server, &address, sizeof add_server);
    if (!add_server) return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "this ggml cannot add RPC servers");
    for (const char *text = name + sizeof rpc_prefix - 1; *text;) {
        text = next_endpoint(text, endpoint, sizeof endpoint);
        ggml_backend_reg_t server = add_server(endpoint);
        size_t count = server ? ggml_backend_reg_dev_count(server) : 0;
        if (count == 0) return me_fail(err, MOBIEDIT_E_RUNTIME, "the server %s has no devices", endpoint);
        for (size_t i = 0; i < count && *n < ME_GGML_DEVICES - 1; i++)
            found[(*n)++] = ggml_backend_reg_dev_get(server, i);
    }
    return MOBIEDIT_OK;
}

/* ---- by name ----------------------------------------------------------------------------------------- */

mobiedit_status me_devices_check(const char *name, mobiedit_error *err) {
    me_llama_init();
    if (me_devices_remote(name)) return check_endpoints(name, err);
    ggml_backend_dev_t device = ggml_backend_dev_by_name(name);
    if (!device)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no backend \"%s\" (see mobiedit devices)", name);
    if (!runs_models(device))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s only assists the CPU: it cannot run a whole model",
                       name);
    return MOBIEDIT_OK;
}

mobiedit_status me_devices_find(const char *name, ggml_backend_dev_t *found, int *n, mobiedit_error *err) {
    ME_TRY(me_devices_check(name, err));
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!cpu) return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "this ggml has no CPU backend");
    *n = 0;
    if (me_devices_remote(name))
        ME_TRY(find_remote(name, found, n, err));
    else if (ggml_backend_dev_by_name(name) != cpu)
        found[(*n)++] = ggml_backend_dev_by_name(name);
    found[(*n)++] = cpu;
    return MOBIEDIT_OK;
}
