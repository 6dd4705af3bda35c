/* Every kernel table against the scalar reference, bit for bit; the reference against ggml's dequantisation
 * in double precision. */
#define _GNU_SOURCE /* setenv */
#include "base/memory.h"
#include "engine/native/kernels/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const me_kernels me_kernels_avxvnni_emulated;
extern const me_kernels me_kernels_avx512vnni_emulated;

static const enum ggml_type integer_types[] = {
    GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0,   GGML_TYPE_Q2_K,
    GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS};
static const enum ggml_type float_types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};
enum { N_INTEGER_TYPES = 12, N_FLOAT_TYPES = 3, N_OUT = 53, LDY = 59 };

static uint64_t random_state = 1;

static uint32_t random_bits(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* In [-1, 1). */
static float random_float(void) {
    return (float)((int32_t)random_bits() * 0x1p-31);
}

/* ---- activations ------------------------------------------------------------------------------------- */

typedef struct {
    me_activations act;
    float *x;
} columns;

static columns columns_make(int n, int n_in) {
    columns c = {.act = {.n = n, .n_in = n_in, .n_blocks = (n_in + ME_BLOCK - 1) / ME_BLOCK}};
    size_t blocks = me_act_blocks((size_t)n, (size_t)n_in);
    c.act.x = c.x = me_calloc((size_t)n * n_in, sizeof(float));
    c.act.q = me_calloc(blocks, ME_BLOCK);
    c.act.d = me_calloc(blocks, sizeof(float));
    c.act.s = me_calloc(blocks, sizeof(float));
    c.act.half_sums = me_calloc(blocks, 2 * sizeof(int16_t));
    assert_true(c.x && c.act.q && c.act.d && c.act.s && c.act.half_sums);
    return c;
}

static void columns_free(columns *c) {
    me_free(c->x);
    me_free(c->act.q);
    me_free(c->act.d);
    me_free(c->act.s);
    me_free(c->act.half_sums);
}

/* Values of very different magnitudes; every fifth column has all values of one magnitude, so that int8
 * sums are as large as they can be, and some blocks are zero. */
static columns columns_random(int n, int n_in) {
    columns c = columns_make(n, n_in);
    for (int column = 0; column < n; column++)
        for (int i = 0; i < n_in; i++) {
            float size = i / ME_BLOCK % 7 == 6 ? 0 : ldexpf(1, i / ME_BLOCK % 5 * 4 - 8);
            float value = column % 5 == 1 ? 1 : column % 5 == 3 ? -1 : random_float();
            c.x[column * n_in + i] = size * value;
        }
    me_kernels_scalar.quantize(&c.act, 0, n);
    return c;
}

/* ---- weights ----------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    int byte;      /* what all bytes of q and integer scales are; -1: random */
    uint16_t half; /* what all half-float scales and mins are; 0xffff: random, of either sign */
} pattern;

static const pattern patterns[] = {
    {"random", -1, 0xffff},         {"lowest q", 0x00, 0xffff},      {"highest q", 0xff, 0xffff},
    {"lowest int8", 0x80, 0x3400},  {"highest int8", 0x7f, 0x3400},  {"zero scale", -1, 0},
    {"negative scale", -1, 0xb266}, {"subnormal scale", -1, 0x0003}, {"largest scale", 0xff, 0x7bff},
};
enum { N_PATTERNS = sizeof patterns / sizeof patterns[0] };

/* Where half floats lie in a block: at `first`, and behind it where there are two. */
static void place_halves(enum ggml_type type, uint8_t *block, const pattern *p) {
    bool two = type == GGML_TYPE_Q4_1 || type == GGML_TYPE_Q5_1 || type == GGML_TYPE_Q2_K ||
               type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K;
    bool last = type == GGML_TYPE_Q2_K || type == GGML_TYPE_Q3_K || type == GGML_TYPE_Q6_K;
    size_t first = last ? ggml_type_size(type) - (two ? 2 : 1) * sizeof(ggml_fp16_t) : 0;
    for (int i = 0; i < 1 + two; i++) {
        ggml_fp16_t half = p->half == 0xffff ? ggml_fp32_to_fp16(random_float()) : p->half;
        memcpy(block + first + sizeof half * (size_t)i, &half, sizeof half);
    }
}

