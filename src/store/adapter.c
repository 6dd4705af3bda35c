/* Writes and reads LoRA adapters in GGUF, with every size and type checked. */
#define _POSIX_C_SOURCE 200809L
#include "store/adapter.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/pending.h"
#include "model/llama_init.h"
#include "model/metadata.h"
#include "model/sites.h"

#include <gguf.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

static const char SUFFIX_A[] = ".lora_a", SUFFIX_B[] = ".lora_b";

/* ---- the matrices ------------------------------------------------------------------------------------ */

/* The name of one half of a part's pair. */
static void half_name(const me_model *model, const me_adapter_part *part, const char *suffix,
                      char name[GGML_MAX_NAME]) {
    me_mlp_tensor_name(model, part->layer, part->matrix, name);
    const size_t n = strlen(name);
    (void)snprintf(name + n, GGML_MAX_NAME - n, "%s", suffix);
}

static size_t count_experts(const me_model *model, const me_adapter_part *part) {
    return (size_t)me_mlp_experts(model, part->layer);
}

/* How many floats a part's a and b have; the part is one of an adapter that was checked. */
static size_t count_a(const me_model *model, const me_adapter_part *part) {
    const size_t n_in = (size_t)me_mlp_tensor(model, part->layer, part->matrix)->n_in;
    return count_experts(model, part) * (size_t)part->rank * n_in;
}

static size_t count_b(const me_model *model, const me_adapter_part *part) {
    const size_t n_out = (size_t)me_mlp_tensor(model, part->layer, part->matrix)->n_out;
    return count_experts(model, part) * (size_t)part->rank * n_out;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

bool me_all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

static bool follows(const me_adapter_part *part, const me_adapter_part *before) {
    return part->layer > before->layer || (part->layer == before->layer && part->matrix > before->matrix);
}

static mobiedit_status check_part(const me_model *model, const me_adapter_part *part, mobiedit_error *err) {
    if (part->layer < 0 || part->layer >= model->n_layer)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "layer %d is out of range", part->layer);
    if ((int)part->matrix < 0 || (int)part->matrix >= ME_MLP_MATRICES)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an MLP has no matrix %d", (int)part->matrix);
    if (part->rank < 1 || part->rank > model->d_ff)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an adapter of rank %d", part->rank);
    if (!me_all_finite(part->a, count_a(model, part)) || !me_all_finite(part->b, count_b(model, part)))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the edit of layer %d is not finite", part->layer);
    return MOBIEDIT_OK;
}

static mobiedit_status check_request(const me_model *model, const me_adapter *adapter, mobiedit_error *err) {
    if (adapter->n_parts < 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an adapter of %d matrices", adapter->n_parts);
    for (int i = 0; i < adapter->n_parts; i++) {
        const me_adapter_part *part = &adapter->parts[i];
        if (i > 0 && !follows(part, part - 1))
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "layer %d is out of order", part->layer);
        ME_TRY(check_part(model, part, err));
    }
    return MOBIEDIT_OK;
}

/* What llama.cpp's converter of LoRA adapters writes, and what is ours. false: out of memory. */
static bool set_metadata(struct gguf_context *gguf, const me_model *model, const me_adapter *adapter) {
    static const char edits[] = " edits";
    const size_t size = strlen(model->name) + sizeof edits;
    char *name = me_calloc(size, 1);
    if (!name) return false;
    (void)snprintf(name, size, "%s%s", model->name, edits);
    gguf_set_val_str(gguf, "general.type", "adapter");
    gguf_set_val_str(gguf, "general.architecture", model->arch_name);
    gguf_set_val_str(gguf, "general.name", name);
    me_free(name);
    gguf_set_val_u32(gguf, "general.base_model.count", 1);
    gguf_set_val_str(gguf, "general.base_model.0.name", model->name);
    gguf_set_val_u32(gguf, "general.quantization_version", GGML_QNT_VERSION);
    if (adapter->description) gguf_set_val_str(gguf, "general.description", adapter->description);
    gguf_set_val_str(gguf, "adapter.type", "lora");
    gguf_set_val_f32(gguf, "adapter.lora.alpha", (float)adapter->parts[0].rank);
    gguf_set_val_str(gguf, "adapter.lora.task_name", "mobiedit");
    gguf_set_val_str(gguf, "mobiedit.version", mobiedit_version());
    gguf_set_val_str(gguf, "mobiedit.model.file", me_base_name(model->path));
    gguf_set_val_u64(gguf, "mobiedit.model.bytes", me_model_bytes(model));
    return true;
}

