/* Reads what an edit needs of a model that only libllama runs: sizes, and the tensors of the MLPs. */
#include "model/model_private.h"
#include "model/sites.h"

#include "base/memory.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DIM = 1 << 24, MAX_HEADS = 1 << 16 };

typedef struct {
    me_model *model;
    const me_metadata *meta;
    mobiedit_error *err;
} reader;

/* ---- sizes --------------------------------------------------------------------------------------------- */

/* The hyperparameter, or the largest of its values where each layer has one; `missing` where there is none. */
static int largest(const me_metadata *meta, const char *name, int missing) {
    const int64_t id = me_meta_find(meta, name);
    if (id < 0) return missing;
    if (gguf_get_kv_type(meta->gguf, id) != GGUF_TYPE_ARRAY) {
        const double value = me_meta_number(meta, id);
        return value >= 0 && value <= MAX_DIM ? (int)value : missing;
    }
    const enum gguf_type type = gguf_get_arr_type(meta->gguf, id);
    if (type != GGUF_TYPE_INT32 && type != GGUF_TYPE_UINT32) return missing;
    const int32_t *values = gguf_get_arr_data(meta->gguf, id);
    int most = 0;
    for (size_t i = 0; i < gguf_get_arr_n(meta->gguf, id); i++)
        if (values[i] > most && values[i] <= MAX_HEADS) most = values[i];
    return most;
}

/* libllama does not run the layers that predict further tokens. */
static mobiedit_status read_sizes(const reader *r) {
    me_model *m = r->model;
    int extra = 0;
    ME_TRY(me_meta_need_int(r->meta, "context_length", 1, INT_MAX, &m->n_ctx_train, r->err));
    ME_TRY(me_meta_need_int(r->meta, "embedding_length", 1, MAX_DIM, &m->d_model, r->err));
    ME_TRY(me_meta_need_int(r->meta, "block_count", 1, ME_MAX_LAYERS, &m->n_layer, r->err));
    ME_TRY(me_meta_int(r->meta, "nextn_predict_layers", 0, m->n_layer - 1, &extra, r->err));
    m->n_layer -= extra;
    m->n_experts_used = largest(r->meta, "expert_used_count", 0);
    m->n_head = largest(r->meta, "attention.head_count", 1);
    if (m->n_head < 1) m->n_head = 1;
    m->n_head_kv = largest(r->meta, "attention.head_count_kv", m->n_head);
    if (m->n_head_kv < 1) m->n_head_kv = 1;
    m->head_dim = largest(r->meta, "attention.key_length", m->d_model / m->n_head);
    if (m->head_dim < 1 || (int64_t)m->n_head * m->head_dim > MAX_DIM) m->head_dim = 1;
    return me_model_read_token_list(m, r->meta, r->err);
}