static me_tensor weight_of_pattern(enum ggml_type type, int n_in, const pattern *p) {
    size_t row_bytes = ggml_row_size(type, n_in), size = row_bytes * N_OUT;
    uint8_t *data = me_calloc(size, 1);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(p->byte < 0 ? random_bits() : (uint32_t)p->byte);
    for (size_t i = 0; i < size; i += ggml_type_size(type))
        place_halves(type, data + i, p);
    return (me_tensor){data, type, n_in, N_OUT, row_bytes};
}

/* Random values as ggml would store them. */
static me_tensor weight_of_values(enum ggml_type type, int n_in) {
    size_t n = (size_t)n_in * N_OUT;
    float *values = me_calloc(n, sizeof *values);
    void *data = me_calloc(ggml_row_size(type, n_in), N_OUT);
    assert_true(values && data);
    for (size_t i = 0; i < n; i++)
        values[i] = random_float() + .1f;
    ggml_quantize_chunk(type, values, data, 0, N_OUT, n_in, NULL);
    me_free(values);
    return (me_tensor){data, type, n_in, N_OUT, ggml_row_size(type, n_in)};
}

static void weight_free(me_tensor *weight) {
    me_free((void *)weight->data);
}

/* ---- products ---------------------------------------------------------------------------------------- */

static float *product(const me_kernels *table, const me_tensor *weight, const me_activations *act, int row0,
                      int row1) {
    float *y = me_calloc((size_t)act->n * LDY, sizeof *y);
    void *scratch = me_calloc(table->scratch_bytes(weight), 1);
    assert_true(y && scratch);
    for (int i = 0; i < act->n * LDY; i++)
        y[i] = -77;
    table->matmul(weight, act, row0, row1, y, LDY, scratch);
    me_free(scratch);
    return y;
}

/* Rows [row0, row1) equal the reference bit for bit, and nothing else was written. */
static void check_equal(const me_kernels *table, const me_tensor *weight, const me_activations *act, int row0,
                        int row1, const char *what) {
    float *want = product(&me_kernels_scalar, weight, act, row0, row1);
    float *got = product(table, weight, act, row0, row1);
    for (int i = 0; i < act->n * LDY; i++)
        if (memcmp(want + i, got + i, sizeof *got) != 0)
            fail_msg("%s, %s, %s, n_in %d, n %d: row %d of column %d is %.9g, not %.9g", table->name,
                     ggml_type_name(weight->type), what, act->n_in, act->n, i % LDY, i / LDY, got[i],
                     want[i]);
    me_free(want);
    me_free(got);
}

static void check_type(const me_kernels *table, enum ggml_type type, const int *sizes, int n_sizes) {
    static const int counts[] = {1, 2, 3, 5, 8, 13, 32, 100};
    static const int rows[][2] = {{0, N_OUT}, {16, 35}, {32, 33}, {0, 16}, {48, 48}};
    me_tensor weight = weight_of_values(type, sizes[0]);
    for (int i = 0; i < 8; i++) {
        columns c = columns_random(counts[i], sizes[0]);
        for (int r = 0; r < 5; r++)
            check_equal(table, &weight, &c.act, rows[r][0], rows[r][1], "values");
        columns_free(&c);
    }
    weight_free(&weight);
    for (int i = 1; i < n_sizes; i++) {
        weight = weight_of_values(type, sizes[i]);
        columns c = columns_random(13, sizes[i]);
        check_equal(table, &weight, &c.act, 0, N_OUT, "values");
        columns_free(&c);
        weight_free(&weight);
    }
}

static void check_patterns(const me_kernels *table, enum ggml_type type) {
    columns c = columns_random(13, 512);
    for (int i = 0; i < N_PATTERNS; i++) {
        me_tensor weight = weight_of_pattern(type, c.act.n_in, &patterns[i]);
        check_equal(table, &weight, &c.act, 0, N_OUT, patterns[i].name);
        weight_free(&weight);
    }
    columns_free(&c);
}

