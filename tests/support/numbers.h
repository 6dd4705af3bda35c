/* How far computed numbers are from what they should be. */
#ifndef ME_TESTS_NUMBERS_H
#define ME_TESTS_NUMBERS_H

#include <math.h>
#include <stddef.h>

/* |is - wanted| / |wanted| of two vectors. */
static inline double relative_error(const float *is, const float *wanted, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double off = (double)is[i] - (double)wanted[i];
        difference += off * off;
        size += (double)wanted[i] * (double)wanted[i];
    }
    return sqrt(difference / size);
}

#endif
