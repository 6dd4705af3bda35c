/* Loads NVIDIA's management library and reads the GPUs' energy counters. */
#include "base/nvml.h"

#include "base/memory.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* NVML's interface (NVML API Reference Guide), as far as it is used: everything returns 0 where it did what
 * it should. */
typedef int (*init_fn)(void);
typedef int (*count_fn)(unsigned *count);
typedef int (*device_fn)(unsigned index, void **device);
typedef int (*energy_fn)(void *device, unsigned long long *millijoules);

struct me_nvml {
    void *library;
    init_fn shutdown;
    energy_fn energy;
    int n;
    void *devices[]; /* [n] */
};

/* The function `name`, put into *function. ISO C has no cast from an object's address to a function's. */
static bool find(void *library, const char *name, void *function, size_t size) {
    void *address = dlsym(library, name);
    memcpy(function, &address, size);
    return address != NULL;
}

static me_nvml *open_devices(void *library, unsigned count, device_fn device) {
    me_nvml *nvml = me_calloc(1, sizeof *nvml + count * sizeof *nvml->devices);
    if (!nvml) return NULL;
    nvml->n = (int)count;
    for (unsigned i = 0; i < count; i++)
        if (device(i, &nvml->devices[i]) != 0) {
            me_free(nvml);
            return NULL;
        }
    nvml->library = library;
    return nvml;
}

static me_nvml *open_library(void *library) {
    enum { MOST = 1024 };
    init_fn init, shutdown;
    count_fn count;
    device_fn device;
    energy_fn energy;
    if (!find(library, "nvmlInit_v2", &init, sizeof init) ||
        !find(library, "nvmlShutdown", &shutdown, sizeof shutdown) ||
        !find(library, "nvmlDeviceGetCount_v2", &count, sizeof count) ||
        !find(library, "nvmlDeviceGetHandleByIndex_v2", &device, sizeof device) ||
        !find(library, "nvmlDeviceGetTotalEnergyConsumption", &energy, sizeof energy) || init() != 0)
        return NULL;
    unsigned n = 0;
    me_nvml *nvml = count(&n) == 0 && n > 0 && n <= MOST ? open_devices(library, n, device) : NULL;
    if (nvml) {
        nvml->shutdown = shutdown;
        nvml->energy = energy;
    } else {
        (void)shutdown();
    }
    return nvml;
}

me_nvml *me_nvml_open(const char *library) {
    void *handle = dlopen(library ? library : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    me_nvml *nvml = handle ? open_library(handle) : NULL;
    if (handle && !nvml) (void)dlclose(handle);
    return nvml;
}

void me_nvml_close(me_nvml *nvml) {
    if (!nvml) return;
    (void)nvml->shutdown();
    (void)dlclose(nvml->library);
    me_free(nvml);
}

int me_nvml_count(const me_nvml *nvml) {
    return nvml->n;
}

bool me_nvml_millijoules(const me_nvml *nvml, int i, double *out) {
    unsigned long long value;
    if (nvml->energy(nvml->devices[i], &value) != 0) return false;
    *out = (double)value;
    return value < 1ULL << 53;
}
