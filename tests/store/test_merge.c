/* Merged models: the integers of each type's rows, matrices with an edit
 * folded in, the file written of them. */
#define _GNU_SOURCE
#include "store/model_copy.h"

#include "base/memory.h"
#include "base/random.h"
#include "scratch.h"
#include "split_model.h"
#include "store/grid.h"
#include "tiny_model.h"

#include <errno.h>
#include <gguf.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const enum ggml_type GRID_TYPES[] = {
    GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0,   GGML_TYPE_Q2_K,
    GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS};
static const enum ggml_type FLOAT_TYPES[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};
enum { N_GRID_TYPES = sizeof GRID_TYPES / sizeof *GRID_TYPES };
enum { N_FLOAT_TYPES = sizeof FLOAT_TYPES / sizeof *FLOAT_TYPES };
enum { LAYER = 1, RANK = 2, N_SAMPLES = 12 }; /* fewer than values in a row, as real keys are */

static me_pool *pool;

static int set_up(void **state) {
    return scratch_open(state) == 0 && me_pool_open(2, &pool, NULL) == MOBIEDIT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    me_pool_close(pool);
    return scratch_close(state);
}

static float *normals(size_t n, uint64_t seed) {
    float *x = me_calloc(n, sizeof *x);
    me_random random;
    assert_non_null(x);
    me_random_seed(&random, seed);
    me_random_normals(&random, x, n);
    return x;
}

/* ---- integers of a row ------------------------------------------------------------------------------- */

enum { N = 512 };

/* No integer comes closer to `wanted` than the one that is said to be nearest. */
static void nearest_of(const me_grid *grid, int i, float wanted) {
    const float off = fabsf(me_grid_value(grid, i, me_grid_nearest(grid, i, wanted)) - wanted);
    for (int q = 0; q <= grid->max; q++)
        assert_true(off <= fabsf(me_grid_value(grid, i, q) - wanted) + 1e-5F);
}

/* What ggml reads from a row is what its integers stand for; other integers that are put in are read back. */
static void grid_of(enum ggml_type type) {
    uint8_t row[N * 4], old[N * 4], spare[N * 4], q[N], wanted[N];
    float zero[N], step[N], read[N], *values = normals(N, 3);
    me_grid grid = {.zero = zero, .step = step, .q = q};
    const size_t bytes = ggml_row_size(type, N);
    const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
    (void)ggml_quantize_chunk(type, values, row, 0, 1, N, NULL);
    memcpy(old, row, bytes);
    me_grid_read(type, row, N, spare, &grid);
    assert_memory_equal(row, old, bytes);
    to_float(row, read, N);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(me_grid_value(&grid, i, q[i]) - read[i]) < 1e-4F);
    me_grid_write(type, q, N, row);
    assert_memory_equal(row, old, bytes);
    for (int i = 0; i < N; i++)
        wanted[i] = (uint8_t)((i * 7 + i / 16) % (me_grid_max(type) + 1));
    me_grid_write(type, wanted, N, row);
    to_float(row, read, N);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(me_grid_value(&grid, i, wanted[i]) - read[i]) < 1e-4F);
    me_grid_read(type, row, N, spare, &grid);
    assert_memory_equal(q, wanted, N);
    for (int i = 0; i < N; i++)
        nearest_of(&grid, i, values[i]);
    me_free(values);
}

static void integers_are_those_ggml_reads(void **state) {
    (void)state;
    for (int i = 0; i < N_GRID_TYPES; i++)
        grid_of(GRID_TYPES[i]);
    for (int i = 0; i < N_FLOAT_TYPES; i++)
        assert_int_equal(me_grid_max(FLOAT_TYPES[i]), 0);
}

/* ---- matrices ---------------------------------------------------------------------------------------- */

typedef struct {
    me_model *model;
    float *left, *delta; /* [RANK][d_ff], [RANK][d_model]; every third row of the matrix is not edited */
    float *columns;      /* [d_ff][N_SAMPLES] */
    me_adapter_part edit;
    me_key_samples samples;
} bench;

