/* Random numbers, the same on every machine for the same seed: xoshiro256** (Blackman and Vigna,
 * "Scrambled linear pseudorandom number generators", 2021) with its state filled by splitmix64, as
 * its authors advise. Integers and uniforms are exact everywhere; normals as far as libm's log,
 * cos and sin agree. Not for secrets. */
#ifndef ME_BASE_RANDOM_H
#define ME_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t state[4]; /* not all zero */
} me_random;

/* Any seed is as good as any other. */
void me_random_seed(me_random *random, uint64_t seed);

/* 64 uniform bits. */
uint64_t me_random_bits(me_random *random);

/* Uniform in [0, 1): a multiple of 2^-53. */
double me_random_uniform(me_random *random);

/* n independent standard normals. Made in pairs (Box-Muller); the second of an odd last pair is dropped, so
 * that what follows depends on the state alone. */
void me_random_normals(me_random *random, float *out, size_t n);

#endif
