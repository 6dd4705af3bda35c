/* xoshiro256** and what is drawn with it: bits, uniforms, normals. */
#include "base/random.h"

#include <math.h>

/* splitmix64: a counter of odd step through a 64-bit mixing function. */
static uint64_t splitmix(uint64_t *counter) {
    *counter += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *counter;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The mixing is a bijection of distinct counters, so at most one word is zero. */
void me_random_seed(me_random *random, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix(&seed);
}

static uint64_t rotate_left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

uint64_t me_random_bits(me_random *random) {
    uint64_t *s = random->state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double me_random_uniform(me_random *random) {
    return (double)(me_random_bits(random) >> 11) * 0x1p-53;
}

void me_random_normals(me_random *random, float *out, size_t n) {
    const double two_pi = 6.283185307179586;
    for (size_t i = 0; i < n; i += 2) {
        /* 1 - u lies in (0, 1]: the logarithm is finite. */
        const double radius = sqrt(-2.0 * log(1.0 - me_random_uniform(random)));
        const double angle = two_pi * me_random_uniform(random);
        out[i] = (float)(radius * cos(angle));
        if (i + 1 < n) out[i + 1] = (float)(radius * sin(angle));
    }
}
