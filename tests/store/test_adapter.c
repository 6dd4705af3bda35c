/* Adapter files: what is written, that nothing is left behind where writing fails, and what is refused. */
#define _GNU_SOURCE
#include "store/adapter.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "scratch.h"
#include "tiny_model.h"

#include <errno.h>
#include <gguf.h>
#include <llama.h>
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

enum { RANK = 3 };

static char model_path[512], output[512];
static me_model *model;
static float *left, *delta; /* [RANK][d_ff], [RANK][d_model] */

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    (void)snprintf(model_path, sizeof model_path, "%s", scratch_path("model.gguf"));
    (void)snprintf(output, sizeof output, "%s", scratch_path("edit.gguf"));
    if (!tiny_model_write(model_path, "llama", NULL) || me_model_open(model_path, &model, NULL)) return -1;
    size_t n_left = RANK * (size_t)model->d_ff, n_delta = RANK * (size_t)model->d_model;
    left = me_calloc(n_left, sizeof *left);
    delta = me_calloc(n_delta, sizeof *delta);
    if (!left || !delta) return -1;
    me_random random;
    me_random_seed(&random, 7);
    me_random_normals(&random, left, n_left);
    me_random_normals(&random, delta, n_delta);
    return 0;
}

static int tear_down(void **state) {
    me_model_close(model);
    me_free(left);
    me_free(delta);
    return scratch_close(state);
}

static mobiedit_status write_adapter(const char *path, me_pending_file *pending, mobiedit_error *err) {
    const me_adapter_part part = {.layer = 1, .matrix = ME_MLP_DOWN, .rank = RANK, .a = left, .b = delta};
    const me_adapter adapter = {
        .parts = &part, .n_parts = 1, .description = "The capital of {Japan} is -> Lima"};
    return me_adapter_write(model, &adapter, path, pending, err);
}