static mobiedit_status read_norm(const reader *r) {
    me_model *m = r->model;
    bool is_rms;
    ME_TRY(me_meta_float(r->meta, "attention.layer_norm_rms_epsilon", &m->norm_eps, &is_rms, r->err));
    m->layer_norm = !is_rms;
    if (!is_rms) ME_TRY(me_meta_float(r->meta, "attention.layer_norm_epsilon", &m->norm_eps, NULL, r->err));
    ME_TRY(me_meta_float(r->meta, "final_logit_softcapping", &m->logit_softcap, NULL, r->err));
    m->embedding_scale = m->attn_scale = 1;
    if (!(m->norm_eps >= 0) || !(m->logit_softcap >= 0))
        return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: a negative epsilon or logit cap", r->meta->path);
    return MOBIEDIT_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

static bool can_convert(enum ggml_type type) {
    return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != NULL;
}

/* The first of the n_matrices matrices that the tensor of that name is made of, if it is there; of one: a
 * matrix or a vector. */
static mobiedit_status find_stack(const reader *r, const char *name, int n_matrices, me_tensor *out) {
    const int64_t id = me_headers_find(r->meta->headers, name);
    *out = (me_tensor){0};
    if (id < 0) return MOBIEDIT_OK;
    const me_header_tensor found = me_headers_tensor(r->meta->headers, id);
    if (found.ne[2] != n_matrices || found.ne[3] != 1 || !can_convert(found.type)) return MOBIEDIT_OK;
    return me_tensor_place(&found, out, r->err);
}

static mobiedit_status find(const reader *r, const char *name, me_tensor *out) {
    return find_stack(r, name, 1, out);
}

/* The same where it has this shape. */
static mobiedit_status find_shaped(const reader *r, const char *name, int64_t n_in, int64_t n_out,
                                   me_tensor *out) {
    ME_TRY(find(r, name, out));
    if (out->n_in != n_in || out->n_out != n_out) *out = (me_tensor){0};
    return MOBIEDIT_OK;
}

static mobiedit_status find_in_layer(const reader *r, int layer, const char *name, me_tensor *out) {
    char full[GGML_MAX_NAME + 16];
    (void)snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    return find(r, full, out);
}

static mobiedit_status find_vector(const reader *r, int layer, const char *name, int64_t n, me_tensor *out) {
    ME_TRY(find_in_layer(r, layer, name, out));
    if (out->n_in != n || out->n_out != 1 || out->type != GGML_TYPE_F32) *out = (me_tensor){0};
    return MOBIEDIT_OK;
}

static bool is_shaped(const me_tensor *tensor, int64_t n_in, int64_t n_out) {
    return tensor->data && tensor->n_in == n_in && tensor->n_out == n_out && n_in <= MAX_DIM &&
           n_out <= MAX_DIM;
}

/* Rows [first, first + n) of a matrix. */
static me_tensor rows_of(const me_tensor *matrix, int64_t first, int64_t n) {
    me_tensor out = *matrix;
    out.data = (const char *)matrix->data + (size_t)first * matrix->row_bytes;
    out.n_out = n;
    return out;
}

/* Where MLPs of a layer are: what their tensors' names end with, and how many there are. */
typedef struct {
    const char *suffix;
    int n;
} mlp_kind;

static mobiedit_status find_matrix(const reader *r, int index, const char *matrix, mlp_kind kind,
                                   me_tensor *out) {
    char name[GGML_MAX_NAME];
    (void)snprintf(name, sizeof name, "blk.%d.%s%s.weight", index, matrix, kind.suffix);
    return find_stack(r, name, kind.n, out);
}

/* The matrices of MLPs of that kind, into the layer; whether they make a site. */
static mobiedit_status read_matrices(const reader *r, int index, mlp_kind kind, bool *found) {
    const int64_t d = r->model->d_model;
    const bool gated = me_has_gate(r->model->activation);
    me_layer *layer = &r->model->layers[index];
    ME_TRY(find_matrix(r, index, "ffn_down", kind, &layer->down));
    ME_TRY(find_matrix(r, index, "ffn_up", kind, &layer->up));
    ME_TRY(find_matrix(r, index, "ffn_gate", kind, &layer->gate));
    const int64_t ff = layer->down.n_in;
    *found = is_shaped(&layer->down, ff, d);
    if (*found && gated && !layer->gate.data && is_shaped(&layer->up, d, 2 * ff)) {
        layer->site = ME_SITE_FUSED;
        layer->gate_up = layer->up;
        layer->gate = rows_of(&layer->gate_up, 0, ff);
        layer->up = rows_of(&layer->gate_up, ff, ff);
    }
    *found = *found && is_shaped(&layer->up, d, ff) &&
             (gated ? is_shaped(&layer->gate, d, ff) : !layer->gate.data);
    return MOBIEDIT_OK;
}

/* A row for each MLP. */
static mobiedit_status find_bias(const reader *r, int index, const char *matrix, mlp_kind kind, int64_t width,
                                 me_tensor *out) {
    char name[GGML_MAX_NAME];
    (void)snprintf(name, sizeof name, "%s%s.bias", matrix, kind.suffix);
    ME_TRY(find_in_layer(r, index, name, out));
    if (out->n_in != width || out->n_out != kind.n || out->type != GGML_TYPE_F32) *out = (me_tensor){0};
    return MOBIEDIT_OK;
}

static mobiedit_status read_biases(const reader *r, int index, mlp_kind kind) {
    me_layer *layer = &r->model->layers[index];
    const int64_t ff = layer->down.n_in;
    ME_TRY(find_bias(r, index, "ffn_gate", kind, ff, &layer->gate_b));
    ME_TRY(find_bias(r, index, "ffn_up", kind, ff, &layer->up_b));
    return find_bias(r, index, "ffn_down", kind, r->model->d_model, &layer->down_b);
}

/* libllama multiplies products with these by factors, but not what an adapter adds to them. */
static bool has_factors(const reader *r, int index, mlp_kind kind) {
    static const char *const names[] = {"ffn_gate", "ffn_up", "ffn_down"};
    char full[GGML_MAX_NAME];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(full, sizeof full, "blk.%d.%s%s.scale", index, names[i], kind.suffix);
        if (me_headers_find(r->meta->headers, full) >= 0) return true;
    }
    return false;
}