static void check_quantize(const me_kernels *table) {
    enum { N = 7, N_IN = 328 };
    columns want = columns_random(N, N_IN), got = columns_make(N, N_IN);
    want.x[0] = 1e-31f; /* block 0 of column 0: too small to be anything but zero */
    memset(want.x + 1, 0, (ME_BLOCK - 1) * sizeof(float));
    want.x[ME_BLOCK] = NAN;
    for (int i = 0; i < ME_BLOCK; i++)
        want.x[2 * ME_BLOCK + i] = (float)i + .5f; /* ties, once divided by the scale of 1 */
    want.x[2 * ME_BLOCK] = 127;
    me_kernels_scalar.quantize(&want.act, 0, N);
    memcpy(got.x, want.x, sizeof(float) * N * N_IN);
    table->quantize(&got.act, 0, 3);
    table->quantize(&got.act, 3, N);
    size_t with_nan = me_act_at(&want.act, 0, 1), zero = me_act_at(&want.act, 0, 0);
    for (size_t i = 0; i < me_act_blocks(N, N_IN); i++) {
        if (i == with_nan) continue; /* only d matters */
        assert_memory_equal(got.act.q + i * ME_BLOCK, want.act.q + i * ME_BLOCK, ME_BLOCK);
        assert_memory_equal(got.act.half_sums + 2 * i, want.act.half_sums + 2 * i, 2 * sizeof(int16_t));
        assert_memory_equal(got.act.d + i, want.act.d + i, sizeof(float));
        assert_memory_equal(got.act.s + i, want.act.s + i, sizeof(float));
    }
    assert_true(isnan(got.act.d[with_nan]) && isnan(want.act.d[with_nan]));
    assert_true(got.act.d[zero] == 0 && got.act.s[zero] == 0);
    columns_free(&want);
    columns_free(&got);
}

/* More columns than are worked on at a time, the last group of them not full. */
static void check_many_columns(const me_kernels *table, enum ggml_type type) {
    me_tensor weight = weight_of_values(type, 96);
    columns c = columns_random(1029, 96);
    check_equal(table, &weight, &c.act, 0, 16, "many columns");
    columns_free(&c);
    weight_free(&weight);
}

static void check_table(const me_kernels *table) {
    static const int sizes[] = {512, 256, 1280, 2048}, small_sizes[] = {96, 32, 1056};
    static const int float_sizes[] = {300, 1, 7, 32, 257, 576};
    check_quantize(table);
    for (int i = 0; i < N_INTEGER_TYPES; i++) {
        check_patterns(table, integer_types[i]);
        check_type(table, integer_types[i], sizes, 4);
        if (ggml_blck_size(integer_types[i]) == ME_BLOCK) check_type(table, integer_types[i], small_sizes, 3);
    }
    for (int i = 0; i < N_FLOAT_TYPES; i++)
        check_type(table, float_types[i], float_sizes, 6);
    check_many_columns(table, GGML_TYPE_Q4_1);
    check_many_columns(table, GGML_TYPE_F32);
}

static void tables_equal_the_reference(void **state) {
    (void)state;
    for (const me_kernels *const *table = me_kernels_all; *table; table++) {
        bool supported = (*table)->supported();
        print_message("%s: %s\n", (*table)->name, supported ? "tested" : "this processor cannot run it");
        if (supported) check_table(*table);
    }
}

static void emulated_avxvnni_equals_the_reference(void **state) {
    (void)state;
#ifdef ME_TEST_EMULATED_AVXVNNI
    if (me_kernels_avxvnni_emulated.supported()) {
        check_table(&me_kernels_avxvnni_emulated);
        return;
    }
#endif
    print_message("no AVX2 here: AVX-VNNI is not emulated\n");
    skip();
}

static void emulated_avx512vnni_equals_the_reference(void **state) {
    (void)state;
#ifdef ME_TEST_EMULATED_AVX512VNNI
    check_table(&me_kernels_avx512vnni_emulated);
#else
    print_message("built without SIMDe: AVX512 is not emulated\n");
    skip();
#endif
}

/* ---- the reference ----------------------------------------------------------------------------------- */

