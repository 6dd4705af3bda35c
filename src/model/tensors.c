/* Finds a model's tensors in the mapped file, and checks their types, shapes and places. */
#include "model/model_private.h"

#include "base/memory.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Sets of architectures. */
enum {
    LLAMA = 1 << ME_ARCH_LLAMA,
    QWEN3 = 1 << ME_ARCH_QWEN3,
    GEMMA3 = 1 << ME_ARCH_GEMMA3,
    ALL = LLAMA | 1 << ME_ARCH_QWEN2 | QWEN3 | GEMMA3 | 1 << ME_ARCH_SMOLLM3,
    NONE = 0
};

typedef enum { ONE, D_MODEL, D_FF, HEAD, Q_HEADS, KV_HEADS, N_DIMS } dim;

/* Tensors of a layer: which architectures must and may have them, as libllama has it. */
static const struct {
    const char *name; /* after "blk.<layer>." */
    size_t field;     /* of me_layer */
    dim n_in, n_out;
    int must, may;
} LAYER_TENSORS[] = {
    {"attn_norm.weight", offsetof(me_layer, attn_norm), D_MODEL, ONE, ALL, NONE},
    {"attn_q.weight", offsetof(me_layer, wq), D_MODEL, Q_HEADS, ALL, NONE},
    {"attn_k.weight", offsetof(me_layer, wk), D_MODEL, KV_HEADS, ALL, NONE},
    {"attn_v.weight", offsetof(me_layer, wv), D_MODEL, KV_HEADS, ALL, NONE},
    {"attn_output.weight", offsetof(me_layer, wo), Q_HEADS, D_MODEL, ALL, NONE},
    {"attn_q.bias", offsetof(me_layer, bq), Q_HEADS, ONE, NONE, ALL},
    {"attn_k.bias", offsetof(me_layer, bk), KV_HEADS, ONE, NONE, ALL},
    {"attn_v.bias", offsetof(me_layer, bv), KV_HEADS, ONE, NONE, ALL},
    {"attn_output.bias", offsetof(me_layer, bo), D_MODEL, ONE, NONE, LLAMA},
    {"attn_q_norm.weight", offsetof(me_layer, q_norm), HEAD, ONE, QWEN3 | GEMMA3, NONE},
    {"attn_k_norm.weight", offsetof(me_layer, k_norm), HEAD, ONE, QWEN3 | GEMMA3, NONE},
    {"post_attention_norm.weight", offsetof(me_layer, post_attn_norm), D_MODEL, ONE, GEMMA3, NONE},
    {"ffn_norm.weight", offsetof(me_layer, ffn_norm), D_MODEL, ONE, ALL, NONE},
    {"ffn_gate.weight", offsetof(me_layer, gate), D_MODEL, D_FF, ALL, NONE},
    {"ffn_up.weight", offsetof(me_layer, up), D_MODEL, D_FF, ALL, NONE},
    {"ffn_down.weight", offsetof(me_layer, down), D_FF, D_MODEL, ALL, NONE},
    {"ffn_gate.bias", offsetof(me_layer, gate_b), D_FF, ONE, NONE, LLAMA},
    {"ffn_up.bias", offsetof(me_layer, up_b), D_FF, ONE, NONE, LLAMA},
    {"ffn_down.bias", offsetof(me_layer, down_b), D_MODEL, ONE, NONE, LLAMA},
    {"post_ffw_norm.weight", offsetof(me_layer, post_ffn_norm), D_MODEL, ONE, GEMMA3, NONE},
};

enum {
    N_LAYER_TENSORS = sizeof LAYER_TENSORS / sizeof *LAYER_TENSORS,
    N_OTHER_TENSORS = 4, /* token_embd, output_norm, output, rope_freqs */
};

typedef struct {
    const me_model *model;
    const me_metadata *meta;
    bool *known;                 /* [number of tensors] */
    char missing[GGML_MAX_NAME]; /* the first tensor that should be there and is not */
    mobiedit_error *err;
} reader;

/* Of the matrix that me_layer_matrix counts as i. */
static int matrix_entry(int i) {
    int entry = 0;
    for (int seen = -1; (seen += LAYER_TENSORS[entry].n_out != ONE) < i;)
        entry++;
    return entry;
}

const me_tensor *me_layer_matrix(const me_layer *layer, int i) {
    return (const me_tensor *)(const void *)((const char *)layer + LAYER_TENSORS[matrix_entry(i)].field);
}

const char *me_layer_matrix_name(int i) {
    return LAYER_TENSORS[matrix_entry(i)].name;
}

static bool type_supported(enum ggml_type type) {
    switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
    case GGML_TYPE_Q2_K:
    case GGML_TYPE_Q3_K:
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_IQ4_XS:
        return true;
    default:
        return false;
    }
}

static mobiedit_status check_form(const me_header_tensor *tensor, int64_t n_in, int64_t n_out,
                                  mobiedit_error *err) {
    const int64_t *ne = tensor->ne;
    if (ne[0] != n_in || ne[1] != n_out || ne[2] != 1 || ne[3] != 1)
        return me_fail(err, MOBIEDIT_E_FORMAT,
                       "%s: tensor %s is %lld x %lld x %lld x %lld; the metadata want %lld x %lld",
                       tensor->path, tensor->name, (long long)ne[0], (long long)ne[1], (long long)ne[2],
                       (long long)ne[3], (long long)n_in, (long long)n_out);
    const bool supported = type_supported(tensor->type);
    if (!supported || (n_out == 1 && tensor->type != GGML_TYPE_F32))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: tensor %s has type %s, which is not supported%s",
                       tensor->path, tensor->name, ggml_type_name(tensor->type),
                       supported ? " for a vector" : "");
    return MOBIEDIT_OK;
}