/* Whether libllama cuts off what the gate and the up projection of the layer's MLPs of that kind give: an edit's neurons
 * are not made for that. */
static bool is_cut_off(const reader *r, int index, me_site site) {
    const char *name = site == ME_SITE_EXPERTS ? "swiglu_clamp_exp" : "swiglu_clamp_shexp";
    const int64_t id = me_meta_find(r->meta, name);
    if (id < 0) return false;
    if (gguf_get_kv_type(r->meta->gguf, id) != GGUF_TYPE_ARRAY) return !(me_meta_number(r->meta, id) <= 0);
    if (gguf_get_arr_type(r->meta->gguf, id) != GGUF_TYPE_FLOAT32) return true;
    const float *limits = gguf_get_arr_data(r->meta->gguf, id);
    return (size_t)index >= gguf_get_arr_n(r->meta->gguf, id) || !(limits[index] <= 0);
}

static void clear_site(me_layer *layer) {
    layer->site = ME_SITE_NONE;
    layer->gate = layer->up = layer->down = layer->gate_up = (me_tensor){0};
}

/* The layer's MLPs of that kind become its site, if they can. */
static mobiedit_status try_site(const reader *r, int index, me_site site, mlp_kind kind) {
    me_layer *layer = &r->model->layers[index];
    bool found;
    if (me_site_is_there(r->model, index) || kind.n < 1) return MOBIEDIT_OK;
    layer->site = ME_SITE_DENSE;
    ME_TRY(read_matrices(r, index, kind, &found));
    if (!found || (site != ME_SITE_DENSE && layer->site == ME_SITE_FUSED) || has_factors(r, index, kind) ||
        is_cut_off(r, index, site)) {
        clear_site(layer);
        return MOBIEDIT_OK;
    }
    if (site != ME_SITE_DENSE) layer->site = site;
    layer->n_experts = kind.n;
    return read_biases(r, index, kind);
}

/* A dense MLP, else the expert that every token goes through, else the others. */
static mobiedit_status read_site(const reader *r, int index) {
    clear_site(&r->model->layers[index]);
    ME_TRY(try_site(r, index, ME_SITE_DENSE, (mlp_kind){"", 1}));
    ME_TRY(try_site(r, index, ME_SITE_SHARED, (mlp_kind){"_shexp", 1}));
    return try_site(r, index, ME_SITE_EXPERTS, (mlp_kind){"_exps", largest(r->meta, "expert_count", 0)});
}

/* What tells which directions later layers read, where it has the usual form. */
static mobiedit_status read_attention(const reader *r, int index) {
    const me_model *m = r->model;
    me_layer *layer = &r->model->layers[index];
    ME_TRY(find_vector(r, index, "attn_norm.weight", m->d_model, &layer->attn_norm));
    ME_TRY(find_in_layer(r, index, "attn_v.weight", &layer->wv));
    ME_TRY(find_in_layer(r, index, "attn_output.weight", &layer->wo));
    ME_TRY(find_vector(r, index, "post_ffw_norm_1.weight", m->d_model, &layer->post_ffn_norm));
    if (!layer->post_ffn_norm.data)
        ME_TRY(find_vector(r, index, "post_ffw_norm.weight", m->d_model, &layer->post_ffn_norm));
    if (!is_shaped(&layer->wv, m->d_model, (int64_t)m->n_head_kv * m->head_dim) ||
        !is_shaped(&layer->wo, (int64_t)m->n_head * m->head_dim, m->d_model) || !layer->attn_norm.data)
        layer->wv = layer->wo = (me_tensor){0};
    return MOBIEDIT_OK;
}

/* Every tensor has to lie inside its file: libllama maps them all. */
static mobiedit_status check_places(const reader *r) {
    me_tensor place;
    for (int64_t i = 0; i < r->meta->headers->n_tensors; i++) {
        const me_header_tensor tensor = me_headers_tensor(r->meta->headers, i);
        ME_TRY(me_tensor_place(&tensor, &place, r->err));
    }
    return MOBIEDIT_OK;
}

/* ---- sites --------------------------------------------------------------------------------------------- */