static bench bench_open(enum ggml_type type, float size) {
    bench b;
    assert_true(tiny_model_write(scratch_path("model.gguf"), "llama", &(tiny_model_options){.type = type}));
    assert_int_equal(me_model_open(scratch_path("model.gguf"), &b.model, NULL), MOBIEDIT_OK);
    const size_t d_ff = (size_t)b.model->d_ff, d = (size_t)b.model->d_model;
    b.left = normals(RANK * d_ff, 1);
    b.delta = normals(RANK * d, 2);
    b.columns = normals(d_ff * N_SAMPLES, 4);
    for (size_t i = 0; i < RANK * d; i++)
        b.delta[i] *= i % d % 3 == 0 ? 0 : size;
    b.edit =
        (me_adapter_part){.layer = LAYER, .matrix = ME_MLP_DOWN, .rank = RANK, .a = b.left, .b = b.delta};
    b.samples = (me_key_samples){.columns = b.columns, .n = N_SAMPLES};
    return b;
}

static void bench_close(bench *b) {
    me_free(b->left);
    me_free(b->delta);
    me_free(b->columns);
    me_model_close(b->model);
}

/* Row `row` of W + edit. */
static void exact_row(const bench *b, int row, float *out) {
    me_tensor_row(&b->model->layers[LAYER].down, row, out);
    for (int r = 0; r < RANK; r++)
        for (int i = 0; i < b->model->d_ff; i++)
            out[i] += b->delta[r * b->model->d_model + row] * b->left[r * b->model->d_ff + i];
}

/* |(made - exact) k| / |edit k| over the samples, in doubles. */
static double relative_error(const bench *b, const me_tensor *made) {
    const size_t d_ff = (size_t)b->model->d_ff;
    float *exact = me_calloc(3 * d_ff, sizeof *exact), *is = exact + d_ff, *was = is + d_ff;
    double squares = 0, squares_edit = 0;
    for (int row = 0; row < b->model->d_model; row++) {
        exact_row(b, row, exact);
        me_tensor_row(made, row, is);
        me_tensor_row(&b->model->layers[LAYER].down, row, was);
        for (size_t k = 0; k < N_SAMPLES; k++) {
            double off = 0, edit = 0;
            for (size_t i = 0; i < d_ff; i++) {
                off += ((double)is[i] - exact[i]) * b->columns[i * N_SAMPLES + k];
                edit += ((double)exact[i] - was[i]) * b->columns[i * N_SAMPLES + k];
            }
            squares += off * off;
            squares_edit += edit * edit;
        }
    }
    me_free(exact);
    return sqrt(squares / squares_edit);
}

static me_tensor as_tensor(const bench *b, const me_folded *folded) {
    return (me_tensor){.data = folded->data,
                       .type = folded->type,
                       .n_in = b->model->d_ff,
                       .n_out = b->model->d_model,
                       .row_bytes = ggml_row_size(folded->type, b->model->d_ff)};
}

/* W + edit as ggml quantises it. */
static double error_of_ggml(const bench *b) {
    const me_tensor *w = &b->model->layers[LAYER].down;
    uint8_t *data = me_calloc((size_t)w->n_out, w->row_bytes);
    float *exact = me_calloc((size_t)w->n_in, sizeof *exact);
    for (int row = 0; row < w->n_out; row++) {
        exact_row(b, row, exact);
        (void)ggml_quantize_chunk(w->type, exact, data + (size_t)row * w->row_bytes, 0, 1, w->n_in, NULL);
    }
    me_tensor made = *w;
    made.data = data;
    const double error = relative_error(b, &made);
    me_free(data);
    me_free(exact);
    return error;
}

static void unedited_rows_stay(const bench *b, const me_folded *folded) {
    const me_tensor *w = &b->model->layers[LAYER].down;
    for (size_t row = 0; row < (size_t)w->n_out; row += 3)
        assert_memory_equal((const char *)folded->data + row * w->row_bytes,
                            (const char *)w->data + row * w->row_bytes, w->row_bytes);
}

/* An edit about as large as the grid's steps, and one that four bits can hardly tell. Of what ggml's rounding
 * leaves, the samples see a quarter of the first's error, and clearly less of the second's. */
static void edits_survive_few_bits(void **state) {
    (void)state;
    const float sizes[] = {0.02F, 0.001F};
    const double bounds[] = {0.25, 0.85};
    for (int i = 0; i < N_GRID_TYPES; i++)
        for (int j = 0; j < 2; j++) {
            bench b = bench_open(GRID_TYPES[i], sizes[j]);
            me_folded folded = {0};
            assert_int_equal(me_fold(b.model, &b.edit, GRID_TYPES[i], &b.samples, pool, &folded, NULL),
                             MOBIEDIT_OK);
            assert_int_equal(folded.bytes, (size_t)b.model->d_model * b.model->layers[LAYER].down.row_bytes);
            const me_tensor made = as_tensor(&b, &folded);
            const double error = relative_error(&b, &made);
            assert_true(error < bounds[j] * error_of_ggml(&b));
            assert_true(fabs(folded.error - error) < 0.02 * error);
            unedited_rows_stay(&b, &folded);
            me_free(folded.data);
            bench_close(&b);
        }
}