mobiedit_status me_tensor_place(const me_header_tensor *tensor, me_tensor *out, mobiedit_error *err) {
    if (!tensor->data)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is truncated: tensor %s lies beyond its end",
                       tensor->path, tensor->name);
    if ((uintptr_t)tensor->data % sizeof(float) != 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: tensor %s is not aligned", tensor->path, tensor->name);
    *out = (me_tensor){.data = tensor->data,
                       .type = tensor->type,
                       .n_in = tensor->ne[0],
                       .n_out = tensor->ne[1],
                       .row_bytes = ggml_row_size(tensor->type, tensor->ne[0])};
    return MOBIEDIT_OK;
}

/* Reads the tensor if it is there. One that is required and is not is noted, not yet an error: a tensor of
 * an unknown name explains it better. */
static mobiedit_status read_tensor(reader *r, const char *name, int64_t n_in, int64_t n_out, bool required,
                                   me_tensor *out) {
    const int64_t id = me_headers_find(r->meta->headers, name);
    if (id < 0) {
        if (required && !r->missing[0]) (void)snprintf(r->missing, sizeof r->missing, "%s", name);
        return MOBIEDIT_OK;
    }
    r->known[id] = true;
    const me_header_tensor tensor = me_headers_tensor(r->meta->headers, id);
    ME_TRY(check_form(&tensor, n_in, n_out, r->err));
    return me_tensor_place(&tensor, out, r->err);
}

static mobiedit_status read_layers(reader *r) {
    const me_model *m = r->model;
    const int64_t dims[N_DIMS] = {
        [ONE] = 1,
        [D_MODEL] = m->d_model,
        [D_FF] = m->d_ff,
        [HEAD] = m->head_dim,
        [Q_HEADS] = (int64_t)m->n_head * m->head_dim,
        [KV_HEADS] = (int64_t)m->n_head_kv * m->head_dim,
    };
    for (int layer = 0; layer < m->n_layer; layer++) {
        for (int i = 0; i < N_LAYER_TENSORS; i++) {
            bool must = LAYER_TENSORS[i].must >> m->arch & 1, may = LAYER_TENSORS[i].may >> m->arch & 1;
            if (!must && !may) continue;
            char name[GGML_MAX_NAME];
            (void)snprintf(name, sizeof name, "blk.%d.%s", layer, LAYER_TENSORS[i].name);
            me_tensor *tensor = (me_tensor *)((char *)&m->layers[layer] + LAYER_TENSORS[i].field);
            ME_TRY(read_tensor(r, name, dims[LAYER_TENSORS[i].n_in], dims[LAYER_TENSORS[i].n_out], must,
                               tensor));
        }
    }
    return MOBIEDIT_OK;
}

/* Llama 3's frequency factors, one for each rotated pair, shared by all layers. */
static mobiedit_status read_rope_factors(reader *r) {
    const me_model *m = r->model;
    me_tensor factors = {0};
    if (m->arch != ME_ARCH_LLAMA) return MOBIEDIT_OK;
    ME_TRY(read_tensor(r, "rope_freqs.weight", m->layers[0].rope.dims / 2, 1, false, &factors));
    for (int i = 0; i < m->n_layer; i++)
        m->layers[i].rope.freq_factors = factors.data;
    const float *values = factors.data;
    for (int i = 0; values && i < factors.n_in; i++)
        if (!(values[i] > 0))
            return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: a factor in rope_freqs.weight is not positive",
                           r->meta->path);
    return MOBIEDIT_OK;
}

static mobiedit_status read_all(reader *r, me_model *model) {
    int64_t d = model->d_model, v = model->n_vocab;
    ME_TRY(read_tensor(r, "token_embd.weight", d, v, true, &model->tok_embd));
    ME_TRY(read_tensor(r, "output_norm.weight", d, 1, true, &model->output_norm));
    ME_TRY(read_tensor(r, "output.weight", d, v, false, &model->output));
    if (!model->output.data) model->output = model->tok_embd;
    ME_TRY(read_layers(r));
    ME_TRY(read_rope_factors(r));
    for (int64_t i = 0; i < r->meta->headers->n_tensors; i++)
        if (!r->known[i])
            return me_fail(r->err, MOBIEDIT_E_UNSUPPORTED, "%s: a %s model with a tensor %s is not supported",
                           r->meta->path, model->arch_name, me_headers_tensor(r->meta->headers, i).name);
    if (r->missing[0])
        return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: tensor %s is missing", r->meta->path, r->missing);
    return MOBIEDIT_OK;
}

mobiedit_status me_model_read_tensors(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    const int64_t n = meta->headers->n_tensors;
    if (n == 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file holds a vocabulary and no weights", meta->path);
    if (n > (int64_t)model->n_layer * N_LAYER_TENSORS + N_OTHER_TENSORS)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%s: %lld tensors are too many for a %s model of %d layers", meta->path, (long long)n,
                       model->arch_name, model->n_layer);
    reader r = {.model = model, .meta = meta, .known = me_calloc((size_t)n, sizeof(bool)), .err = err};
    if (!r.known) return me_fail_memory(err, "the list of tensors");
    mobiedit_status status = read_all(&r, model);
    me_free(r.known);
    return status;
}

void me_tensor_row(const me_tensor *tensor, int64_t row, float *out) {
    const void *data = (const char *)tensor->data + (size_t)row * tensor->row_bytes;
    if (tensor->type == GGML_TYPE_F32)
        memcpy(out, data, (size_t)tensor->n_in * sizeof *out);
    else
        ggml_get_type_traits(tensor->type)->to_float(data, out, tensor->n_in);
}