static void add_tensor(struct gguf_context *gguf, struct ggml_context *tensors, const char *name, int64_t ne0,
                       int64_t ne1, int64_t ne2) {
    struct ggml_tensor *t = ggml_new_tensor_3d(tensors, GGML_TYPE_F32, ne0, ne1, ne2);
    (void)ggml_set_name(t, name);
    gguf_add_tensor(gguf, t);
}

/* Metadata and tensor shapes; `memory` holds the tensors' descriptions meanwhile. NULL: out of memory. */
static struct gguf_context *describe(const me_model *model, const me_adapter *adapter) {
    size_t bytes = 2 * (size_t)adapter->n_parts * ggml_tensor_overhead();
    void *memory = me_calloc(bytes, 1);
    if (!memory) return NULL;
    struct ggml_context *tensors =
        ggml_init((struct ggml_init_params){.mem_size = bytes, .mem_buffer = memory, .no_alloc = true});
    struct gguf_context *gguf = gguf_init_empty();
    const bool has_metadata = set_metadata(gguf, model, adapter);
    for (int i = 0; i < adapter->n_parts && has_metadata; i++) {
        const me_adapter_part *part = &adapter->parts[i];
        const me_tensor *matrix = me_mlp_tensor(model, part->layer, part->matrix);
        const int n_experts = me_mlp_experts(model, part->layer);
        char name[GGML_MAX_NAME];
        half_name(model, part, SUFFIX_A, name);
        add_tensor(gguf, tensors, name, matrix->n_in, part->rank, n_experts);
        half_name(model, part, SUFFIX_B, name);
        add_tensor(gguf, tensors, name, part->rank, matrix->n_out, n_experts);
    }
    ggml_free(tensors);
    me_free(memory);
    if (has_metadata) return gguf;
    gguf_free(gguf);
    return NULL;
}

/* out [n_out][rank]: b turned over, and scaled so that llama.cpp's factor alpha / rank gives 1. */
static void fill_b(float *out, const float *b, size_t rank, size_t n_out, float alpha) {
    const float scale = (float)rank / alpha;
    for (size_t j = 0; j < n_out; j++)
        for (size_t i = 0; i < rank; i++)
            out[j * rank + i] = scale * b[i * n_out + j];
}

/* The tensors' values, a and b of each part, behind one another from `data` on. */
static void fill_data(const struct gguf_context *gguf, const me_model *model, const me_adapter *adapter,
                      char *data) {
    for (int i = 0; i < adapter->n_parts; i++) {
        const me_adapter_part *part = &adapter->parts[i];
        char *a = data + gguf_get_tensor_offset(gguf, 2 * (int64_t)i);
        float *b = (float *)(void *)(data + gguf_get_tensor_offset(gguf, 2 * (int64_t)i + 1));
        const size_t n_out = (size_t)me_mlp_tensor(model, part->layer, part->matrix)->n_out;
        const size_t rank = (size_t)part->rank, one = rank * n_out;
        memcpy(a, part->a, count_a(model, part) * sizeof *part->a);
        for (size_t e = 0; e < count_experts(model, part); e++)
            fill_b(b + e * one, part->b + e * one, rank, n_out, (float)adapter->parts[0].rank);
    }
}

/* The whole file in memory: what gguf_write_to_file would write, but its errors are ours to see. */
static mobiedit_status make_image(const me_model *model, const me_adapter *adapter, char **out, size_t *size,
                                  mobiedit_error *err) {
    struct gguf_context *gguf = describe(model, adapter);
    if (!gguf) return me_fail_memory(err, "the adapter");
    size_t meta = gguf_get_meta_size(gguf);
    int64_t last = gguf_get_n_tensors(gguf) - 1;
    size_t data = gguf_get_tensor_offset(gguf, last) +
                  GGML_PAD(gguf_get_tensor_size(gguf, last), gguf_get_alignment(gguf));
    char *image = me_calloc(meta + data, 1);
    if (image) {
        gguf_get_meta_data(gguf, image);
        fill_data(gguf, model, adapter, image + meta);
    }
    gguf_free(gguf);
    if (!image) return me_fail_memory(err, "the adapter");
    *out = image;
    *size = meta + data;
    return MOBIEDIT_OK;
}