/* Row of the weight . column of act, in double precision; *size is the sum of the terms' magnitudes. */
static double exact_product(const me_tensor *weight, const float *row, const me_activations *act, int column,
                            double *size) {
    bool integers = ggml_is_quantized(weight->type);
    double sum = 0;
    *size = 0;
    for (int i = 0; i < act->n_in; i++) {
        size_t block = me_act_at(act, column, i / ME_BLOCK);
        double x = integers ? (double)act->d[block] * act->q[block * ME_BLOCK + i % ME_BLOCK]
                            : (double)act->x[(size_t)column * act->n_in + i];
        sum += row[i] * x;
        *size += fabs(row[i] * x);
    }
    return sum;
}

static void check_reference(me_tensor weight, const char *what) {
    columns c = columns_random(5, (int)weight.n_in);
    float *y = product(&me_kernels_scalar, &weight, &c.act, 0, N_OUT);
    float *row = me_calloc((size_t)weight.n_in, sizeof *row);
    assert_non_null(row);
    for (int r = 0; r < N_OUT; r++) {
        const char *data = (const char *)weight.data + r * weight.row_bytes;
        if (weight.type == GGML_TYPE_F32)
            memcpy(row, data, weight.row_bytes);
        else
            ggml_get_type_traits(weight.type)->to_float(data, row, weight.n_in);
        for (int column = 0; column < c.act.n; column++) {
            double size, want = exact_product(&weight, row, &c.act, column, &size);
            if (!(fabs(y[column * LDY + r] - want) <= 1e-5 * size))
                fail_msg("%s, %s: row %d of column %d is %.9g, not %.9g", ggml_type_name(weight.type), what,
                         r, column, y[column * LDY + r], want);
        }
    }
    me_free(row);
    me_free(y);
    columns_free(&c);
    weight_free(&weight);
}

static void reference_equals_dequantised_product(void **state) {
    (void)state;
    for (int i = 0; i < N_INTEGER_TYPES; i++) {
        check_reference(weight_of_values(integer_types[i], 1280), "values");
        for (int p = 0; p < N_PATTERNS; p++)
            check_reference(weight_of_pattern(integer_types[i], 512, &patterns[p]), patterns[p].name);
    }
    for (int i = 0; i < N_FLOAT_TYPES; i++)
        check_reference(weight_of_values(float_types[i], 333), "values");
}

static void quantised_activations_are_near(void **state) {
    (void)state;
    columns c = columns_random(6, 300);
    for (int i = 0; i < 6 * c.act.n_blocks; i++) {
        int column = i / c.act.n_blocks, first = i % c.act.n_blocks * ME_BLOCK;
        size_t block = me_act_at(&c.act, column, i % c.act.n_blocks);
        int sum = 0, most = 0;
        for (int k = 0; k < ME_BLOCK; k++) {
            int q = c.act.q[block * ME_BLOCK + k];
            float x = first + k < 300 ? c.x[column * 300 + first + k] : 0;
            assert_true(fabsf(x - (float)q * c.act.d[block]) <= .5001f * c.act.d[block]);
            sum += q;
            most = abs(q) > most ? abs(q) : most;
            if (k == 15) assert_int_equal(c.act.half_sums[2 * block], sum);
        }
        assert_int_equal(most, c.act.d[block] == 0 ? 0 : 127);
        assert_int_equal(c.act.half_sums[2 * block] + c.act.half_sums[2 * block + 1], sum);
        assert_true(c.act.s[block] == c.act.d[block] * (float)sum);
    }
    columns_free(&c);
}

/* ---- choice ------------------------------------------------------------------------------------------ */

static void the_fastest_supported_table_is_picked(void **state) {
    (void)state;
    const me_kernels *last = NULL;
    for (const me_kernels *const *table = me_kernels_all; *table; table++) {
        bool supported = (*table)->supported();
        if (supported) last = *table;
        assert_ptr_equal(me_kernels_pick((*table)->name), supported ? *table : NULL);
    }
    assert_ptr_equal(me_kernels_pick(NULL), last);
    assert_ptr_equal(me_kernels_all[0], &me_kernels_scalar);
    assert_null(me_kernels_pick("abacus"));
}

/* The environment as it was is put back: the suite runs under a table of its own, too. */
static int save_choice(void **state) {
    const char *set = getenv("MOBIEDIT_KERNELS");
    *state = set ? strdup(set) : NULL;
    return set && !*state;
}