static void commit_adapter(void) {
    me_pending_file pending = {0};
    assert_int_equal(write_adapter(output, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
}

static const char *text_of(const struct gguf_context *gguf, const char *key) {
    int64_t id = gguf_find_key(gguf, key);
    assert_true(id >= 0);
    return gguf_get_val_str(gguf, id);
}

static void file_holds_the_edit(void **state) {
    (void)state;
    int before = files_in_scratch();
    me_pending_file pending = {0};
    assert_int_equal(write_adapter(output, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(access(output, F_OK), -1);
    struct stat info;
    assert_int_equal(stat(pending.temporary, &info), 0);
    assert_int_equal(info.st_mode & 0777, scratch_usual_mode());
    assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
    assert_null(pending.temporary);
    assert_int_equal(files_in_scratch(), before + 1);

    struct ggml_context *tensors = NULL;
    struct gguf_context *gguf = gguf_init_from_file(output, (struct gguf_init_params){.ctx = &tensors});
    assert_non_null(gguf);
    assert_string_equal(text_of(gguf, "general.type"), "adapter");
    assert_string_equal(text_of(gguf, "general.architecture"), "llama");
    assert_string_equal(text_of(gguf, "general.description"), "The capital of {Japan} is -> Lima");
    assert_string_equal(text_of(gguf, "adapter.type"), "lora");
    assert_string_equal(text_of(gguf, "mobiedit.version"), MOBIEDIT_VERSION);
    assert_string_equal(text_of(gguf, "mobiedit.model.file"), "model.gguf");
    assert_true(gguf_get_val_f32(gguf, gguf_find_key(gguf, "adapter.lora.alpha")) == RANK);
    assert_int_equal(gguf_get_n_tensors(gguf), 2);
    const struct ggml_tensor *a = ggml_get_tensor(tensors, "blk.1.ffn_down.weight.lora_a");
    const struct ggml_tensor *b = ggml_get_tensor(tensors, "blk.1.ffn_down.weight.lora_b");
    assert_true(a->type == GGML_TYPE_F32 && a->ne[0] == model->d_ff && a->ne[1] == RANK);
    assert_true(b->type == GGML_TYPE_F32 && b->ne[0] == RANK && b->ne[1] == model->d_model);
    assert_memory_equal(a->data, left, RANK * (size_t)model->d_ff * sizeof *left);
    const float *b_data = b->data;
    for (int i = 0; i < RANK; i++)
        for (int j = 0; j < model->d_model; j++)
            assert_true(b_data[j * RANK + i] == delta[i * model->d_model + j]);
    ggml_free(tensors);
    gguf_free(gguf);
    assert_int_equal(me_adapter_check(model, output, NULL), MOBIEDIT_OK);
    assert_int_equal(unlink(output), 0);
}

static void put_name(struct gguf_context *gguf, const void *name) {
    gguf_set_val_str(gguf, "general.name", name);
}

static uint32_t number_of(const struct gguf_context *gguf, const char *key) {
    const int64_t id = gguf_find_key(gguf, key);
    assert_true(id >= 0);
    return gguf_get_val_u32(gguf, id);
}

/* Bytes of a file; freed with me_free. */
static char *read_bytes(const char *path, size_t *size) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    *size = (size_t)info.st_size;
    char *bytes = me_calloc(*size, 1);
    FILE *file = fopen(path, "rb");
    assert_true(bytes && file);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    (void)fclose(file);
    return bytes;
}

/* What llama.cpp's converter writes about the model, by its name or else its file's; no facts unless they are
 * given; and the same bytes each time. */
static void metadata_are_those_of_the_converter(void **state) {
    (void)state;
    static const struct {
        const char *given, *base, *own;
    } cases[] = {{"Tiny Model", "Tiny Model", "Tiny Model edits"}, {NULL, "named.gguf", "named.gguf edits"}};
    const me_adapter_part part = {.layer = 1, .matrix = ME_MLP_DOWN, .rank = RANK, .a = left, .b = delta};
    const me_adapter adapter = {.parts = &part, .n_parts = 1};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tiny_model_options options = {.change = cases[i].given ? put_name : NULL,
                                            .user = cases[i].given};
        char path[512];
        (void)snprintf(path, sizeof path, "%s", scratch_path("named.gguf"));
        assert_true(tiny_model_write(path, "llama", &options));
        me_model *named = NULL;
        assert_int_equal(me_model_open(path, &named, NULL), MOBIEDIT_OK);
        me_pending_file first = {0}, second = {0};
        assert_int_equal(me_adapter_write(named, &adapter, output, &first, NULL), MOBIEDIT_OK);
        assert_int_equal(me_adapter_write(named, &adapter, output, &second, NULL), MOBIEDIT_OK);
        struct gguf_context *gguf =
            gguf_init_from_file(first.temporary, (struct gguf_init_params){.no_alloc = true});
        assert_non_null(gguf);
        assert_string_equal(text_of(gguf, "general.name"), cases[i].own);
        assert_int_equal(number_of(gguf, "general.base_model.count"), 1);
        assert_string_equal(text_of(gguf, "general.base_model.0.name"), cases[i].base);
        assert_int_equal(number_of(gguf, "general.quantization_version"), GGML_QNT_VERSION);
        assert_string_equal(text_of(gguf, "adapter.lora.task_name"), "mobiedit");
        assert_int_equal(gguf_find_key(gguf, "general.description"), -1);
        gguf_free(gguf);
        size_t n_first, n_second;
        char *a = read_bytes(first.temporary, &n_first), *b = read_bytes(second.temporary, &n_second);
        assert_int_equal(n_first, n_second);
        assert_memory_equal(a, b, n_first);
        me_free(a);
        me_free(b);
        me_pending_discard(&first);
        me_pending_discard(&second);
        me_model_close(named);
        assert_int_equal(unlink(path), 0);
    }
}

/* Matrices of different rank share one alpha: llama.cpp multiplies by alpha / rank, which must come out as 1.
 */
static void ranks_may_differ(void **state) {
    (void)state;
    const me_adapter_part parts[] = {
        {.layer = 0, .matrix = ME_MLP_DOWN, .rank = 1, .a = left, .b = delta},
        {.layer = 1, .matrix = ME_MLP_DOWN, .rank = 2, .a = left, .b = delta},
    };
    const me_adapter adapter = {.parts = parts, .n_parts = 2};
    me_pending_file pending = {0};
    assert_int_equal(me_adapter_write(model, &adapter, output, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_adapter_check(model, pending.temporary, NULL), MOBIEDIT_OK);
    struct ggml_context *tensors = NULL;
    struct gguf_context *gguf =
        gguf_init_from_file(pending.temporary, (struct gguf_init_params){.ctx = &tensors});
    float alpha = gguf_get_val_f32(gguf, gguf_find_key(gguf, "adapter.lora.alpha"));
    for (int i = 0; i < 2; i++) {
        char name[GGML_MAX_NAME];
        (void)snprintf(name, sizeof name, "blk.%d.ffn_down.weight.lora_b", i);
        const float *b = ggml_get_tensor(tensors, name)->data;
        assert_true(fabsf(b[0] * alpha / (float)parts[i].rank - delta[0]) < 1e-6F);
    }
    ggml_free(tensors);
    gguf_free(gguf);
    me_pending_discard(&pending);
    assert_int_equal(access(output, F_OK), -1);
}

static void same_floats(const float *read, const float *written, size_t n) {
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(read[i] - written[i]) <= 1e-6F * fabsf(written[i]));
}

/* Gate, up and down of one layer and gate of another, each of a rank of its own, come back as they were
 * written, and libllama loads the file. */
static void all_matrices_come_back(void **state) {
    (void)state;
    const me_adapter_part parts[] = {
        {.layer = 0, .matrix = ME_MLP_GATE, .rank = 3, .a = delta, .b = left},
        {.layer = 1, .matrix = ME_MLP_GATE, .rank = 1, .a = delta, .b = left},
        {.layer = 1, .matrix = ME_MLP_UP, .rank = 2, .a = delta + 1, .b = left + 1},
        {.layer = 1, .matrix = ME_MLP_DOWN, .rank = 3, .a = left, .b = delta},
    };
    enum { N_PARTS = sizeof parts / sizeof *parts };
    const me_adapter adapter = {.parts = parts, .n_parts = N_PARTS, .description = "{A} is -> B"};
    me_pending_file pending = {0};
    me_adapter_data read = {0};
    assert_int_equal(me_adapter_write(model, &adapter, output, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_adapter_read(model, output, &read, NULL), MOBIEDIT_OK);
    assert_string_equal(read.description, "{A} is -> B");
    assert_int_equal(read.n_parts, N_PARTS);
    for (int i = 0; i < N_PARTS; i++) {
        const me_adapter_part *is = &read.parts[i], *was = &parts[i];
        const me_tensor *matrix = me_mlp_tensor(model, was->layer, was->matrix);
        assert_true(is->layer == was->layer && is->matrix == was->matrix && is->rank == was->rank);
        same_floats(is->a, was->a, (size_t)is->rank * (size_t)matrix->n_in);
        same_floats(is->b, was->b, (size_t)is->rank * (size_t)matrix->n_out);
    }
    me_adapter_data_free(&read);
    struct llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = 0;
    struct llama_model *theirs = llama_model_load_from_file(model_path, params);
    assert_non_null(theirs);
    assert_non_null(llama_adapter_lora_init(theirs, output));
    llama_model_free(theirs); /* with the adapter */
    assert_int_equal(unlink(output), 0);
}

static void discard_leaves_the_old_file(void **state) {
    (void)state;
    commit_adapter();
    struct stat old, now;
    assert_int_equal(stat(output, &old), 0);
    int before = files_in_scratch();
    me_pending_file pending = {0};
    assert_int_equal(write_adapter(output, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(files_in_scratch(), before + 1);
    me_pending_discard(&pending);
    assert_null(pending.path);
    assert_int_equal(files_in_scratch(), before);
    assert_int_equal(stat(output, &now), 0);
    assert_int_equal(now.st_ino, old.st_ino);
    commit_adapter();
    assert_int_equal(stat(output, &now), 0);
    assert_int_not_equal(now.st_ino, old.st_ino);
    assert_int_equal(unlink(output), 0);
}

static void expect_no_output(const char *path, const char *reason) {
    int before = files_in_scratch();
    me_pending_file pending = {0};
    mobiedit_error err = {0};
    assert_int_equal(write_adapter(path, &pending, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, reason));
    assert_null(strchr(err.message, '\n'));
    assert_null(pending.temporary);
    assert_int_equal(files_in_scratch(), before);
}

static void bad_places_are_refused(void **state) {
    (void)state;
    expect_no_output(scratch_folder, "folder");
    expect_no_output("/dev/null", "regular file");
    expect_no_output("/no/such/folder/edit.gguf", strerror(ENOENT));
    expect_no_output("/proc/edit.gguf", "/proc/edit.gguf");
    char below_a_file[600];
    (void)snprintf(below_a_file, sizeof below_a_file, "%s/edit.gguf", model_path);
    expect_no_output(below_a_file, strerror(ENOTDIR));
    (void)snprintf(below_a_file, sizeof below_a_file, "%s/", scratch_folder);
    expect_no_output(below_a_file, "not the name of a file");
}

static void folder_in_the_way_fails_commit(void **state) {
    (void)state;
    me_pending_file pending = {0};
    mobiedit_error err = {0};
    assert_int_equal(write_adapter(output, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(mkdir(output, 0700), 0);
    int before = files_in_scratch();
    assert_int_equal(me_pending_commit(&pending, &err), MOBIEDIT_E_IO);
    assert_int_equal(files_in_scratch(), before - 1);
    assert_int_equal(rmdir(output), 0);
}

/* A limit on the size of files stands for a full disk: writing stops in the middle. */
static void full_disk_leaves_nothing(void **state) {
    (void)state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit < 2500; limit = limit * 2 + 1) {
        small = (struct rlimit){.rlim_cur = limit, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int before = files_in_scratch();
        me_pending_file pending = {0};
        mobiedit_error err = {0};
        mobiedit_status status = write_adapter(output, &pending, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, MOBIEDIT_E_IO);
        assert_non_null(strstr(err.message, strerror(EFBIG)));
        assert_int_equal(files_in_scratch(), before);
    }
    signal(SIGXFSZ, SIG_DFL);
}

static void senseless_edits_are_refused(void **state) {
    (void)state;
    const me_mlp_matrix gate = ME_MLP_GATE, down = ME_MLP_DOWN;
    const me_adapter_part bad[][2] = {
        {{.layer = 2, .matrix = down, .rank = 1, .a = left, .b = delta}},
        {{.layer = -1, .matrix = down, .rank = 1, .a = left, .b = delta}},
        {{.layer = 0, .matrix = down, .rank = 0, .a = left, .b = delta}},
        {{.layer = 0, .matrix = (me_mlp_matrix)3, .rank = 1, .a = left, .b = delta}},
        {{.layer = 1, .matrix = down, .rank = 1, .a = left, .b = delta},
         {.layer = 1, .matrix = down, .rank = 1, .a = left, .b = delta}},
        {{.layer = 1, .matrix = down, .rank = 1, .a = left, .b = delta},
         {.layer = 1, .matrix = gate, .rank = 1, .a = delta, .b = left}},
        {{.layer = 1, .matrix = gate, .rank = 1, .a = delta, .b = left},
         {.layer = 0, .matrix = down, .rank = 1, .a = left, .b = delta}},
    };
    me_pending_file pending = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const me_adapter adapter = {.parts = bad[i], .n_parts = bad[i][1].rank ? 2 : 1};
        assert_int_equal(me_adapter_write(model, &adapter, output, &pending, NULL), MOBIEDIT_E_ARGUMENT);
    }
    float good = delta[model->d_model];
    delta[model->d_model] = NAN;
    assert_int_equal(write_adapter(output, &pending, NULL), MOBIEDIT_E_ARGUMENT);
    delta[model->d_model] = good;
    assert_null(pending.temporary);
}

/* ---- files that are read ----------------------------------------------------------------------------- */

static mobiedit_status check_against(const char *arch, const tiny_model_options *options) {
    static char other_path[512];
    (void)snprintf(other_path, sizeof other_path, "%s", scratch_path("other.gguf"));
    assert_true(tiny_model_write(other_path, arch, options));
    me_model *other = NULL;
    assert_int_equal(me_model_open(other_path, &other, NULL), MOBIEDIT_OK);
    mobiedit_error err = {0};
    mobiedit_status status = me_adapter_check(other, output, &err);
    if (status != MOBIEDIT_OK) assert_non_null(strstr(err.message, output));
    me_model_close(other);
    assert_int_equal(unlink(other_path), 0);
    return status;
}

static void other_models_do_not_match(void **state) {
    (void)state;
    commit_adapter();
    assert_int_equal(check_against("llama", &(tiny_model_options){.seed = 5}), MOBIEDIT_OK);
    assert_int_equal(check_against("qwen2", NULL), MOBIEDIT_E_MISMATCH);
    assert_int_equal(check_against("llama", &(tiny_model_options){.d_ff = 96}), MOBIEDIT_E_MISMATCH);
    assert_int_equal(check_against("llama", &(tiny_model_options){.d_model = 128, .d_ff = 128}),
                     MOBIEDIT_E_MISMATCH);
    assert_int_equal(check_against("llama", &(tiny_model_options){.n_layer = 1}), MOBIEDIT_E_MISMATCH);
    assert_int_equal(me_adapter_check(model, model_path, NULL), MOBIEDIT_E_FORMAT);
    assert_int_equal(me_adapter_check(model, scratch_folder, NULL), MOBIEDIT_E_IO);
    assert_int_equal(me_adapter_check(model, scratch_path("missing.gguf"), NULL), MOBIEDIT_E_IO);
    assert_int_equal(unlink(output), 0);
}

/* What a made-up adapter file has that a sound one has not. */
typedef struct {
    const char *a, *b; /* tensor names; NULL: left out */
    enum ggml_type type;
    int64_t n_in, rank_a, rank_b, n_out;
    const char *adapter_type;
    bool alpha_is_text, adapter_type_is_number;
    mobiedit_status expected;
} made_up;

static void write_made_up(const made_up *m) {
    struct ggml_context *tensors = ggml_init((struct ggml_init_params){.mem_size = 1 << 20});
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_val_str(gguf, "general.type", "adapter");
    gguf_set_val_str(gguf, "general.architecture", "llama");
    if (m->adapter_type_is_number)
        gguf_set_val_u32(gguf, "adapter.type", 1);
    else
        gguf_set_val_str(gguf, "adapter.type", m->adapter_type ? m->adapter_type : "lora");
    if (m->alpha_is_text)
        gguf_set_val_str(gguf, "adapter.lora.alpha", "1");
    else
        gguf_set_val_f32(gguf, "adapter.lora.alpha", 1);
    const char *const names[] = {m->a, m->b};
    const int64_t ne[][2] = {{m->n_in, m->rank_a}, {m->rank_b, m->n_out}};
    for (int i = 0; i < 2; i++) {
        if (!names[i]) continue;
        struct ggml_tensor *t = ggml_new_tensor_2d(tensors, m->type, ne[i][0], ne[i][1]);
        memset(t->data, 0, ggml_nbytes(t));
        ggml_set_name(t, names[i]);
        gguf_add_tensor(gguf, t);
    }
    assert_true(gguf_write_to_file(gguf, output, false));
    gguf_free(gguf);
    ggml_free(tensors);
}

static void unsound_adapters_are_refused(void **state) {
    (void)state;
    const char *q_a = "blk.0.attn_q.weight.lora_a", *q_b = "blk.0.attn_q.weight.lora_b";
    const char *no_a = "blk.0.attn_z.weight.lora_a", *no_b = "blk.0.attn_z.weight.lora_b";
    const char *out_a = "output.weight.lora_a", *out_b = "output.weight.lora_b";
    const enum ggml_type F32 = GGML_TYPE_F32, F16 = GGML_TYPE_F16, I32 = GGML_TYPE_I32, Q8_0 = GGML_TYPE_Q8_0;
    enum { D = 64 };
    const made_up cases[] = {
        {q_a, q_b, F32, D, 2, 2, D, .expected = MOBIEDIT_OK},
        {q_a, q_b, F16, D, 2, 2, D, .expected = MOBIEDIT_OK},
        {q_a, q_b, Q8_0, D, 32, 32, D, .expected = MOBIEDIT_OK},
        {q_a, q_b, I32, D, 2, 2, D, .expected = MOBIEDIT_E_FORMAT},
        {q_a, q_b, F32, D, 2, 3, D, .expected = MOBIEDIT_E_FORMAT},
        {q_a, NULL, F32, D, 2, 2, D, .expected = MOBIEDIT_E_FORMAT},
        {NULL, q_b, F32, D, 2, 2, D, .expected = MOBIEDIT_E_FORMAT},
        {NULL, NULL, F32, D, 2, 2, D, .expected = MOBIEDIT_E_FORMAT},
        {"blk.0.attn_q.weight", NULL, F32, D, 2, 2, D, .expected = MOBIEDIT_E_FORMAT},
        {".lora_a", ".lora_b", F32, D, 2, 2, D, .expected = MOBIEDIT_E_MISMATCH},
        {no_a, no_b, F32, D, 2, 2, D, .expected = MOBIEDIT_E_MISMATCH},
        {out_a, out_b, F32, D, 2, 2, D, .expected = MOBIEDIT_E_MISMATCH}, /* tied: not a tensor of its own */
        {q_a, q_b, F32, D / 2, 2, 2, D, .expected = MOBIEDIT_E_MISMATCH},
        {q_a, q_b, F32, D, 2, 2, D + D, .expected = MOBIEDIT_E_MISMATCH},
        {q_a, q_b, F32, D, 2, 2, D, .adapter_type = "other", .expected = MOBIEDIT_E_FORMAT},
        {q_a, q_b, F32, D, 2, 2, D, .adapter_type_is_number = true, .expected = MOBIEDIT_E_FORMAT},
        {q_a, q_b, F32, D, 2, 2, D, .alpha_is_text = true, .expected = MOBIEDIT_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_made_up(&cases[i]);
        mobiedit_error err = {0};
        mobiedit_status status = me_adapter_check(model, output, &err);
        if (status != cases[i].expected)
            fail_msg("case %zu: %s (%s)", i, mobiedit_status_name(status), err.message);
    }
    assert_int_equal(unlink(output), 0);
}

/* One value that is not a number spoils an adapter, in whichever matrix and type it is. */
static void values_that_are_not_finite_are_refused(void **state) {
    (void)state;
    enum { D = 64 };
    const made_up sound = {"blk.0.attn_q.weight.lora_a",
                           "blk.0.attn_q.weight.lora_b",
                           .type = GGML_TYPE_F16,
                           .n_in = D,
                           .rank_a = 2,
                           .rank_b = 2,
                           .n_out = D};
    static const uint16_t spoilt[] = {0x7C00, 0xFC00, 0x7E00}; /* infinity, -infinity, NaN */
    char *bytes;
    size_t n;
    write_made_up(&sound);
    assert_int_equal(me_read_file(output, 1 << 16, &bytes, &n, NULL), MOBIEDIT_OK);
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        const size_t at = n - sizeof spoilt[i] * (i == 0 ? 1 : D * 2 + 3); /* in lora_b, in lora_a */
        uint16_t old;
        memcpy(&old, bytes + at, sizeof old);
        memcpy(bytes + at, &spoilt[i], sizeof spoilt[i]);
        assert_true(put_bytes(output, bytes, n));
        mobiedit_error err = {0};
        assert_int_equal(me_adapter_check(model, output, &err), MOBIEDIT_E_FORMAT);
        assert_non_null(strstr(err.message, "not numbers"));
        memcpy(bytes + at, &old, sizeof old);
    }
    assert_true(put_bytes(output, bytes, n));
    assert_int_equal(me_adapter_check(model, output, NULL), MOBIEDIT_OK);
    assert_int_equal(unlink(output), 0);
    me_free(bytes);
}

/* Files of other tools: with a matrix of the attention in them they cannot be read, of any MLP matrix they
 * can. */
static void matrices_of_the_mlp_are_read(void **state) {
    (void)state;
    enum { D = 64, D_FF = 128 };
    const made_up q = {"blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b", .n_in = D, .n_out = D};
    const made_up cases[] = {
        {"blk.0.ffn_gate.weight.lora_a", "blk.0.ffn_gate.weight.lora_b", .n_in = D, .n_out = D_FF},
        {"blk.1.ffn_up.weight.lora_a", "blk.1.ffn_up.weight.lora_b", .n_in = D, .n_out = D_FF},
        {"blk.1.ffn_down.weight.lora_a", "blk.1.ffn_down.weight.lora_b", .n_in = D_FF, .n_out = D},
        q,
    };
    for (int i = 0; i < 4; i++) {
        made_up m = cases[i];
        m.type = GGML_TYPE_F16;
        m.rank_a = m.rank_b = 2;
        write_made_up(&m);
        me_adapter_data read = {0};
        mobiedit_error err = {0};
        const mobiedit_status status = me_adapter_read(model, output, &read, &err);
        assert_int_equal(status, i < 3 ? MOBIEDIT_OK : MOBIEDIT_E_UNSUPPORTED);
        if (i < 3)
            assert_true(read.n_parts == 1 && (int)read.parts[0].matrix == i && read.parts[0].rank == 2);
        else
            assert_non_null(strstr(err.message, "changes more than the MLPs"));
        me_adapter_data_free(&read);
    }
    assert_int_equal(unlink(output), 0);
}

static void damaged_files_are_refused(void **state) {
    (void)state;
    char *bytes;
    size_t n;
    commit_adapter();
    assert_int_equal(me_read_file(output, 1 << 16, &bytes, &n, NULL), MOBIEDIT_OK);
    assert_true(n >= 1000);
    for (size_t length = 0; length < n; length += length < 1024 ? 1 : 97) {
        assert_true(put_bytes(output, bytes, length));
        mobiedit_error err = {0};
        assert_int_equal(me_adapter_check(model, output, &err), MOBIEDIT_E_FORMAT);
        assert_true(strlen(err.message) > 0 && !strchr(err.message, '\n'));
    }
    me_random random;
    me_random_seed(&random, 3);
    for (int round = 0; round < 300; round++) {
        size_t length = me_random_bits(&random) % 2000;
        static char noise[2000];
        for (size_t i = 0; i < length; i++)
            noise[i] = (char)me_random_bits(&random);
        if (round % 2 && length >= 8) memcpy(noise, bytes, 8); /* magic and version */
        assert_true(put_bytes(output, noise, length));
        assert_int_equal(me_adapter_check(model, output, NULL), MOBIEDIT_E_FORMAT);
    }
    /* One byte changed in the header: refused, or harmless. It must not crash or say something else. */
    for (size_t at = 0; at < 600; at++) {
        char old = bytes[at];
        bytes[at] = (char)(bytes[at] ^ (1 << at % 8));
        assert_true(put_bytes(output, bytes, n));
        mobiedit_status status = me_adapter_check(model, output, NULL);
        assert_true(status == MOBIEDIT_OK || status == MOBIEDIT_E_FORMAT || status == MOBIEDIT_E_MISMATCH);
        bytes[at] = old;
    }
    assert_int_equal(unlink(output), 0);
    me_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_holds_the_edit),
        cmocka_unit_test(metadata_are_those_of_the_converter),
        cmocka_unit_test(ranks_may_differ),
        cmocka_unit_test(all_matrices_come_back),
        cmocka_unit_test(discard_leaves_the_old_file),
        cmocka_unit_test(bad_places_are_refused),
        cmocka_unit_test(folder_in_the_way_fails_commit),
        cmocka_unit_test(full_disk_leaves_nothing),
        cmocka_unit_test(senseless_edits_are_refused),
        cmocka_unit_test(other_models_do_not_match),
        cmocka_unit_test(unsound_adapters_are_refused),
        cmocka_unit_test(matrices_of_the_mlp_are_read),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