mobiedit_status me_adapter_write(const me_model *model, const me_adapter *adapter, const char *path,
                                 me_pending_file *out, mobiedit_error *err) {
    ME_TRY(check_request(model, adapter, err));
    me_llama_init();
    char *image = NULL;
    size_t size = 0;
    ME_TRY(make_image(model, adapter, &image, &size, err));
    mobiedit_status status = me_pending_write(path, image, size, out, err);
    me_free(image);
    return status;
}

mobiedit_status me_adapter_write_nothing(const me_model *model, const char *path, me_pending_file *out,
                                         mobiedit_error *err) {
    const int last = model->n_layer - 1;
    me_adapter_part part = {.layer = me_site_is_there(model, last) ? last : me_site_near(model, last),
                            .matrix = ME_MLP_DOWN,
                            .rank = 1};
    float *zeros = me_calloc(count_a(model, &part) + count_b(model, &part), sizeof *zeros);
    if (!zeros) return me_fail_memory(err, "the adapter");
    part.a = part.b = zeros;
    const me_adapter adapter = {.parts = &part, .n_parts = 1};
    const mobiedit_status status = me_adapter_write(model, &adapter, path, out, err);
    me_free(zeros);
    return status;
}

/* ---- checking ---------------------------------------------------------------------------------------- */

static mobiedit_status check_metadata(const struct gguf_context *gguf, const me_model *model,
                                      const char *path, mobiedit_error *err) {
    if (!me_gguf_says(gguf, "general.type", "adapter") || !me_gguf_says(gguf, "adapter.type", "lora"))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a LoRA adapter", path);
    const char *arch = me_gguf_string(gguf, "general.architecture");
    if (!arch) return me_fail(err, MOBIEDIT_E_FORMAT, "%s does not name an architecture", path);
    if (strcmp(arch, model->arch_name) != 0)
        return me_fail(err, MOBIEDIT_E_MISMATCH, "%s is for a %.64s model, %s is a %s model", path, arch,
                       model->path, model->arch_name);
    int64_t alpha = gguf_find_key(gguf, "adapter.lora.alpha");
    if (alpha >= 0 &&
        (gguf_get_kv_type(gguf, alpha) != GGUF_TYPE_FLOAT32 || !isfinite(gguf_get_val_f32(gguf, alpha))))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s has a damaged adapter.lora.alpha", path);
    return MOBIEDIT_OK;
}

static bool is_named(const char *name, size_t n_name, const char *wanted) {
    return strlen(wanted) == n_name && memcmp(wanted, name, n_name) == 0;
}

/* The layer's matrix that libllama calls `name`, and how many it has; NULL where there is none. */
static const me_tensor *find_in_layer(const me_model *model, int layer, const char *name, size_t n_name,
                                      int *n) {
    char wanted[GGML_MAX_NAME];
    const bool has_site = me_site_is_there(model, layer);
    for (int i = 0; i < ME_MLP_MATRICES && has_site; i++) {
        me_mlp_tensor_name(model, layer, (me_mlp_matrix)i, wanted);
        *n = me_mlp_experts(model, layer);
        if (is_named(name, n_name, wanted)) return me_mlp_tensor(model, layer, (me_mlp_matrix)i);
    }
    *n = 1;
    for (int i = 0; i < ME_LAYER_MATRICES - ME_MLP_MATRICES; i++) {
        (void)snprintf(wanted, sizeof wanted, "blk.%d.%s", layer, me_layer_matrix_name(i));
        if (is_named(name, n_name, wanted)) return me_layer_matrix(&model->layers[layer], i);
    }
    return NULL;
}

/* The matrix of the model that libllama calls `name`, *n of them behind one another; NULL where there is
 * none. */
static const me_tensor *find_matrix(const me_model *model, const char *name, size_t n_name, int *n) {
    for (int i = 0; i < model->n_layer; i++) {
        const me_tensor *t = find_in_layer(model, i, name, n_name, n);
        if (t) return t->data ? t : NULL;
    }
    *n = 1;
    bool tied = model->output.data == model->tok_embd.data;
    return is_named(name, n_name, "output.weight") && !tied ? &model->output : NULL;
}

