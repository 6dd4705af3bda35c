/* Split models: the parts are read as the whole is, and what does not belong together is refused. */
#define _GNU_SOURCE
#include "model/model.h"

#include "base/memory.h"
#include "base/parts.h"
#include "oracle.h"
#include "scratch.h"
#include "split_model.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 3, N_TENSORS = 20 /* of such a model of two layers */ };

/* Part `no`, from 1, of N. Valid until the next call. */
static const char *part(const char *name, int no) {
    char file[64];
    (void)snprintf(file, sizeof file, "%s-%05d-of-%05d.gguf", name, no, N);
    return scratch_path(file);
}

/* Splits a new model of this seed into scratch files `name`-.... */
static void split(const char *name, uint64_t seed, const split_options *options) {
    char whole[SCRATCH_PATH_MAX], prefix[SCRATCH_PATH_MAX];
    const tiny_model_options tiny = {.seed = seed};
    (void)snprintf(whole, sizeof whole, "%s", scratch_path("whole.gguf"));
    (void)snprintf(prefix, sizeof prefix, "%s", scratch_path(name));
    assert_true(tiny_model_write(whole, "llama", &tiny));
    for (int i = 1; i <= N; i++)
        (void)unlink(part(name, i)); /* it may be a link to another */
    assert_true(split_model(whole, prefix, N, options));
}