/* Without samples: no farther from W + edit than ggml's rounding, and
 * nothing is done to an edit of nothing. */
static void nearest_without_samples(void **state) {
    (void)state;
    const me_key_samples none = {0};
    for (int i = 0; i < N_GRID_TYPES; i++) {
        bench b = bench_open(GRID_TYPES[i], 0.02F);
        me_folded folded = {0};
        assert_int_equal(me_fold(b.model, &b.edit, GRID_TYPES[i], &none, pool, &folded, NULL), MOBIEDIT_OK);
        const me_tensor made = as_tensor(&b, &folded);
        assert_true(relative_error(&b, &made) < 1.1 * error_of_ggml(&b));
        assert_true(isnan(folded.error));
        unedited_rows_stay(&b, &folded);
        me_free(folded.data);
        for (int j = 0; j < RANK * b.model->d_model; j++)
            b.delta[j] *= 1e-6F;
        assert_int_equal(me_fold(b.model, &b.edit, GRID_TYPES[i], &none, pool, &folded, NULL), MOBIEDIT_OK);
        assert_memory_equal(folded.data, b.model->layers[LAYER].down.data, folded.bytes);
        me_free(folded.data);
        bench_close(&b);
    }
}

static void floats_are_rounded_once(void **state) {
    (void)state;
    for (int i = 0; i < N_FLOAT_TYPES; i++) {
        bench b = bench_open(GGML_TYPE_Q4_1, 0.02F);
        me_folded folded = {0};
        assert_int_equal(me_fold(b.model, &b.edit, FLOAT_TYPES[i], &b.samples, pool, &folded, NULL),
                         MOBIEDIT_OK);
        const me_tensor made = as_tensor(&b, &folded);
        const double bound[] = {1e-5, 1e-2, 1e-1};
        assert_true(relative_error(&b, &made) < bound[i]);
        me_free(folded.data);
        bench_close(&b);
    }
}

static void expect_no_fit(const bench *b, enum ggml_type type) {
    me_folded folded = {0};
    mobiedit_error err = {0};
    assert_int_equal(me_fold(b->model, &b->edit, type, &b->samples, pool, &folded, &err),
                     MOBIEDIT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "blk.1.ffn_down"));
    assert_null(folded.data);
}

static void values_that_do_not_fit_are_refused(void **state) {
    (void)state;
    bench b = bench_open(GGML_TYPE_Q4_1, 1e9F);
    expect_no_fit(&b, GGML_TYPE_F16);
    b.delta[1] = b.left[0] = 3e38F; /* the product is infinite */
    for (int i = 0; i < N_GRID_TYPES; i++)
        if (ggml_blck_size(GRID_TYPES[i]) == 32) expect_no_fit(&b, GRID_TYPES[i]);
    bench_close(&b);
}

/* ---- the file ---------------------------------------------------------------------------------------- */

static mobiedit_status write_merged(const bench *b, enum ggml_type type, const char *note, const char *path,
                                    me_pending_file *pending, mobiedit_error *err) {
    me_folded folded = {0};
    assert_int_equal(me_fold(b->model, &b->edit, type, &b->samples, pool, &folded, NULL), MOBIEDIT_OK);
    const mobiedit_status status = me_model_copy_write(b->model, &folded, 1, note, path, pending, err);
    me_free(folded.data);
    return status;
}

static struct gguf_context *read_gguf(const char *path, struct ggml_context **tensors) {
    struct gguf_context *gguf = gguf_init_from_file(path, (struct gguf_init_params){.ctx = tensors});
    assert_non_null(gguf);
    return gguf;
}

