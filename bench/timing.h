/* What the benchmarks share: a clock, and the median of a few rounds. */
#ifndef TIMING_H
#define TIMING_H

#include <stdlib.h>
#include <time.h>

enum { MAX_ROUNDS = 101 };

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n <= MAX_ROUNDS values, which stay as they are. */
static inline double median(const double *values, int n) {
    double sorted[MAX_ROUNDS] = {0};
    for (int i = 0; i < n; i++)
        sorted[i] = values[i];
    qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

#endif
