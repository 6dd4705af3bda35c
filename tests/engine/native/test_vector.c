/* The engine's arithmetic over vectors, against the same in double precision. */
#include "base/random.h"
#include "engine/native/vector.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Whole vectors of every width, and a rest. */
enum { N = 16 * 9 + 7 };

/* Values over the whole of what activations are, small ones often. */
static void fill(float *x, uint64_t seed, float largest) {
    me_random random;
    me_random_seed(&random, seed);
    for (int i = 0; i < N; i++) {
        const float u = (float)me_random_uniform(&random) * 2 - 1;
        x[i] = largest * u * u * u;
    }
}

static void assert_near(double is, double wanted, double relative, double absolute) {
    if (fabs(is - wanted) > relative * fabs(wanted) + absolute) fail_msg("%.9g is not %.9g", is, wanted);
}

static void activation_is_the_plain_one(me_activation activation) {
    float gate[N], up[N], y[N];
    for (uint64_t seed = 1; seed <= 32; seed++) {
        fill(gate, seed, 120);
        fill(up, seed + 100, 10);
        gate[0] = 0;
        me_gated(activation, gate, up, N, y);
        for (int i = 0; i < N; i++) {
            const double plain = (double)me_activate(activation, gate[i]) * up[i];
            assert_near(y[i], plain, 1e-5, 1e-9);
        }
    }
}

static void fast_silu_is_the_plain_one(void **state) {
    (void)state;
    activation_is_the_plain_one(ME_ACTIVATION_SILU);
}

static void fast_gelu_is_the_plain_one(void **state) {
    (void)state;
    activation_is_the_plain_one(ME_ACTIVATION_GELU_TANH);
}

static void plain_activations_are_the_definitions(void **state) {
    (void)state;
    for (int i = -400; i <= 400; i++) {
        const double g = i / 20.0, u = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g);
        assert_near(me_activate(ME_ACTIVATION_SILU, (float)g), g / (1 + exp(-g)), 1e-5, 1e-9);
        /* 1 + tanh(u) for u < 0, without its cancellation */
        const double gelu = u < 0 ? g * exp(2 * u) / (1 + exp(2 * u)) : 0.5 * g * (1 + tanh(u));
        assert_near(me_activate(ME_ACTIVATION_GELU_TANH, (float)g), gelu, 1e-5, 1e-9);
    }
}

static void exp_is_right_to_the_last_bits(void **state) {
    float x[N], y[N];
    (void)state;
    for (uint64_t seed = 1; seed <= 32; seed++) {
        fill(x, seed, 80);
        for (int i = 0; i < N; i++)
            y[i] = x[i];
        me_exp(y, 1.5F, N);
        for (int i = 0; i < N; i++)
            assert_near(y[i], exp((double)(x[i] - 1.5F)), 4e-7, 0);
    }
}

static void sums_take_every_value(void **state) {
    float a[N], b[N], y[N];
    (void)state;
    fill(a, 1, 3);
    fill(b, 2, 3);
    for (int n = 0; n <= N; n++) {
        double dot = 0, size = 0;
        for (int i = 0; i < n; i++) {
            dot += (double)a[i] * b[i];
            size += fabs((double)a[i] * b[i]);
        }
        assert_near(me_dot(a, b, n), dot, 0, 1e-6 * size);
        for (int i = 0; i < N; i++)
            y[i] = b[i];
        me_add_scaled(y, a, -0.5F, n);
        for (int i = 0; i < N; i++)
            assert_near(y[i], i < n ? (double)b[i] - 0.5 * a[i] : (double)b[i], 1e-6, 1e-6);
    }
}

static void norm_may_work_in_place(void **state) {
    float x[N], weight[N], y[N];
    double sum = 0;
    (void)state;
    fill(x, 1, 50);
    fill(weight, 2, 2);
    for (int i = 0; i < N; i++)
        sum += (double)x[i] * x[i];
    me_rms_norm(x, weight, N, 1e-5F, y);
    for (int i = 0; i < N; i++)
        assert_near(y[i], x[i] / sqrt(sum / N + 1e-5) * weight[i], 1e-5, 0);
    me_rms_norm(x, weight, N, 1e-5F, x);
    assert_memory_equal(x, y, sizeof x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_silu_is_the_plain_one),
        cmocka_unit_test(fast_gelu_is_the_plain_one),
        cmocka_unit_test(plain_activations_are_the_definitions),
        cmocka_unit_test(exp_is_right_to_the_last_bits),
        cmocka_unit_test(sums_take_every_value),
        cmocka_unit_test(norm_may_work_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
