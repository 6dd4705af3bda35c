/* Reads a model's hyperparameters from its metadata, and refuses variants that are not supported. */
#include "model/model_private.h"

#include "base/memory.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Bounds that keep every product of two sizes inside int64 and every index inside int. */
enum { MAX_DIM = 1 << 24, MAX_HEADS = 1 << 16, MAX_WINDOW = 1 << 24 };

typedef struct {
    const char *name;
    me_arch arch;
    me_activation activation;
} arch_traits;

static const arch_traits ARCHS[] = {
    {"llama", ME_ARCH_LLAMA, ME_ACTIVATION_SILU},     {"qwen2", ME_ARCH_QWEN2, ME_ACTIVATION_SILU},
    {"qwen3", ME_ARCH_QWEN3, ME_ACTIVATION_SILU},     {"gemma3", ME_ARCH_GEMMA3, ME_ACTIVATION_GELU_TANH},
    {"smollm3", ME_ARCH_SMOLLM3, ME_ACTIVATION_SILU},
};

mobiedit_status me_model_set_arch(me_model *model, const char *path, const char *name, mobiedit_error *err) {
    for (size_t i = 0; i < sizeof ARCHS / sizeof *ARCHS; i++) {
        if (strcmp(ARCHS[i].name, name) != 0) continue;
        model->arch = ARCHS[i].arch;
        model->arch_name = ARCHS[i].name;
        model->output_norm_name = "output_norm.weight";
        model->activation = ARCHS[i].activation;
        return MOBIEDIT_OK;
    }
    return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                   "%s: architecture %.40s is not supported (llama, qwen2, qwen3, gemma3 and smollm3 are)",
                   path, name);
}

/* Keys that ask for arithmetic which these architectures do not have here, and the value that asks for none
 * (0 always does too, save where 0 is a choice of its own). */
static const struct {
    const char *name;
    double neutral;
    bool zero_is_neutral;
} REFUSED[] = {
    {"expert_count", 0, true},
    {"expert_used_count", 0, true},
    {"expert_group_count", 0, true},
    {"expert_group_used_count", 0, true},
    {"nextn_predict_layers", 0, true},
    {"n_deepstack_layers", 0, true},
    {"pooling_type", 0, true},
    {"attention.causal", 1, false},
    {"attention.clamp_kqv", 0, true},
    {"attention.max_alibi_bias", 0, true},
    {"attention.temperature_length", 0, true},
    {"attention.temperature_scale", 0, true},
    {"attention.output_scale", 1, true},
    {"attention.value_scale", 1, true},
    {"attn_logit_softcapping", 0, true},
    {"logit_scale", 1, true},
    {"residual_scale", 1, true},
    {"embedding_scale", 1, true},
    {"rope.scaling.alpha", 0, true},
    {"rope.scaling.yarn_log_multiplier", 0, true},
};

static mobiedit_status refuse_variants(const me_metadata *meta, mobiedit_error *err) {
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        int64_t id = me_meta_find(meta, REFUSED[i].name);
        if (id < 0) continue;
        double value = me_meta_number(meta, id);
        if (value == REFUSED[i].neutral || (value == 0 && REFUSED[i].zero_is_neutral)) continue;
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: a model with %s.%s = %g is not supported",
                       meta->path, meta->arch, REFUSED[i].name, value);
    }
    if (me_meta_find(meta, "classifier.output_labels") >= 0)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: classifiers are not supported", meta->path);
    return MOBIEDIT_OK;
}

static mobiedit_status read_heads(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    int n_layer = model->n_layer;
    if (me_meta_find(meta, "attention.head_count") < 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the metadata has no %s.attention.head_count", meta->path,
                       meta->arch);
    ME_TRY(me_meta_layer_int(meta, "attention.head_count", n_layer, 1, MAX_HEADS, &model->n_head, err));
    model->n_head_kv = model->n_head;
    ME_TRY(me_meta_layer_int(meta, "attention.head_count_kv", n_layer, 1, MAX_HEADS, &model->n_head_kv, err));
    if (model->n_head % model->n_head_kv != 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %d heads cannot share %d key-value heads", meta->path,
                       model->n_head, model->n_head_kv);

    int lengths[] = {model->d_model / model->n_head, model->d_model / model->n_head, 0, 0};
    ME_TRY(me_meta_int(meta, "attention.key_length", 1, MAX_HEADS, &lengths[0], err));
    ME_TRY(me_meta_int(meta, "attention.value_length", 1, MAX_HEADS, &lengths[1], err));
    lengths[2] = lengths[3] = lengths[0];
    ME_TRY(me_meta_int(meta, "attention.key_length_swa", 1, MAX_HEADS, &lengths[2], err));
    ME_TRY(me_meta_int(meta, "attention.value_length_swa", 1, MAX_HEADS, &lengths[3], err));
    for (int i = 1; i < 4; i++)
        if (lengths[i] != lengths[0])
            return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: heads of different lengths (%d and %d)",
                           meta->path, lengths[0], lengths[i]);
    if (lengths[0] < 1 || (int64_t)lengths[0] * model->n_head > MAX_DIM)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %d heads of length %d", meta->path, model->n_head,
                       lengths[0]);
    model->head_dim = lengths[0];
    return MOBIEDIT_OK;
}

