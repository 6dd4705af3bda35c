/* The processors that ggml knows. */
#ifndef ME_GGML_DEVICES_H
#define ME_GGML_DEVICES_H

#include "base/error.h"

#include <ggml-backend.h>

/* The devices that a backend's name stands for, the CPU last, into found[16]: one device of ggml's by its
 * name (letter case does not matter), or all devices of RPC servers, "rpc:HOST:PORT[,HOST:PORT...]".
 * E_ARGUMENT where there is none of that name. Talks to the servers: ggml ends the process where one cannot
 * be reached. */
mobiedit_status me_devices_find(const char *name, ggml_backend_dev_t *found, int *n, mobiedit_error *err);

/* Whether a name has the form of one, without opening anything. */
mobiedit_status me_devices_check(const char *name, mobiedit_error *err);

/* Whether the name is of RPC servers. */
bool me_devices_remote(const char *name);

/* The name of the first GPU or NPU, or NULL where there is none. */
const char *me_devices_best(void);

/* "cpu", "gpu", "integrated gpu", "accelerator". */
const char *me_device_kind(ggml_backend_dev_t device);

#endif
