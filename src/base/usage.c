/* Wall time, processor time and peak memory of the process. */
#define _GNU_SOURCE
#include "base/usage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { LINE_MAX_BYTES = 256 };

static double clock_seconds(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t) != 0) return NAN;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double me_wall_seconds(void) {
    return clock_seconds(CLOCK_MONOTONIC);
}

double me_cpu_seconds(void) {
    return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* VmHWM is this program's own peak; ru_maxrss starts at that of the process that called exec. */
size_t me_peak_rss_bytes(void) {
    size_t kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (status) {
        char line[LINE_MAX_BYTES];
        while (kib == 0 && fgets(line, sizeof line, status))
            if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoull(line + 6, NULL, 10);
        (void)fclose(status);
    }
    struct rusage usage;
    if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0) kib = (size_t)usage.ru_maxrss;
    return kib * 1024;
}