static mobiedit_status read_sizes(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    ME_TRY(me_meta_need_int(meta, "context_length", 1, INT_MAX, &model->n_ctx_train, err));
    ME_TRY(me_meta_need_int(meta, "embedding_length", 1, MAX_DIM, &model->d_model, err));
    ME_TRY(me_meta_need_int(meta, "block_count", 1, ME_MAX_LAYERS, &model->n_layer, err));
    ME_TRY(me_meta_layer_int(meta, "feed_forward_length", model->n_layer, 1, MAX_DIM, &model->d_ff, err));
    if (model->d_ff == 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the metadata has no %s.feed_forward_length", meta->path,
                       meta->arch);
    ME_TRY(read_heads(model, meta, err));
    return me_model_read_token_list(model, meta, err);
}

/* libllama takes 1/sqrt(head_dim) whatever attention.scale says for these architectures, and
 * 1/sqrt(d_model/n_head) for Gemma 3 27B, known by its 62 layers. */
static mobiedit_status read_scales(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    bool is_gemma = model->arch == ME_ARCH_GEMMA3;
    bool has_eps;
    ME_TRY(me_meta_float(meta, "attention.layer_norm_rms_epsilon", &model->norm_eps, &has_eps, err));
    if (!has_eps || model->norm_eps < 0)
        return me_fail(err, MOBIEDIT_E_FORMAT,
                       "%s: %s.attention.layer_norm_rms_epsilon is missing or negative", meta->path,
                       meta->arch);
    model->embedding_scale = is_gemma ? sqrtf((float)model->d_model) : 1.0F;
    int scaled_dim = is_gemma && model->n_layer == 62 ? model->d_model / model->n_head : model->head_dim;
    model->attn_scale = 1.0F / sqrtf((float)scaled_dim);
    float stated = model->attn_scale;
    ME_TRY(me_meta_float(meta, "attention.scale", &stated, NULL, err));
    if (stated != 0 && fabsf(stated / model->attn_scale - 1.0F) > 1e-5F)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: %s.attention.scale = %g is not supported (%g is)",
                       meta->path, meta->arch, (double)stated, (double)model->attn_scale);
    if (is_gemma) {
        ME_TRY(me_meta_float(meta, "final_logit_softcapping", &model->logit_softcap, NULL, err));
        return MOBIEDIT_OK;
    }
    float softcap = 0;
    ME_TRY(me_meta_float(meta, "final_logit_softcapping", &softcap, NULL, err));
    if (softcap != 0)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: soft-capped logits of %s are not supported",
                       meta->path, meta->arch);
    return MOBIEDIT_OK;
}

/* Leading dimensions of a head that are rotated. libllama wants all of them outside Gemma. */
static mobiedit_status read_rope_dims(const me_model *model, const me_metadata *meta, me_rope *rope,
                                      mobiedit_error *err) {
    rope->dims = model->head_dim;
    ME_TRY(me_meta_int(meta, "rope.dimension_count", 1, MAX_HEADS, &rope->dims, err));
    int dims_swa = rope->dims;
    ME_TRY(me_meta_int(meta, "rope.dimension_count_swa", 1, MAX_HEADS, &dims_swa, err));
    bool partial = rope->dims != model->head_dim;
    if (rope->dims > model->head_dim || rope->dims % 2 != 0 || dims_swa != rope->dims ||
        (partial && model->arch != ME_ARCH_GEMMA3))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%s: rotary embedding of %d (%d) of a head's %d dimensions is not supported",
                       meta->path, rope->dims, dims_swa, model->head_dim);
    return MOBIEDIT_OK;
}

/* YaRN: ggml's rope multiplies by 1 + 0.1 ln(factor); libllama's attn_factor first divides that out and puts
 * in its own, which is the same for factors above 1 and 1 below. */
static float yarn_attn_factor(float factor) {
    float scale = factor <= 1.0F ? 1.0F : 0.1F * logf(factor) + 1.0F;
    return scale * (1.0F / (1.0F + 0.1F * logf(factor)));
}

static mobiedit_status read_rope_scaling(const me_metadata *meta, me_rope *rope, mobiedit_error *err) {
    char key[64];
    const char *type = "linear";
    (void)snprintf(key, sizeof key, "%s.rope.scaling.type", meta->arch);
    ME_TRY(me_meta_string(meta, key, &type, err));
    bool none = strcmp(type, "none") == 0, yarn = strcmp(type, "yarn") == 0;
    if (!none && !yarn && strcmp(type, "linear") != 0)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: rope scaling of type %.40s is not supported",
                       meta->path, type);
    float factor = 0;
    bool found;
    ME_TRY(me_meta_float(meta, "rope.scaling.factor", &factor, &found, err));
    if (!found) ME_TRY(me_meta_float(meta, "rope.scale_linear", &factor, NULL, err));
    if (factor == 0 || none) factor = 1;
    rope->freq_scale = 1.0F / factor;
    rope->ext_factor = yarn ? 1.0F : 0.0F;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    rope->attn_factor = 1;
    ME_TRY(me_meta_float(meta, "rope.scaling.attn_factor", &rope->attn_factor, NULL, err));
    if (yarn) rope->attn_factor *= yarn_attn_factor(1.0F / rope->freq_scale);
    if (factor <= 0 || !isfinite(rope->freq_scale) || !isfinite(rope->attn_factor))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: a rope scaling factor of %g", meta->path, (double)factor);
    return MOBIEDIT_OK;
}