/* MLPs of one width only are sites: the one that most layers have. */
static void choose_width(me_model *m) {
    int most = 0;
    for (int i = 0; i < m->n_layer; i++) {
        int same = 0;
        for (int j = 0; j < m->n_layer; j++)
            same += m->layers[i].down.data && m->layers[j].down.n_in == m->layers[i].down.n_in;
        if (same <= most) continue;
        most = same;
        m->d_ff = (int)m->layers[i].down.n_in;
    }
    for (int i = 0; i < m->n_layer; i++)
        if (m->layers[i].down.n_in != m->d_ff) clear_site(&m->layers[i]);
}

/* Experts are sites where nothing else is: another MLP's neuron is one, theirs one in each. */
static void drop_experts(me_model *m) {
    bool has_others = false;
    for (int i = 0; i < m->n_layer - 1; i++)
        has_others = has_others || (me_site_is_there(m, i) && m->layers[i].site != ME_SITE_EXPERTS);
    for (int i = 0; i < m->n_layer && has_others; i++)
        if (m->layers[i].site == ME_SITE_EXPERTS) clear_site(&m->layers[i]);
}

/* From the last layer with K and V of its own on, later tokens see nothing of what an edit does. */
static void drop_sharing(me_model *m, const me_metadata *meta) {
    const int sharing = largest(meta, "attention.shared_kv_layers", 0);
    for (int i = m->n_layer - sharing - 1; sharing > 0 && i < m->n_layer; i++)
        if (i >= 0) clear_site(&m->layers[i]);
}

static mobiedit_status check_sites(const reader *r) {
    const me_model *m = r->model;
    for (int i = 0; i < m->n_layer - 1; i++)
        if (me_site_is_there(m, i)) return MOBIEDIT_OK;
    return me_fail(r->err, MOBIEDIT_E_UNSUPPORTED,
                   "%s: no layer of this %s model can be edited: none has an MLP of %s", r->meta->path,
                   m->arch_name, me_has_gate(m->activation) ? "gate, up and down" : "up and down");
}

static mobiedit_status read_layers(const reader *r) {
    me_model *m = r->model;
    m->layers = me_calloc((size_t)m->n_layer, sizeof *m->layers);
    if (!m->layers) return me_fail_memory(r->err, "the model's layers");
    for (int i = 0; i < m->n_layer; i++) {
        ME_TRY(read_site(r, i));
        ME_TRY(read_attention(r, i));
    }
    drop_experts(m);
    choose_width(m);
    drop_sharing(m, r->meta);
    return check_sites(r);
}

static mobiedit_status read_ends(const reader *r) {
    static const char known_norm[] = "output_norm.weight";
    me_model *m = r->model;
    ME_TRY(find_shaped(r, "token_embd.weight", m->d_model, m->n_vocab, &m->tok_embd));
    ME_TRY(find_shaped(r, known_norm, m->d_model, 1, &m->output_norm));
    m->output_norm_name = known_norm;
    if (!m->output_norm.data) {
        m->output_norm_name = "token_embd_norm.weight"; /* as lfm2 calls it */
        ME_TRY(find_shaped(r, m->output_norm_name, m->d_model, 1, &m->output_norm));
    }
    ME_TRY(find_shaped(r, "output.weight", m->d_model, m->n_vocab, &m->output));
    if (!m->output.data) m->output = m->tok_embd;
    if (m->output.data && m->output_norm.data) return MOBIEDIT_OK;
    return me_fail(r->err, MOBIEDIT_E_UNSUPPORTED, "%s: a %s model without %s is not supported",
                   r->meta->path, m->arch_name, m->output.data ? "output_norm.weight" : "an output matrix");
}

mobiedit_status me_model_read_foreign(me_model *model, const me_metadata *meta, const char *arch,
                                      mobiedit_error *err) {
    const me_site_arch *known = me_site_arch_find(arch);
    const reader r = {.model = model, .meta = meta, .err = err};
    if (!known)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: architecture %.40s is not supported", meta->path,
                       arch);
    if (known->refusal)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: a %s model cannot be edited: %s", meta->path, arch,
                       known->refusal);
    model->arch = ME_ARCH_FOREIGN;
    model->arch_name = known->name;
    model->activation = known->activation;
    ME_TRY(read_sizes(&r));
    ME_TRY(read_norm(&r));
    ME_TRY(check_places(&r));
    ME_TRY(read_ends(&r));
    return read_layers(&r);
}