static void same_value(const struct gguf_context *a, const struct gguf_context *b, int64_t i) {
    const char *key = gguf_get_key(a, i);
    const int64_t j = gguf_find_key(b, key);
    assert_int_equal(i, j);
    const enum gguf_type type = gguf_get_kv_type(a, i);
    assert_int_equal(gguf_get_kv_type(b, j), type);
    if (type == GGUF_TYPE_STRING) {
        assert_string_equal(gguf_get_val_str(a, i), gguf_get_val_str(b, j));
    } else if (type == GGUF_TYPE_ARRAY) {
        const size_t n = gguf_get_arr_n(a, i);
        assert_int_equal(gguf_get_arr_type(a, i), gguf_get_arr_type(b, j));
        assert_int_equal(n, gguf_get_arr_n(b, j));
        for (size_t k = 0; k < n && gguf_get_arr_type(a, i) == GGUF_TYPE_STRING; k++)
            assert_string_equal(gguf_get_arr_str(a, i, k), gguf_get_arr_str(b, j, k));
        if (gguf_get_arr_type(a, i) != GGUF_TYPE_STRING)
            assert_memory_equal(gguf_get_arr_data(a, i), gguf_get_arr_data(b, j), n * 4);
    } else if (type != GGUF_TYPE_BOOL) {
        assert_memory_equal(gguf_get_val_data(a, i), gguf_get_val_data(b, j), 4);
    }
}

/* All metadata and all tensors but the edited one are the model's; its own has `type`. */
static void compare_files(const char *old_path, const char *new_path, enum ggml_type type) {
    struct ggml_context *old_tensors = NULL, *new_tensors = NULL;
    struct gguf_context *old = read_gguf(old_path, &old_tensors), *new = read_gguf(new_path, &new_tensors);
    for (int64_t i = 0; i < gguf_get_n_kv(old); i++)
        same_value(old, new, i);
    assert_int_equal(gguf_get_alignment(old), gguf_get_alignment(new));
    assert_int_equal(gguf_get_n_tensors(old), gguf_get_n_tensors(new));
    int changed = 0;
    for (int64_t i = 0; i < gguf_get_n_tensors(old); i++) {
        const char *name = gguf_get_tensor_name(old, i);
        const struct ggml_tensor *a = ggml_get_tensor(old_tensors, name),
                                 *b = ggml_get_tensor(new_tensors, name);
        assert_string_equal(name, gguf_get_tensor_name(new, i));
        if (strcmp(name, "blk.1.ffn_down.weight") == 0) {
            assert_int_equal(b->type, type);
            changed++;
        } else {
            assert_int_equal(a->type, b->type);
            assert_memory_equal(a->data, b->data, ggml_nbytes(a));
        }
    }
    assert_int_equal(changed, 1);
    ggml_free(old_tensors);
    ggml_free(new_tensors);
    gguf_free(old);
    gguf_free(new);
}

static void set_alignment(struct gguf_context *gguf, const void *user) {
    (void)user;
    gguf_set_val_u32(gguf, "general.alignment", 32); /* as it is anyway: the writer knows no other */
    gguf_set_val_str(gguf, "tokenizer.chat_template", "{% for message in messages %}");
    gguf_set_val_bool(gguf, "mobiedit.merged", true); /* of another type than ours */
}

static void file_is_the_model_but_for_the_edit(void **state) {
    (void)state;
    const enum ggml_type types[] = {GGML_TYPE_Q4_1, GGML_TYPE_F16};
    char output[512];
    (void)snprintf(output, sizeof output, "%s", scratch_path("merged.gguf"));
    for (int i = 0; i < 2; i++) {
        bench b = bench_open(GGML_TYPE_Q4_1, 0.02F);
        me_pending_file pending = {0};
        assert_int_equal(write_merged(&b, types[i], "first -> A", output, &pending, NULL), MOBIEDIT_OK);
        assert_int_equal(access(output, F_OK), -1);
        struct stat info;
        assert_int_equal(stat(pending.temporary, &info), 0);
        assert_int_equal(info.st_mode & 0777, scratch_usual_mode());
        assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
        compare_files(b.model->path, output, types[i]);
        me_model *merged = NULL;
        assert_int_equal(me_model_open(output, &merged, NULL), MOBIEDIT_OK);
        const me_tensor *down = &merged->layers[LAYER].down;
        assert_true(relative_error(&b, down) < 0.1);
        me_model_close(merged);
        bench_close(&b);
        assert_int_equal(unlink(output), 0);
    }
}

