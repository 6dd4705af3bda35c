/* NVML with made-up GPUs: as many as the file $FAKE_NVML/count says, GPU
 * i has used what $FAKE_NVML/<i> says. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, MOST = 128 };

/* A device is a place in this. */
static char devices[MOST];

#pragma GCC visibility push(default)
int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules);
#pragma GCC visibility pop

static int read_number(const char *name, unsigned long long *out) {
    char path[4096];
    const char *folder = getenv("FAKE_NVML");
    (void)snprintf(path, sizeof path, "%s/%s", folder ? folder : "", name);
    FILE *file = fopen(path, "r");
    if (!file) return NOT_SUPPORTED;
    char line[64] = "", *end;
    const bool read = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    *out = strtoull(line, &end, 10);
    return read && end != line ? SUCCESS : NOT_SUPPORTED;
}

int nvmlInit_v2(void) {
    return SUCCESS;
}

int nvmlShutdown(void) {
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    unsigned long long n = 0;
    const int result = read_number("count", &n);
    *count = (unsigned)n;
    return result;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = &devices[index % MOST];
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    char name[32];
    (void)snprintf(name, sizeof name, "%d", (int)((const char *)device - devices));
    return read_number(name, millijoules);
}