static me_model *open_model(const char *path) {
    me_model *model = NULL;
    mobiedit_error err = {0};
    if (me_model_open(path, &model, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return model;
}

static void same_tensor(const me_tensor *a, const me_tensor *b) {
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->n_in, b->n_in);
    assert_int_equal(a->n_out, b->n_out);
    assert_memory_equal(a->data, b->data, (size_t)a->n_out * a->row_bytes);
}

static void same_model(const me_model *a, const me_model *b) {
    assert_int_equal(a->n_layer, b->n_layer);
    same_tensor(&a->tok_embd, &b->tok_embd);
    same_tensor(&a->output_norm, &b->output_norm);
    for (int i = 0; i < a->n_layer; i++) {
        same_tensor(&a->layers[i].attn_norm, &b->layers[i].attn_norm);
        for (int m = 0; m < ME_LAYER_MATRICES; m++)
            same_tensor(me_layer_matrix(&a->layers[i], m), me_layer_matrix(&b->layers[i], m));
    }
}

static void parts_are_read_as_the_whole(void **state) {
    (void)state;
    for (int bare = 0; bare < 2; bare++) {
        split("m", 1, &(split_options){.bare_first = bare});
        me_model *whole = open_model(scratch_path("whole.gguf")), *parts = open_model(part("m", 1));
        assert_int_equal(whole->n_files, 1);
        assert_int_equal(parts->n_files, N);
        assert_string_equal(parts->path, part("m", 1));
        same_model(whole, parts);
        me_model_release_pages(parts);
        same_model(whole, parts);
        size_t bytes = 0;
        for (int i = 0; i < N; i++) {
            assert_string_equal(parts->files[i].path, part("m", i + 1));
            assert_true(me_model_has_file(parts, part("m", i + 1)));
            bytes += parts->files[i].size;
        }
        assert_false(me_model_has_file(parts, scratch_path("whole.gguf")));
        assert_int_equal(me_model_bytes(parts), bytes);
        oracle judge; /* libllama takes what is accepted */
        assert_true(oracle_open(parts->path, 32, 1, &judge));
        oracle_close(&judge);
        me_model_close(whole);
        me_model_close(parts);
    }
}

/* Only the name of the first tells where the others are, so links to all of them do. */
static void links_are_followed(void **state) {
    (void)state;
    char target[SCRATCH_PATH_MAX];
    split("m", 1, NULL);
    for (int i = 1; i <= N; i++) {
        (void)snprintf(target, sizeof target, "%s", part("m", i));
        assert_int_equal(symlink(target, part("link", i)), 0);
    }
    me_model *parts = open_model(part("link", 1));
    assert_int_equal(parts->n_files, N);
    assert_true(me_model_has_file(parts, part("m", 2)));
    me_model_close(parts);
}

/* One part, as gguf-split makes of a small model, is a whole model whatever it is called. */
static void say_one_part(struct gguf_context *gguf, const void *user) {
    (void)user;
    gguf_set_val_u16(gguf, "split.no", 0);
    gguf_set_val_u16(gguf, "split.count", 1);
    gguf_set_val_i32(gguf, "split.tensors.count", N_TENSORS);
}

static void one_part_is_whole(void **state) {
    (void)state;
    const tiny_model_options tiny = {.change = say_one_part};
    assert_true(tiny_model_write(scratch_path("one.gguf"), "llama", &tiny));
    me_model *model = open_model(scratch_path("one.gguf"));
    assert_int_equal(model->n_files, 1);
    me_model_close(model);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void expect_refusal(const char *path, mobiedit_status status, const char *reason, const char *names) {
    me_model *model = NULL;
    mobiedit_error err = {0};
    const mobiedit_status got = me_model_open(path, &model, &err);
    if (got != status || !strstr(err.message, reason) || !strstr(err.message, names))
        fail_msg("wanted %s '%s' '%s', got %s '%s'", mobiedit_status_name(status), reason, names,
                 mobiedit_status_name(got), err.message);
    assert_null(model);
    assert_null(strchr(err.message, '\n'));
}

static void another_part_than_the_first_names_it(void **state) {
    (void)state;
    split("m", 1, NULL);
    expect_refusal(part("m", 2), MOBIEDIT_E_ARGUMENT, "part 2 of a model split into 3 files: open the first",
                   "m-00001-of-00003.gguf");
}

static void a_part_of_another_name_is_refused(void **state) {
    (void)state;
    split("m", 1, NULL);
    for (int i = 1; i <= 2; i++) {
        char old[SCRATCH_PATH_MAX];
        (void)snprintf(old, sizeof old, "%s", part("m", i));
        assert_int_equal(rename(old, scratch_path("renamed.gguf")), 0);
        expect_refusal(scratch_path("renamed.gguf"), MOBIEDIT_E_ARGUMENT, "must be named",
                       i == 1 ? "-00001-of-00003.gguf" : "-00002-of-00003.gguf");
    }
}

static void a_missing_part_is_named(void **state) {
    (void)state;
    split("m", 1, NULL);
    assert_int_equal(unlink(part("m", 3)), 0);
    expect_refusal(part("m", 1), MOBIEDIT_E_IO, "part 3 of 3", "m-00003-of-00003.gguf: No such file");
}

static void a_damaged_part_is_named(void **state) {
    (void)state;
    const struct {
        const char *bytes;
        size_t n;
        mobiedit_status status;
        const char *reason;
    } cases[] = {{"", 0, MOBIEDIT_E_FORMAT, "the file is empty"},
                 {"text", 4, MOBIEDIT_E_FORMAT, "not a GGUF file"},
                 {"GGUF\3\0\0\0\1", 9, MOBIEDIT_E_FORMAT, "truncated or damaged"},
                 {"GGUF\0\0\0\3", 8, MOBIEDIT_E_UNSUPPORTED, "the other byte order"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        split("m", 1, NULL);
        assert_true(put_bytes(part("m", 2), cases[i].bytes, cases[i].n));
        expect_refusal(part("m", 1), cases[i].status, cases[i].reason, "m-00002-of-00003.gguf");
    }
}

static void a_cut_part_is_named(void **state) {
    (void)state;
    struct stat info;
    split("m", 1, NULL);
    assert_int_equal(stat(part("m", 2), &info), 0);
    assert_int_equal(truncate(part("m", 2), info.st_size - 64), 0);
    expect_refusal(part("m", 1), MOBIEDIT_E_FORMAT, "lies beyond its end", "m-00002-of-00003.gguf");
}

static void a_repeated_part_is_refused(void **state) {
    (void)state;
    char target[SCRATCH_PATH_MAX];
    split("m", 1, NULL);
    (void)snprintf(target, sizeof target, "%s", part("m", 2));
    assert_int_equal(unlink(part("m", 3)), 0);
    assert_int_equal(symlink(target, part("m", 3)), 0);
    expect_refusal(part("m", 1), MOBIEDIT_E_FORMAT, "is part 2 of the model, not part 3",
                   "m-00003-of-00003.gguf");
}

/* A key of one part that is spoilt; of type COUNT it is removed. */
typedef struct {
    int part;
    const char *key;
    enum gguf_type type;
    int value;
} spoiler;

static void spoil(struct gguf_context *gguf, int at, const void *user) {
    const spoiler *s = user;
    if (at != s->part) return;
    (void)gguf_remove_key(gguf, s->key);
    if (s->type == GGUF_TYPE_UINT16) gguf_set_val_u16(gguf, s->key, (uint16_t)s->value);
    if (s->type == GGUF_TYPE_INT32) gguf_set_val_i32(gguf, s->key, s->value);
    if (s->type == GGUF_TYPE_UINT32) gguf_set_val_u32(gguf, s->key, (uint32_t)s->value);
    if (s->type == GGUF_TYPE_STRING) gguf_set_val_str(gguf, s->key, "2");
}

static void spoilt_parts_are_refused(void **state) {
    (void)state;
    const struct {
        spoiler how;
        mobiedit_status status;
        const char *reason, *name;
    } cases[] = {
        {{1, "split.no", GGUF_TYPE_COUNT, 0}, MOBIEDIT_E_FORMAT, "split.no is missing", "m-00002"},
        {{1, "split.no", GGUF_TYPE_STRING, 0}, MOBIEDIT_E_FORMAT, "split.no is not of the type", "m-00002"},
        {{1, "split.no", GGUF_TYPE_INT32, 1}, MOBIEDIT_E_FORMAT, "split.no is not of the type", "m-00002"},
        {{1, "split.count", GGUF_TYPE_UINT16, 4}, MOBIEDIT_E_FORMAT, "a part of another model", "m-00002"},
        {{2, "split.tensors.count", GGUF_TYPE_INT32, 9}, MOBIEDIT_E_FORMAT, "another model", "m-00003"},
        {{2, "split.tensors.count", GGUF_TYPE_COUNT, 0}, MOBIEDIT_E_FORMAT, "count is missing", "m-00003"},
        {{2, "general.alignment", GGUF_TYPE_UINT32, 8}, MOBIEDIT_E_UNSUPPORTED, "alignment is 8", "m-00003"},
        {{0, "split.count", GGUF_TYPE_INT32, 3}, MOBIEDIT_E_FORMAT, "count is not of the type", "m-00001"},
        {{0, "split.count", GGUF_TYPE_UINT16, 65535}, MOBIEDIT_E_ARGUMENT, "must be named", "m-00001"},
        {{0, "split.count", GGUF_TYPE_UINT16, 1}, MOBIEDIT_E_FORMAT, "is missing", "m-00001"},
        {{0, "split.no", GGUF_TYPE_UINT16, 65535}, MOBIEDIT_E_ARGUMENT, "part 65536", "m-00001"},
        {{0, "split.tensors.count", GGUF_TYPE_INT32, -1}, MOBIEDIT_E_FORMAT, "another model", "m-00002"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        split("m", 1, &(split_options){.change = spoil, .user = &cases[i].how});
        expect_refusal(part("m", 1), cases[i].status, cases[i].reason, cases[i].name);
    }
}

static void say_all_tensors(struct gguf_context *gguf, int at, const void *user) {
    (void)at;
    gguf_set_val_i32(gguf, "split.tensors.count", *(const int *)user);
}

static void a_wrong_number_of_tensors_is_refused(void **state) {
    (void)state;
    split("m", 1, &(split_options){.change = say_all_tensors, .user = &(int){N_TENSORS - 1}});
    expect_refusal(part("m", 1), MOBIEDIT_E_FORMAT, "3 files hold 20 tensors, not 19", "m-00001");
    split("m", 1, &(split_options){.change = say_all_tensors, .user = &(int){N_TENSORS + 1}});
    expect_refusal(part("m", 1), MOBIEDIT_E_FORMAT, "3 files hold 20 tensors, not 21", "m-00001");
}

/* Part 3 of a model whose first part has no tensors, in the place of part 3 of one whose first has some: both
 * say that it is the third of three of as many tensors. */
static void foreign_tensors_are_refused(void **state) {
    (void)state;
    char target[SCRATCH_PATH_MAX];
    split("m", 1, NULL);
    split("other", 1, &(split_options){.bare_first = true});
    (void)snprintf(target, sizeof target, "%s", part("m", 3));
    assert_int_equal(rename(part("other", 3), target), 0);
    expect_refusal(part("m", 1), MOBIEDIT_E_FORMAT, "tensors, not", "m-00001");
}

/* The third part has a tensor of the first once more, and all count it. */
static void repeat_a_tensor(struct gguf_context *gguf, int at, const void *user) {
    static float zeros[64];
    const int *n_tensors = user;
    gguf_set_val_i32(gguf, "split.tensors.count", *n_tensors + 1);
    if (at != 2) return;
    struct ggml_context *tensors =
        ggml_init((struct ggml_init_params){.mem_size = 2 * ggml_tensor_overhead(), .no_alloc = true});
    struct ggml_tensor *twin = ggml_new_tensor_1d(tensors, GGML_TYPE_F32, 64);
    twin->data = zeros;
    (void)ggml_set_name(twin, "output_norm.weight");
    gguf_add_tensor(gguf, twin);
    ggml_free(tensors);
}

static void a_tensor_in_two_parts_is_refused(void **state) {
    (void)state;
    split("m", 1, &(split_options){.change = repeat_a_tensor, .user = &(int){N_TENSORS}});
    expect_refusal(part("m", 1), MOBIEDIT_E_FORMAT, "output_norm.weight is in another part", "m-00003");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_read_as_the_whole),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(one_part_is_whole),
        cmocka_unit_test(another_part_than_the_first_names_it),
        cmocka_unit_test(a_part_of_another_name_is_refused),
        cmocka_unit_test(a_missing_part_is_named),
        cmocka_unit_test(a_damaged_part_is_named),
        cmocka_unit_test(a_cut_part_is_named),
        cmocka_unit_test(a_repeated_part_is_refused),
        cmocka_unit_test(spoilt_parts_are_refused),
        cmocka_unit_test(a_wrong_number_of_tensors_is_refused),
        cmocka_unit_test(foreign_tensors_are_refused),
        cmocka_unit_test(a_tensor_in_two_parts_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