/* Types that libllama's CPU path multiplies with; others would end the process. */
static bool type_can_multiply(enum ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 || type == GGML_TYPE_Q8_0;
}

static bool is_matrix(const struct gguf_context *gguf, int64_t id) {
    const int64_t *ne = gguf_get_tensor_ne(gguf, id);
    return ne[0] > 0 && ne[1] > 0 && ne[2] > 0 && ne[3] == 1 &&
           type_can_multiply(gguf_get_tensor_type(gguf, id));
}

/* Tensor `id` is one half of a pair: finds the other, and compares both with the model's matrix. */
static mobiedit_status check_tensor(const struct gguf_context *gguf, int64_t id, const me_model *model,
                                    const char *path, mobiedit_error *err) {
    const char *name = gguf_get_tensor_name(gguf, id);
    bool is_a = me_ends_with(name, SUFFIX_A);
    if (!is_a && !me_ends_with(name, SUFFIX_B))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the tensor %s is not part of a LoRA", path, name);
    size_t n_base = strlen(name) - strlen(SUFFIX_A);
    char other[GGML_MAX_NAME];
    (void)snprintf(other, sizeof other, "%.*s%s", (int)n_base, name, is_a ? SUFFIX_B : SUFFIX_A);
    int64_t other_id = gguf_find_tensor(gguf, other);
    if (other_id < 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s has no %s", path, name, other);
    if (!is_matrix(gguf, id))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s is not a matrix of a usable type", path, name);
    int n_matrices;
    const me_tensor *matrix = find_matrix(model, name, n_base, &n_matrices);
    if (!matrix)
        return me_fail(err, MOBIEDIT_E_MISMATCH, "%s changes %.*s, which %s does not have", path, (int)n_base,
                       name, model->path);
    const int64_t *a = gguf_get_tensor_ne(gguf, is_a ? id : other_id);
    const int64_t *b = gguf_get_tensor_ne(gguf, is_a ? other_id : id);
    if (a[0] != matrix->n_in || b[1] != matrix->n_out)
        return me_fail(err, MOBIEDIT_E_MISMATCH, "%s is for a %.*s of %lld x %lld, %s has %lld x %lld", path,
                       (int)n_base, name, (long long)b[1], (long long)a[0], model->path,
                       (long long)matrix->n_out, (long long)matrix->n_in);
    if (a[2] != n_matrices || b[2] != n_matrices)
        return me_fail(err, MOBIEDIT_E_MISMATCH, "%s is for %lld experts of %.*s, %s has %d", path,
                       (long long)(is_a ? a : b)[2], (int)n_base, name, model->path, n_matrices);
    if (a[1] != b[0])
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s and %s have different ranks", path, name, other);
    return MOBIEDIT_OK;
}

static mobiedit_status check_extent(const struct gguf_context *gguf, int64_t id, uint64_t file_size,
                                    const char *path, mobiedit_error *err) {
    size_t end;
    if (!me_add_size(gguf_get_data_offset(gguf), gguf_get_tensor_offset(gguf, id), &end) ||
        !me_add_size(end, gguf_get_tensor_size(gguf, id), &end) || end > file_size)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is truncated", path);
    return MOBIEDIT_OK;
}

static mobiedit_status check_contents(const struct gguf_context *gguf, uint64_t file_size,
                                      const me_model *model, const char *path, mobiedit_error *err) {
    ME_TRY(check_metadata(gguf, model, path, err));
    int64_t n = gguf_get_n_tensors(gguf);
    if (n == 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s has no tensors", path);
    for (int64_t id = 0; id < n; id++) {
        ME_TRY(check_extent(gguf, id, file_size, path, err));
        ME_TRY(check_tensor(gguf, id, model, path, err));
    }
    return MOBIEDIT_OK;
}

/* An open adapter file that belongs to the model. */
typedef struct {
    FILE *file;
    struct gguf_context *gguf;
} adapter_file;

static void close_file(adapter_file *f) {
    if (f->gguf) gguf_free(f->gguf);
    (void)fclose(f->file);
}

static mobiedit_status open_file(const me_model *model, const char *path, adapter_file *out,
                                 mobiedit_error *err) {
    me_llama_init();
    adapter_file f = {0};
    uint64_t size = 0;
    ME_TRY(me_open_file(path, &f.file, &size, err));
    f.gguf = gguf_init_from_file_ptr(f.file, (struct gguf_init_params){.no_alloc = true});
    mobiedit_status status =
        f.gguf ? check_contents(f.gguf, size, model, path, err)
               : me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a GGUF file, or is damaged", path);
    if (status == MOBIEDIT_OK)
        *out = f;
    else
        close_file(&f);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static int64_t find_half(const struct gguf_context *gguf, const me_model *model, const me_adapter_part *part,
                         const char *suffix) {
    char name[GGML_MAX_NAME];
    half_name(model, part, suffix, name);
    return gguf_find_tensor(gguf, name);
}

/* Adds the part to *out, with its rank, where the file has it; its floats are counted in *n_values. */
static mobiedit_status read_part_shape(const adapter_file *f, const me_model *model, const char *path,
                                       me_adapter_part part, me_adapter_data *out, size_t *n_values,
                                       mobiedit_error *err) {
    const int64_t id = find_half(f->gguf, model, &part, SUFFIX_A);
    if (id < 0) return MOBIEDIT_OK;
    const int64_t rank = gguf_get_tensor_ne(f->gguf, id)[1];
    size_t n;
    const me_tensor *matrix = me_mlp_tensor(model, part.layer, part.matrix);
    const size_t each = (size_t)(matrix->n_in + matrix->n_out) * count_experts(model, &part);
    if (rank > model->d_ff || !me_mul_size((size_t)rank, each, &n) || !me_add_size(*n_values, n, n_values))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: an adapter of rank %lld", path, (long long)rank);
    part.rank = (int)rank;
    out->parts[out->n_parts++] = part;
    return MOBIEDIT_OK;
}

/* Which matrices it changes, and their ranks, into out->parts; *n_values: floats of all of them. */
static mobiedit_status read_shape(const adapter_file *f, const me_model *model, const char *path,
                                  me_adapter_data *out, size_t *n_values, mobiedit_error *err) {
    *n_values = 0;
    for (int layer = 0; layer < model->n_layer; layer++)
        for (int matrix = 0; matrix < ME_MLP_MATRICES; matrix++) {
            const me_adapter_part part = {.layer = layer, .matrix = (me_mlp_matrix)matrix};
            ME_TRY(read_part_shape(f, model, path, part, out, n_values, err));
        }
    if (2 * (int64_t)out->n_parts != gguf_get_n_tensors(f->gguf))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s changes more than the MLPs", path);
    return MOBIEDIT_OK;
}

static mobiedit_status refuse_values(const char *path, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s holds values that are not numbers", path);
}

static size_t count_rows(const adapter_file *f, int64_t id) {
    const int64_t *ne = gguf_get_tensor_ne(f->gguf, id);
    return (size_t)ne[1] * (size_t)ne[2];
}

/* Tensor `id` [ne2][ne1][ne0] as floats, in memory of its own. */
static mobiedit_status read_tensor(const adapter_file *f, int64_t id, const char *path, float **out,
                                   mobiedit_error *err) {
    const int64_t *ne = gguf_get_tensor_ne(f->gguf, id);
    const size_t bytes = gguf_get_tensor_size(f->gguf, id);
    me_tensor tensor = {.type = gguf_get_tensor_type(f->gguf, id), .n_in = ne[0]};
    tensor.row_bytes = ggml_row_size(tensor.type, ne[0]);
    void *raw = me_calloc(bytes, 1);
    const size_t n_rows = count_rows(f, id);
    float *values = me_calloc((size_t)ne[0] * n_rows, sizeof *values);
    mobiedit_status status = raw && values ? MOBIEDIT_OK : me_fail_memory(err, "the adapter");
    if (status == MOBIEDIT_OK && !me_gguf_read(f->file, f->gguf, id, raw, bytes))
        status = me_fail(err, MOBIEDIT_E_IO, "cannot read %s", path);
    tensor.data = raw;
    for (size_t i = 0; i < n_rows && status == MOBIEDIT_OK; i++)
        me_tensor_row(&tensor, (int64_t)i, values + i * (size_t)ne[0]);
    me_free(raw);
    if (status == MOBIEDIT_OK)
        *out = values;
    else
        me_free(values);
    return status;
}

static mobiedit_status check_values(const adapter_file *f, int64_t id, const char *path,
                                    mobiedit_error *err) {
    const int64_t *ne = gguf_get_tensor_ne(f->gguf, id);
    float *values = NULL;
    ME_TRY(read_tensor(f, id, path, &values, err));
    const bool finite = me_all_finite(values, (size_t)ne[0] * count_rows(f, id));
    me_free(values);
    return finite ? MOBIEDIT_OK : refuse_values(path, err);
}

mobiedit_status me_adapter_check(const me_model *model, const char *path, mobiedit_error *err) {
    adapter_file f;
    ME_TRY(open_file(model, path, &f, err));
    mobiedit_status status = MOBIEDIT_OK;
    for (int64_t id = 0; id < gguf_get_n_tensors(f.gguf) && status == MOBIEDIT_OK; id++)
        status = check_values(&f, id, path, err);
    close_file(&f);
    return status;
}

/* llama.cpp's factor of an adapter: alpha / rank; 1 where alpha is missing or 0. */
static float factor(const struct gguf_context *gguf, int rank) {
    const int64_t id = gguf_find_key(gguf, "adapter.lora.alpha");
    const float alpha = id >= 0 ? gguf_get_val_f32(gguf, id) : 0;
    return alpha != 0 ? alpha / (float)rank : 1;
}

/* Both halves of a part into a [rank][n_in] and b [rank][n_out]. */
static mobiedit_status read_part(const adapter_file *f, const me_model *model, const char *path,
                                 const me_adapter_part *part, float *a, float *b, mobiedit_error *err) {
    const size_t rank = (size_t)part->rank;
    const size_t n_out = (size_t)me_mlp_tensor(model, part->layer, part->matrix)->n_out;
    float *half = NULL;
    ME_TRY(read_tensor(f, find_half(f->gguf, model, part, SUFFIX_A), path, &half, err));
    memcpy(a, half, count_a(model, part) * sizeof *a);
    me_free(half);
    ME_TRY(read_tensor(f, find_half(f->gguf, model, part, SUFFIX_B), path, &half, err));
    const float scale = factor(f->gguf, part->rank);
    for (size_t e = 0; e < count_experts(model, part); e++)
        for (size_t i = 0; i < rank; i++)
            for (size_t j = 0; j < n_out; j++)
                b[(e * rank + i) * n_out + j] = scale * half[(e * n_out + j) * rank + i];
    me_free(half);
    return MOBIEDIT_OK;
}

static mobiedit_status read_contents(const adapter_file *f, const me_model *model, const char *path,
                                     me_adapter_data *out, mobiedit_error *err) {
    size_t n_values;
    out->parts = me_calloc((size_t)model->n_layer, ME_MLP_MATRICES * sizeof *out->parts);
    if (!out->parts) return me_fail_memory(err, "the adapter");
    ME_TRY(read_shape(f, model, path, out, &n_values, err));
    const char *description = me_gguf_string(f->gguf, "general.description");
    out->values = me_calloc(n_values, sizeof *out->values);
    if (description) out->description = me_strdup(description);
    if (!out->values || (description && !out->description)) return me_fail_memory(err, "the adapter");
    float *next = out->values;
    for (int i = 0; i < out->n_parts; i++) {
        me_adapter_part *part = &out->parts[i];
        float *a = next, *b = a + count_a(model, part);
        ME_TRY(read_part(f, model, path, part, a, b, err));
        part->a = a;
        part->b = b;
        next = b + count_b(model, part);
    }
    return me_all_finite(out->values, n_values) ? MOBIEDIT_OK : refuse_values(path, err);
}

mobiedit_status me_adapter_read(const me_model *model, const char *path, me_adapter_data *out,
                                mobiedit_error *err) {
    adapter_file f;
    me_adapter_data adapter = {0};
    ME_TRY(open_file(model, path, &f, err));
    const mobiedit_status status = read_contents(&f, model, path, &adapter, err);
    close_file(&f);
    if (status == MOBIEDIT_OK)
        *out = adapter;
    else
        me_adapter_data_free(&adapter);
    return status;
}

void me_adapter_data_free(me_adapter_data *adapter) {
    me_free(adapter->parts);
    me_free(adapter->description);
    me_free(adapter->values);
    *adapter = (me_adapter_data){0};
}
