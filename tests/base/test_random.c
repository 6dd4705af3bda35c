/* The generator: published values of its parts, and the first moments of what is drawn. */
#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* First outputs from the state 1, 2, 3, 4, as the authors' C code gives them. */
static void bits_are_xoshiro256starstar(void **state) {
    (void)state;
    const uint64_t expected[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240)};
    me_random random = {{1, 2, 3, 4}};
    for (int i = 0; i < 4; i++)
        assert_true(me_random_bits(&random) == expected[i]);
}

/* splitmix64 from counter 0. */
static void seed_is_splitmix64(void **state) {
    (void)state;
    const uint64_t expected[] = {UINT64_C(0xe220a8397b1dcdaf), UINT64_C(0x6e789e6aa1b965f4),
                                 UINT64_C(0x06c45d188009454f), UINT64_C(0xf88bb8a8724c81ec)};
    me_random random;
    me_random_seed(&random, 0);
    for (int i = 0; i < 4; i++)
        assert_true(random.state[i] == expected[i]);
}

enum { DRAWS = 100000 };

/* Mean of n draws of variance s^2 strays by s / sqrt(n): five of those are allowed. The seed is fixed, so
 * this passes always or never. */
static void uniforms_fill_the_unit_interval(void **state) {
    (void)state;
    me_random random;
    me_random_seed(&random, 7);
    double sum = 0, least = 1, most = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double u = me_random_uniform(&random);
        sum += u;
        least = fmin(least, u);
        most = fmax(most, u);
    }
    assert_true(least >= 0 && least < 1e-3);
    assert_true(most < 1 && most > 1 - 1e-3);
    assert_true(fabs(sum / DRAWS - 0.5) < 5 * sqrt(1.0 / 12 / DRAWS));
}

static void normals_have_normal_moments(void **state) {
    (void)state;
    static float x[DRAWS];
    me_random random;
    me_random_seed(&random, 7);
    me_random_normals(&random, x, DRAWS);
    double mean = 0, square = 0, fourth = 0, neighbours = 0;
    int within_one = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double v = x[i];
        mean += v / DRAWS;
        square += v * v / DRAWS;
        fourth += v * v * v * v / DRAWS;
        within_one += fabs(v) < 1;
        if (i > 0) neighbours += v * x[i - 1] / DRAWS;
    }
    const double sigma = 1 / sqrt(DRAWS);
    assert_true(fabs(mean) < 5 * sigma);
    assert_true(fabs(square - 1) < 5 * sigma * sqrt(2));  /* var x^2 = 2 */
    assert_true(fabs(fourth - 3) < 5 * sigma * sqrt(96)); /* var x^4 = 105 - 9 */
    assert_true(fabs(neighbours) < 5 * sigma);
    assert_true(fabs((double)within_one / DRAWS - 0.682689) < 5 * sigma * sqrt(0.682689 * 0.317311));
}

static void same_seed_same_numbers(void **state) {
    (void)state;
    float a[7], b[7], c[7];
    me_random random;
    me_random_seed(&random, 42);
    me_random_normals(&random, a, 7);
    me_random_normals(&random, c, 7);
    me_random_seed(&random, 42);
    me_random_normals(&random, b, 7);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    me_random_normals(&random, b, 7);
    assert_memory_equal(b, c, sizeof b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_xoshiro256starstar),     cmocka_unit_test(seed_is_splitmix64),
        cmocka_unit_test(uniforms_fill_the_unit_interval), cmocka_unit_test(normals_have_normal_moments),
        cmocka_unit_test(same_seed_same_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