/* The rope of layers that see the whole context. */
static mobiedit_status read_rope(const me_model *model, const me_metadata *meta, me_rope *rope,
                                 mobiedit_error *err) {
    const bool neox = model->arch != ME_ARCH_LLAMA && model->arch != ME_ARCH_SMOLLM3;
    *rope = (me_rope){.neox = neox, .freq_base = 10000};
    ME_TRY(read_rope_dims(model, meta, rope, err));
    ME_TRY(read_rope_scaling(meta, rope, err));
    rope->n_ctx_orig = model->n_ctx_train;
    ME_TRY(me_meta_int(meta, "rope.scaling.original_context_length", 0, INT_MAX, &rope->n_ctx_orig, err));
    if (rope->n_ctx_orig == 0) rope->n_ctx_orig = model->n_ctx_train;
    ME_TRY(me_meta_float(meta, "rope.freq_base", &rope->freq_base, NULL, err));
    if (rope->freq_base <= 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: a rope base of %g", meta->path, (double)rope->freq_base);
    return MOBIEDIT_OK;
}

/* SmolLM3's every fourth layer knows no positions; no key says so. */
static void leave_out_ropes(me_model *model) {
    enum { PERIOD = 4 };
    if (model->arch != ME_ARCH_SMOLLM3) return;
    for (int i = PERIOD - 1; i < model->n_layer; i += PERIOD)
        model->layers[i].rope.dims = 0;
}

/* Which layers slide: a list with a value for each, or a number n: all but each n-th layer (0: all). */
static mobiedit_status read_window_pattern(const me_model *model, const me_metadata *meta, bool *slides,
                                           mobiedit_error *err) {
    static const char NAME[] = "attention.sliding_window_pattern";
    int64_t id = me_meta_find(meta, NAME);
    if (id < 0 || gguf_get_kv_type(meta->gguf, id) != GGUF_TYPE_ARRAY) {
        int period = 6;
        ME_TRY(me_meta_int(meta, NAME, 0, INT_MAX, &period, err));
        for (int i = 0; i < model->n_layer; i++)
            slides[i] = period == 0 || i % period < period - 1;
        return MOBIEDIT_OK;
    }
    enum gguf_type type = gguf_get_arr_type(meta->gguf, id);
    bool wide = type == GGUF_TYPE_INT32 || type == GGUF_TYPE_UINT32;
    if ((!wide && type != GGUF_TYPE_BOOL) || gguf_get_arr_n(meta->gguf, id) != (size_t)model->n_layer)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s.%s is not a list of %d flags", meta->path, meta->arch,
                       NAME, model->n_layer);
    const void *data = gguf_get_arr_data(meta->gguf, id);
    for (int i = 0; i < model->n_layer; i++)
        slides[i] = wide ? ((const int32_t *)data)[i] != 0 : ((const int8_t *)data)[i] != 0;
    return MOBIEDIT_OK;
}

/* Gemma's sliding layers: their own rope base, never scaled. The other architectures have no windows in
 * libllama, whatever their metadata say. */
static mobiedit_status read_windows(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    int window = 0;
    if (model->arch != ME_ARCH_GEMMA3) return MOBIEDIT_OK;
    ME_TRY(me_meta_int(meta, "attention.sliding_window", 0, MAX_WINDOW, &window, err));
    if (window == 0) return MOBIEDIT_OK;
    float base = 10000;
    ME_TRY(me_meta_float(meta, "rope.freq_base_swa", &base, NULL, err));
    if (base <= 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: a rope base of %g", meta->path, (double)base);
    bool slides[ME_MAX_LAYERS] = {false};
    ME_TRY(read_window_pattern(model, meta, slides, err));
    for (int i = 0; i < model->n_layer; i++) {
        if (!slides[i]) continue;
        model->layers[i].window = window;
        model->layers[i].rope.freq_base = base;
        model->layers[i].rope.freq_scale = 1;
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_model_read_hparams(me_model *model, const me_metadata *meta, mobiedit_error *err) {
    ME_TRY(refuse_variants(meta, err));
    ME_TRY(read_sizes(model, meta, err));
    ME_TRY(read_scales(model, meta, err));
    me_rope rope;
    ME_TRY(read_rope(model, meta, &rope, err));
    model->layers = me_calloc((size_t)model->n_layer, sizeof *model->layers);
    if (!model->layers) return me_fail_memory(err, "the model's layers");
    for (int i = 0; i < model->n_layer; i++)
        model->layers[i].rope = rope;
    leave_out_ropes(model);
    return read_windows(model, meta, err);
}