/* Metadata are the whole model's, without those of the parts. */
static void a_split_model_becomes_one_file(void **state) {
    (void)state;
    char output[512], whole[512], parts[512];
    (void)snprintf(output, sizeof output, "%s", scratch_path("merged.gguf"));
    (void)snprintf(parts, sizeof parts, "%s", scratch_path("parts"));
    for (int bare = 0; bare < 2; bare++) {
        bench b = bench_open(GGML_TYPE_Q4_1, 0.02F);
        (void)snprintf(whole, sizeof whole, "%s", b.model->path);
        assert_true(split_model(whole, parts, 3, &(split_options){.bare_first = bare}));
        me_model_close(b.model);
        assert_int_equal(me_model_open(scratch_path("parts-00001-of-00003.gguf"), &b.model, NULL), 0);
        me_pending_file pending = {0};
        assert_int_equal(write_merged(&b, GGML_TYPE_F16, "first -> A", output, &pending, NULL), MOBIEDIT_OK);
        assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
        compare_files(whole, output, GGML_TYPE_F16);
        struct gguf_context *gguf = gguf_init_from_file(output, (struct gguf_init_params){.no_alloc = true});
        assert_int_equal(gguf_find_key(gguf, "split.count"), -1);
        assert_int_equal(gguf_find_key(gguf, "split.no"), -1);
        assert_int_equal(gguf_find_key(gguf, "split.tensors.count"), -1);
        gguf_free(gguf);
        me_model *merged = NULL;
        assert_int_equal(me_model_open(output, &merged, NULL), MOBIEDIT_OK);
        assert_int_equal(merged->n_files, 1);
        assert_true(relative_error(&b, &merged->layers[LAYER].down) < 0.1);
        me_model_close(merged);
        bench_close(&b);
        assert_int_equal(unlink(output), 0);
    }
}

static void expect_note(const char *path, const char *note) {
    struct gguf_context *gguf = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
    assert_string_equal(gguf_get_val_str(gguf, gguf_find_key(gguf, "mobiedit.merged")), note);
    assert_string_equal(gguf_get_val_str(gguf, gguf_find_key(gguf, "mobiedit.version")), MOBIEDIT_VERSION);
    gguf_free(gguf);
}

/* A second merge keeps the first one's note; a value of another type under that key is replaced. */
static void notes_add_up(void **state) {
    (void)state;
    bench b = bench_open(GGML_TYPE_Q4_1, 0.02F);
    me_pending_file first = {0}, second = {0};
    assert_int_equal(write_merged(&b, GGML_TYPE_Q4_1, "first -> A", scratch_path("a.gguf"), &first, NULL), 0);
    expect_note(first.temporary, "first -> A");
    me_model_close(b.model);
    assert_int_equal(me_model_open(first.temporary, &b.model, NULL), MOBIEDIT_OK);
    assert_int_equal(write_merged(&b, GGML_TYPE_Q4_1, "second -> B", scratch_path("b.gguf"), &second, NULL),
                     0);
    expect_note(second.temporary, "first -> A\nsecond -> B");
    me_pending_discard(&first);
    me_pending_discard(&second);
    me_model_close(b.model);
    const tiny_model_options odd = {.type = GGML_TYPE_Q4_1, .change = set_alignment};
    assert_true(tiny_model_write(scratch_path("model.gguf"), "llama", &odd));
    assert_int_equal(me_model_open(scratch_path("model.gguf"), &b.model, NULL), MOBIEDIT_OK);
    assert_int_equal(write_merged(&b, GGML_TYPE_Q4_1, "first -> A", scratch_path("a.gguf"), &first, NULL), 0);
    expect_note(first.temporary, "first -> A");
    me_pending_discard(&first);
    bench_close(&b);
}

/* A limit on the size of files stands for a full disk: in the metadata, in tensors, in the last byte. */
static void full_disk_leaves_nothing(void **state) {
    (void)state;
    bench b = bench_open(GGML_TYPE_Q4_1, 0.02F);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    const int before = files_in_scratch();
    for (size_t limit = 0; limit < me_model_bytes(b.model); limit = limit < 100 ? 1000 : limit + 20011) {
        struct rlimit small = {.rlim_cur = limit, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        me_pending_file pending = {0};
        mobiedit_error err = {0};
        const mobiedit_status status =
            write_merged(&b, GGML_TYPE_Q4_1, "first -> A", scratch_path("merged.gguf"), &pending, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, MOBIEDIT_E_IO);
        assert_non_null(strstr(err.message, strerror(EFBIG)));
        assert_null(pending.temporary);
        assert_int_equal(files_in_scratch(), before);
    }
    signal(SIGXFSZ, SIG_DFL);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_those_ggml_reads),
        cmocka_unit_test(edits_survive_few_bits),
        cmocka_unit_test(nearest_without_samples),
        cmocka_unit_test(floats_are_rounded_once),
        cmocka_unit_test(values_that_do_not_fit_are_refused),
        cmocka_unit_test(file_is_the_model_but_for_the_edit),
        cmocka_unit_test(a_split_model_becomes_one_file),
        cmocka_unit_test(notes_add_up),
        cmocka_unit_test(full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
