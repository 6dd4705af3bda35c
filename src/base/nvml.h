/* Energy counters of NVIDIA GPUs, by the driver's management library (NVML), which is loaded when it is asked
 * for: the program needs neither it nor its headers to be built. */
#ifndef ME_BASE_NVML_H
#define ME_BASE_NVML_H

#include <stdbool.h>

typedef struct me_nvml me_nvml;

/* `library` is a path, or a name that the loader finds; NULL: the driver's own. NULL where it is not there,
 * or cannot be used, or sees no GPU. */
me_nvml *me_nvml_open(const char *library);
void me_nvml_close(me_nvml *nvml); /* NULL: nothing */

int me_nvml_count(const me_nvml *nvml);

/* Millijoules that GPU i has used since its driver was loaded. False where
 * it does not tell: those before Volta. */
bool me_nvml_millijoules(const me_nvml *nvml, int i, double *out);

#endif