static int restore_choice(void **state) {
    int failed = *state ? setenv("MOBIEDIT_KERNELS", *state, 1) : unsetenv("MOBIEDIT_KERNELS");
    free(*state);
    return failed;
}

static void the_environment_chooses_a_table(void **state) {
    (void)state;
    for (const me_kernels *const *table = me_kernels_all; *table; table++) {
        const me_kernels *chosen = NULL;
        mobiedit_error err = {0};
        assert_int_equal(setenv("MOBIEDIT_KERNELS", (*table)->name, 1), 0);
        mobiedit_status status = me_kernels_choose(NULL, &chosen, &err);
        assert_int_equal(status, (*table)->supported() ? MOBIEDIT_OK : MOBIEDIT_E_ARGUMENT);
        assert_ptr_equal(chosen, (*table)->supported() ? *table : NULL);
        if (status != MOBIEDIT_OK) assert_non_null(strstr(err.message, (*table)->name));
    }
}

static void a_name_goes_before_the_environment(void **state) {
    const me_kernels *chosen = NULL;
    (void)state;
    assert_int_equal(setenv("MOBIEDIT_KERNELS", "abacus", 1), 0);
    assert_int_equal(me_kernels_choose("scalar", &chosen, NULL), MOBIEDIT_OK);
    assert_ptr_equal(chosen, &me_kernels_scalar);
}

static void without_a_choice_the_fastest_computes(void **state) {
    const me_kernels *chosen = NULL;
    (void)state;
    assert_int_equal(setenv("MOBIEDIT_KERNELS", "", 1), 0);
    assert_int_equal(me_kernels_choose(NULL, &chosen, NULL), MOBIEDIT_OK);
    assert_ptr_equal(chosen, me_kernels_pick(NULL));
    assert_int_equal(unsetenv("MOBIEDIT_KERNELS"), 0);
    assert_int_equal(me_kernels_choose(NULL, &chosen, NULL), MOBIEDIT_OK);
    assert_ptr_equal(chosen, me_kernels_pick(NULL));
}

static void unknown_tables_are_refused_with_those_that_are_there(void **state) {
    const me_kernels *chosen = NULL;
    mobiedit_error err = {0};
    (void)state;
    assert_int_equal(setenv("MOBIEDIT_KERNELS", "abacus", 1), 0);
    assert_int_equal(me_kernels_choose(NULL, &chosen, &err), MOBIEDIT_E_ARGUMENT);
    assert_null(chosen);
    assert_non_null(strstr(err.message, "MOBIEDIT_KERNELS"));
    assert_non_null(strstr(err.message, "\"abacus\""));
    assert_non_null(strstr(err.message, "scalar"));
    assert_int_equal(me_kernels_choose("abacus", &chosen, &err), MOBIEDIT_E_ARGUMENT);
    assert_null(chosen);
}

static void other_types_are_refused(void **state) {
    (void)state;
    int supported = 0;
    for (int type = 0; type < GGML_TYPE_COUNT; type++)
        supported += me_kernels_type_supported((enum ggml_type)type);
    assert_int_equal(supported, N_INTEGER_TYPES + N_FLOAT_TYPES);
    for (int i = 0; i < N_INTEGER_TYPES; i++)
        assert_true(me_kernels_type_supported(integer_types[i]));
    for (int i = 0; i < N_FLOAT_TYPES; i++)
        assert_true(me_kernels_type_supported(float_types[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantised_activations_are_near),
        cmocka_unit_test(reference_equals_dequantised_product),
        cmocka_unit_test(tables_equal_the_reference),
        cmocka_unit_test(emulated_avxvnni_equals_the_reference),
        cmocka_unit_test(emulated_avx512vnni_equals_the_reference),
        cmocka_unit_test(the_fastest_supported_table_is_picked),
        cmocka_unit_test_setup_teardown(the_environment_chooses_a_table, save_choice, restore_choice),
        cmocka_unit_test_setup_teardown(a_name_goes_before_the_environment, save_choice, restore_choice),
        cmocka_unit_test_setup_teardown(without_a_choice_the_fastest_computes, save_choice, restore_choice),
        cmocka_unit_test_setup_teardown(unknown_tables_are_refused_with_those_that_are_there, save_choice,
                                        restore_choice),
        cmocka_unit_test(other_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
