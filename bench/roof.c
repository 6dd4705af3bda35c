#define _POSIX_C_SOURCE 200809L
#include "roof.h"

#include "timing.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* Chains of independent sums: as many as hide the instruction's latency of five cycles on two ports. */
enum { ROUNDS = 100000, CHAINS = 12 };

typedef void (*loop_fn)(void);

#if defined(__x86_64__)
#include <immintrin.h>

/* Keeps the compiler from seeing through a value, and so from computing a product once for all chains. */
#define HIDE(value) __asm__ volatile("" : "+x"(value))

__attribute__((target("avx2"))) static void loop_avx2(void) {
    __m256i sums[CHAINS] = {0}, w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5);
    for (int i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            HIDE(w);
            sums[c] = _mm256_add_epi16(sums[c], _mm256_maddubs_epi16(w, x));
            HIDE(sums[c]);
        }
    }
}

__attribute__((target("avx512f,avx512vnni"))) static void loop_avx512vnni(void) {
    __m512i sums[CHAINS] = {0}, w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-5);
    for (int i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            sums[c] = _mm512_dpbusd_epi32(sums[c], w, x);
            __asm__ volatile("" : "+v"(sums[c]));
        }
    }
}
#endif

static const struct {
    const char *table;
    loop_fn loop;
    double operations; /* of one instruction: two a multiply-add */
} roofs[] = {
#if defined(__x86_64__)
    {"avx2", loop_avx2, 64},
    {"avx512vnni", loop_avx512vnni, 128},
#endif
    {NULL, NULL, 0},
};

static void run(void *context, size_t task, int thread) {
    (void)task;
    (void)thread;
    roofs[*(const size_t *)context].loop();
}

double roof_gops(me_pool *pool, const char *table) {
    size_t i = 0, threads = (size_t)me_pool_threads(pool);
    while (roofs[i].table && strcmp(roofs[i].table, table) != 0)
        i++;
    if (!roofs[i].table) return (double)NAN;
    double begin = seconds();
    me_pool_run(pool, 4 * threads, run, &i);
    return 1e-9 * roofs[i].operations * ROUNDS * CHAINS * 4 * (double)threads / (seconds() - begin);
}
