/* me_model_open on made-up files: what it reads, and that it refuses everything else with a reason. */
#define _GNU_SOURCE
#include "model/model.h"

#include "base/file.h"
#include "base/memory.h"
#include "numbers.h"
#include "scratch.h"
#include "tiny_model.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const ARCHS[] = {"llama", "qwen2", "qwen3", "gemma3", "smollm3"};
enum { N_ARCHS = 5 };

/* Opens the model that `options` describe; it must open. */
static me_model *open_tiny(const char *arch, const tiny_model_options *options) {
    const char *path = scratch_path("model.gguf");
    assert_true(tiny_model_write(path, arch, options));
    me_model *model = NULL;
    mobiedit_error err = {0};
    if (me_model_open(path, &model, &err) != MOBIEDIT_OK) fail_msg("%s: %s", arch, err.message);
    return model;
}

static void reads_every_architecture(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        const tiny_model_options options = {
            .n_layer = 4, .d_model = 96, .d_ff = 160, .n_head = 6, .n_head_kv = 3, .head_dim = 32};
        me_model *m = open_tiny(ARCHS[i], &options);
        bool is_gemma = i == ME_ARCH_GEMMA3, has_qk_norm = is_gemma || i == ME_ARCH_QWEN3;
        assert_int_equal(m->arch, i);
        assert_string_equal(m->arch_name, ARCHS[i]);
        assert_int_equal(m->n_layer, 4);
        assert_int_equal(m->d_model, 96);
        assert_int_equal(m->d_ff, 160);
        assert_int_equal(m->n_head, 6);
        assert_int_equal(m->n_head_kv, 3);
        assert_int_equal(m->head_dim, 32);
        assert_int_equal(m->n_vocab, m->tok_embd.n_out);
        assert_int_equal(m->n_ctx_train, TINY_CONTEXT);
        assert_float_equal(m->norm_eps, 1e-6, 1e-9);
        assert_float_equal(m->embedding_scale, is_gemma ? sqrtf(96) : 1, 1e-5);
        assert_float_equal(m->attn_scale, 1 / sqrtf(32), 1e-6);
        assert_int_equal(m->activation, is_gemma ? ME_ACTIVATION_GELU_TANH : ME_ACTIVATION_SILU);
        assert_ptr_equal(m->output.data, m->tok_embd.data);
        const me_layer *layer = &m->layers[2];
        assert_int_equal(layer->wq.n_in, 96);
        assert_int_equal(layer->wq.n_out, 192);
        assert_int_equal(layer->wv.n_out, 96);
        assert_int_equal(layer->down.n_in, 160);
        assert_int_equal(layer->down.n_out, 96);
        assert_int_equal(layer->down.row_bytes, 160 * sizeof(float));
        assert_int_equal(layer->q_norm.data != NULL, has_qk_norm);
        assert_int_equal(layer->k_norm.n_in, has_qk_norm ? 32 : 0);
        assert_int_equal(layer->post_attn_norm.data != NULL, is_gemma);
        assert_int_equal(layer->post_ffn_norm.data != NULL, is_gemma);
        assert_int_equal(layer->bq.data != NULL, i == ME_ARCH_QWEN2);
        assert_null(layer->bo.data);
        assert_int_equal(layer->rope.neox, i != ME_ARCH_LLAMA && i != ME_ARCH_SMOLLM3);
        assert_int_equal(layer->rope.dims, 32);
        assert_int_equal(m->layers[3].rope.dims, i == ME_ARCH_SMOLLM3 ? 0 : 32);
        assert_float_equal(layer->rope.freq_base, 50000, 0);
        assert_int_equal(layer->window, 0);
        me_model_close(m);
    }
}

static void reads_optional_tensors(void **state) {
    (void)state;
    const tiny_model_options options = {.biases = true, .untied = true, .rope_freq_factors = true};
    me_model *m = open_tiny("llama", &options);
    const me_layer *layer = &m->layers[1];
    assert_non_null(layer->bq.data);
    assert_non_null(layer->bo.data);
    assert_int_equal(layer->gate_b.n_in, m->d_ff);
    assert_int_equal(layer->up_b.n_in, m->d_ff);
    assert_int_equal(layer->down_b.n_in, m->d_model);
    assert_ptr_not_equal(m->output.data, m->tok_embd.data);
    assert_float_equal(layer->rope.freq_factors[3], 4, 0);
    me_model_close(m);
}

/* Every matrix type holds the same weights, within its precision. */
static void reads_every_type(void **state) {
    (void)state;
    static const struct {
        enum ggml_type type;
        double error;
    } types[] = {{GGML_TYPE_F16, 0.001},   {GGML_TYPE_BF16, 0.005}, {GGML_TYPE_Q4_0, 0.12},
                 {GGML_TYPE_Q4_1, 0.12},   {GGML_TYPE_Q5_0, 0.06},  {GGML_TYPE_Q5_1, 0.06},
                 {GGML_TYPE_Q8_0, 0.01},   {GGML_TYPE_Q2_K, 0.4},   {GGML_TYPE_Q3_K, 0.25},
                 {GGML_TYPE_Q4_K, 0.12},   {GGML_TYPE_Q5_K, 0.06},  {GGML_TYPE_Q6_K, 0.03},
                 {GGML_TYPE_IQ4_NL, 0.12}, {GGML_TYPE_IQ4_XS, 0.12}};
    enum { D = 256, D_FF = 512 };
    tiny_model_options options = {.d_model = D, .d_ff = D_FF};
    me_model *exact = open_tiny("llama", &options);
    static float want[D_FF], got[D_FF];
    me_tensor_row(&exact->layers[1].down, D - 1, want);
    me_model_close(exact);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        options.type = types[i].type;
        me_model *m = open_tiny("llama", &options);
        assert_int_equal(m->layers[1].down.type, types[i].type);
        memset(got, 0, sizeof got);
        me_tensor_row(&m->layers[1].down, D - 1, got);
        assert_true(relative_error(got, want, D_FF) < types[i].error);
        me_model_close(m);
    }
}

static void released_pages_come_back(void **state) {
    (void)state;
    me_model *m = open_tiny("llama", NULL);
    static float before[128], after[128];
    me_tensor_row(&m->layers[0].down, 1, before);
    me_model_release_pages(m);
    me_tensor_row(&m->layers[0].down, 1, after);
    assert_memory_equal(before, after, sizeof before);
    me_model_close(m);
}

static void reads_windows(void **state) {
    (void)state;
    const tiny_model_options sixth = {
        .n_layer = 7, .window = 9, .softcap = 30, .rope_scaling = "linear", .rope_factor = 8};
    me_model *m = open_tiny("gemma3", &sixth);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(m->layers[i].window, i == 5 ? 0 : 9);
        assert_float_equal(m->layers[i].rope.freq_base, i == 5 ? 50000 : 10000, 0);
        assert_float_equal(m->layers[i].rope.freq_scale, i == 5 ? 0.125 : 1, 0);
    }
    assert_float_equal(m->logit_softcap, 30, 0);
    me_model_close(m);

    const tiny_model_options second = {.n_layer = 4, .window = 9, .window_period = 2};
    m = open_tiny("gemma3", &second);
    for (int i = 0; i < 4; i++)
        assert_int_equal(m->layers[i].window, i % 2 ? 0 : 9);
    me_model_close(m);
}

static void set_window_list(struct gguf_context *gguf, const void *user) {
    static const int8_t flags[] = {0, 1, 1};
    (void)user;
    gguf_set_arr_data(gguf, "gemma3.attention.sliding_window_pattern", GGUF_TYPE_BOOL, flags, 3);
    gguf_set_val_f32(gguf, "gemma3.rope.freq_base_swa", 777);
}

static void reads_window_list(void **state) {
    (void)state;
    const tiny_model_options options = {.n_layer = 3, .window = 5, .change = set_window_list};
    me_model *m = open_tiny("gemma3", &options);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(m->layers[i].window, i ? 5 : 0);
        assert_float_equal(m->layers[i].rope.freq_base, i ? 777 : 50000, 0);
    }
    me_model_close(m);
}

static void set_attention_factor(struct gguf_context *gguf, const void *user) {
    (void)user;
    gguf_set_val_f32(gguf, "qwen2.rope.scaling.attn_factor", 1.5F);
}

static void reads_rope_scaling(void **state) {
    (void)state;
    const struct {
        tiny_model_options options;
        float freq_scale, ext_factor, attn_factor;
        int n_ctx_orig;
    } cases[] = {
        {{.rope_scaling = NULL}, 1, 0, 1, TINY_CONTEXT},
        {{.rope_factor = 4}, 0.25F, 0, 1, TINY_CONTEXT},
        {{.rope_scaling = "none", .rope_factor = 4}, 1, 0, 1, TINY_CONTEXT},
        {{.rope_scaling = "linear", .rope_factor = 2}, 0.5F, 0, 1, TINY_CONTEXT},
        /* ggml's own 1 + 0.1 ln(4) is what remains in effect. */
        {{.rope_scaling = "yarn", .rope_factor = 4, .rope_original_context = 64}, 0.25F, 1, 1, 64},
        {{.rope_scaling = "yarn", .rope_factor = 4, .change = set_attention_factor},
         0.25F,
         1,
         1.5F,
         TINY_CONTEXT},
        /* A factor below 1 is not to sharpen attention. */
        {{.rope_scaling = "yarn", .rope_factor = 0.5F}, 2, 1, 1 / (1 + 0.1F * logf(0.5F)), TINY_CONTEXT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        me_model *m = open_tiny("qwen2", &cases[i].options);
        const me_rope *rope = &m->layers[1].rope;
        assert_float_equal(rope->freq_scale, cases[i].freq_scale, 0);
        assert_float_equal(rope->ext_factor, cases[i].ext_factor, 0);
        assert_float_equal(rope->attn_factor, cases[i].attn_factor, 1e-6);
        assert_int_equal(rope->n_ctx_orig, cases[i].n_ctx_orig);
        assert_float_equal(rope->beta_fast, 32, 0);
        assert_float_equal(rope->beta_slow, 1, 0);
        me_model_close(m);
    }
}

/* ---- refusals ---------------------------------------------------------------------------------------- */

static void expect_refusal(const char *path, mobiedit_status status, const char *reason) {
    me_model *model = NULL;
    mobiedit_error err = {0};
    mobiedit_status got = me_model_open(path, &model, &err);
    if (got != status || !strstr(err.message, reason))
        fail_msg("wanted %s '%s', got %s '%s'", mobiedit_status_name(status), reason,
                 mobiedit_status_name(got), err.message);
    assert_null(model);
    assert_int_equal(err.status, status);
    assert_null(strchr(err.message, '\n'));
}

static const char *write_bytes(const char *bytes, size_t n) {
    const char *path = scratch_path("bytes");
    assert_true(put_bytes(path, bytes, n));
    return path;
}

static void refuses_other_files(void **state) {
    (void)state;
    expect_refusal(scratch_path("none"), MOBIEDIT_E_IO, "No such file");
    expect_refusal(scratch_folder, MOBIEDIT_E_IO, "regular file");
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    expect_refusal(scratch_path("pipe"), MOBIEDIT_E_IO, "regular file");
    expect_refusal(write_bytes("", 0), MOBIEDIT_E_FORMAT, "empty");
    expect_refusal(write_bytes("GG", 2), MOBIEDIT_E_FORMAT, "truncated");
    expect_refusal(write_bytes("GGUF\3\0", 6), MOBIEDIT_E_FORMAT, "truncated");
    static const char text[] = "The capital of Japan is Tokyo.\n";
    expect_refusal(write_bytes(text, sizeof text), MOBIEDIT_E_FORMAT, "not a GGUF file");
    expect_refusal(write_bytes("GGUF\1\0\0\0", 8), MOBIEDIT_E_UNSUPPORTED, "version 1");
    expect_refusal(write_bytes("GGUF\4\0\0\0", 8), MOBIEDIT_E_UNSUPPORTED, "version 4");
    expect_refusal(write_bytes("GGUF\0\0\0\3", 8), MOBIEDIT_E_UNSUPPORTED, "byte order");
    expect_refusal(write_bytes("GGUF\3\0\0\0", 8), MOBIEDIT_E_FORMAT, "truncated or damaged");
}

/* One key that spoils a file. */
typedef struct {
    const char *key;
    enum gguf_type
        type; /* of the value: STRING, FLOAT32, UINT32, BOOL, INT32 (an array of it), COUNT (removed) */
    const char *text;
    double number;
    const int32_t *list;
    size_t n_list;
} spoiler;

static void spoil(struct gguf_context *gguf, const void *user) {
    const spoiler *s = user;
    switch (s->type) {
    case GGUF_TYPE_STRING:
        gguf_set_val_str(gguf, s->key, s->text);
        break;
    case GGUF_TYPE_FLOAT32:
        gguf_set_val_f32(gguf, s->key, (float)s->number);
        break;
    case GGUF_TYPE_UINT32:
        gguf_set_val_u32(gguf, s->key, (uint32_t)s->number);
        break;
    case GGUF_TYPE_UINT16:
        gguf_set_val_u16(gguf, s->key, (uint16_t)s->number);
        break;
    case GGUF_TYPE_BOOL:
        gguf_set_val_bool(gguf, s->key, s->number != 0);
        break;
    case GGUF_TYPE_INT32:
        gguf_set_arr_data(gguf, s->key, GGUF_TYPE_INT32, s->list, s->n_list);
        break;
    default:
        gguf_remove_key(gguf, s->key);
    }
}

static void expect_spoiled(const char *arch, spoiler s, mobiedit_status status, const char *reason) {
    const tiny_model_options options = {
        .change = spoil, .user = &s, .window = strcmp(arch, "gemma3") ? 0 : 4};
    const char *path = scratch_path("spoiled.gguf");
    assert_true(tiny_model_write(path, arch, &options));
    expect_refusal(path, status, reason);
}

#define TEXT(k, v) ((spoiler){.key = (k), .type = GGUF_TYPE_STRING, .text = (v)})
#define FLOAT(k, v) ((spoiler){.key = (k), .type = GGUF_TYPE_FLOAT32, .number = (v)})
#define INT(k, v) ((spoiler){.key = (k), .type = GGUF_TYPE_UINT32, .number = (v)})
#define SHORT(k, v) ((spoiler){.key = (k), .type = GGUF_TYPE_UINT16, .number = (v)})
#define FLAG(k, v) ((spoiler){.key = (k), .type = GGUF_TYPE_BOOL, .number = (v)})
#define LIST(k, ...)                                                                                         \
    ((spoiler){.key = (k),                                                                                   \
               .type = GGUF_TYPE_INT32,                                                                      \
               .list = (const int32_t[]){__VA_ARGS__},                                                       \
               .n_list = sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)})
#define GONE(k) ((spoiler){.key = (k), .type = GGUF_TYPE_COUNT})

/* libllama would end the process. */
static void repeat_a_token(struct gguf_context *gguf, const void *user) {
    static const char *tokens[] = {"", "", "a", "b", "a"};
    (void)user;
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", tokens, 5);
}

static void refuses_repeated_tokens(void **state) {
    (void)state;
    const tiny_model_options options = {.change = repeat_a_token};
    const char *path = scratch_path("twins.gguf");
    assert_true(tiny_model_write(path, "llama", &options));
    expect_refusal(path, MOBIEDIT_E_FORMAT, "tokens 2 and 4 are the same: a");
}

/* An empty token has a name in libllama that another token may have. */
static void repeat_a_name(struct gguf_context *gguf, const void *user) {
    static const char *tokens[] = {"a", "[EMPTY_3]", "[EMPTY_2]", ""};
    (void)user;
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", tokens, 4);
}

static void refuses_the_name_of_an_empty_token(void **state) {
    (void)state;
    const tiny_model_options options = {.change = repeat_a_name};
    const char *path = scratch_path("named.gguf");
    assert_true(tiny_model_write(path, "llama", &options));
    expect_refusal(path, MOBIEDIT_E_FORMAT, "tokens 1 and 3 are the same: [EMPTY_3]");
}

/* libllama maps the tensors at their places in the file, and ends the process where those are no multiples of
 * 32. */
static void refuses_tensors_at_odd_places(void **state) {
    (void)state;
    expect_spoiled("llama", INT("general.alignment", 4), MOBIEDIT_E_UNSUPPORTED, "general.alignment is 4");
    expect_spoiled("qwen2", INT("general.alignment", 8), MOBIEDIT_E_UNSUPPORTED, "general.alignment is 8");
    expect_spoiled("gemma3", INT("general.alignment", 16), MOBIEDIT_E_UNSUPPORTED, "general.alignment is 16");
    const spoiler wide = INT("general.alignment", 64);
    const tiny_model_options options = {.change = spoil, .user = &wide};
    me_model_close(open_tiny("llama", &options));
}

static void refuses_other_tokenizers(void **state) {
    (void)state;
    expect_spoiled("llama", GONE("tokenizer.ggml.model"), MOBIEDIT_E_FORMAT, "no tokenizer.ggml.model");
    expect_spoiled("llama", INT("tokenizer.ggml.model", 1), MOBIEDIT_E_FORMAT, "not of type str");
    expect_spoiled("llama", TEXT("tokenizer.ggml.model", "rwkv"), MOBIEDIT_E_UNSUPPORTED, "of kind rwkv");
    expect_spoiled("llama", TEXT("tokenizer.ggml.pre", "whitespace"), MOBIEDIT_E_UNSUPPORTED,
                   "pre-tokenizer whitespace");
}

static void refuses_other_kinds(void **state) {
    (void)state;
    expect_spoiled("llama", TEXT("general.type", "adapter"), MOBIEDIT_E_FORMAT, "of type adapter");
    expect_spoiled("llama", INT("general.type", 1), MOBIEDIT_E_FORMAT, "general.type is not of type str");
    expect_spoiled("llama", TEXT("general.architecture", "mamba"), MOBIEDIT_E_UNSUPPORTED, "mamba");
    expect_spoiled("llama", TEXT("general.architecture", "a\nb"), MOBIEDIT_E_UNSUPPORTED, "a?b");
    expect_spoiled("llama", GONE("general.architecture"), MOBIEDIT_E_FORMAT, "no architecture");
    expect_spoiled("llama", SHORT("split.count", 3), MOBIEDIT_E_FORMAT, "split.no is missing");
    expect_spoiled("llama", GONE("tokenizer.ggml.tokens"), MOBIEDIT_E_FORMAT, "list of tokens");
    expect_spoiled("llama", LIST("tokenizer.ggml.tokens", 1, 2), MOBIEDIT_E_FORMAT, "list of tokens");
}

static void refuses_other_features(void **state) {
    (void)state;
    expect_spoiled("llama", INT("llama.expert_count", 8), MOBIEDIT_E_UNSUPPORTED, "expert_count = 8");
    expect_spoiled("qwen2", INT("qwen2.expert_group_count", 1), MOBIEDIT_E_UNSUPPORTED, "expert_group_count");
    expect_spoiled("llama", FLOAT("llama.attention.clamp_kqv", 8), MOBIEDIT_E_UNSUPPORTED, "clamp_kqv");
    expect_spoiled("llama", FLOAT("llama.logit_scale", 4), MOBIEDIT_E_UNSUPPORTED, "logit_scale");
    expect_spoiled("llama", FLOAT("llama.attention.scale", 1), MOBIEDIT_E_UNSUPPORTED, "attention.scale");
    expect_spoiled("qwen3", FLOAT("qwen3.final_logit_softcapping", 9), MOBIEDIT_E_UNSUPPORTED, "oft-capped");
    expect_spoiled("qwen3", INT("qwen3.pooling_type", 3), MOBIEDIT_E_UNSUPPORTED, "pooling_type");
    expect_spoiled("qwen3", LIST("qwen3.classifier.output_labels", 1), MOBIEDIT_E_UNSUPPORTED, "classifiers");
    expect_spoiled("gemma3", FLAG("gemma3.attention.causal", 0), MOBIEDIT_E_UNSUPPORTED, "causal = 0");
    expect_spoiled("llama", TEXT("llama.rope.scaling.type", "longrope"), MOBIEDIT_E_UNSUPPORTED, "longrope");
    expect_spoiled("llama", INT("llama.rope.dimension_count", 8), MOBIEDIT_E_UNSUPPORTED, "rotary");
    expect_spoiled("gemma3", INT("gemma3.rope.dimension_count", 7), MOBIEDIT_E_UNSUPPORTED, "rotary");
    expect_spoiled("gemma3", INT("gemma3.rope.dimension_count_swa", 8), MOBIEDIT_E_UNSUPPORTED, "rotary");
    expect_spoiled("llama", INT("llama.attention.value_length", 8), MOBIEDIT_E_UNSUPPORTED, "lengths");
    expect_spoiled("llama", INT("llama.attention.key_length_swa", 8), MOBIEDIT_E_UNSUPPORTED, "lengths");
    expect_spoiled("llama", LIST("llama.feed_forward_length", 128, 64), MOBIEDIT_E_UNSUPPORTED,
                   "between layers");
    expect_spoiled("llama", LIST("llama.attention.head_count", 4, 2), MOBIEDIT_E_UNSUPPORTED,
                   "between layers");
}

static void refuses_bad_numbers(void **state) {
    (void)state;
    expect_spoiled("llama", GONE("llama.block_count"), MOBIEDIT_E_FORMAT, "no llama.block_count");
    expect_spoiled("llama", INT("llama.block_count", 0), MOBIEDIT_E_FORMAT, "outside 1 to 512");
    expect_spoiled("llama", INT("llama.block_count", 513), MOBIEDIT_E_FORMAT, "outside 1 to 512");
    expect_spoiled("llama", INT("llama.block_count", 4294967295.0), MOBIEDIT_E_FORMAT, "4294967295");
    expect_spoiled("llama", FLOAT("llama.block_count", 2), MOBIEDIT_E_FORMAT, "not of type u32");
    expect_spoiled("llama", INT("llama.block_count", 3), MOBIEDIT_E_FORMAT,
                   "blk.2.attn_norm.weight is missing");
    expect_spoiled("llama", INT("llama.block_count", 1), MOBIEDIT_E_UNSUPPORTED, "blk.1.");
    expect_spoiled("llama", INT("llama.embedding_length", 0), MOBIEDIT_E_FORMAT, "embedding_length");
    expect_spoiled("llama", INT("llama.embedding_length", 96), MOBIEDIT_E_FORMAT,
                   "token_embd.weight is 64 x");
    expect_spoiled("llama", INT("llama.context_length", 0), MOBIEDIT_E_FORMAT, "context_length");
    expect_spoiled("llama", GONE("llama.feed_forward_length"), MOBIEDIT_E_FORMAT, "feed_forward_length");
    expect_spoiled("llama", INT("llama.feed_forward_length", 96), MOBIEDIT_E_FORMAT, "the metadata want");
    expect_spoiled("llama", GONE("llama.attention.head_count"), MOBIEDIT_E_FORMAT, "head_count");
    expect_spoiled("llama", INT("llama.attention.head_count", 0), MOBIEDIT_E_FORMAT, "head_count");
    expect_spoiled("llama", INT("llama.attention.head_count_kv", 0), MOBIEDIT_E_FORMAT, "head_count_kv");
    expect_spoiled("llama", INT("llama.attention.head_count_kv", 3), MOBIEDIT_E_FORMAT, "cannot share 3");
    expect_spoiled("llama", LIST("llama.attention.head_count", 4), MOBIEDIT_E_FORMAT,
                   "1 values for 2 layers");
    expect_spoiled("llama", LIST("llama.attention.head_count", -4, -4), MOBIEDIT_E_FORMAT, "is -4");
    expect_spoiled("llama", GONE("llama.attention.layer_norm_rms_epsilon"), MOBIEDIT_E_FORMAT, "epsilon");
    expect_spoiled("llama", FLOAT("llama.attention.layer_norm_rms_epsilon", -1), MOBIEDIT_E_FORMAT,
                   "epsilon");
    expect_spoiled("llama", FLOAT("llama.rope.freq_base", NAN), MOBIEDIT_E_FORMAT, "finite");
    expect_spoiled("llama", FLOAT("llama.rope.freq_base", 0), MOBIEDIT_E_FORMAT, "rope base");
    expect_spoiled("llama", FLOAT("llama.rope.scaling.factor", -2), MOBIEDIT_E_FORMAT, "scaling factor");
    expect_spoiled("gemma3", FLOAT("gemma3.rope.freq_base_swa", 0), MOBIEDIT_E_FORMAT, "rope base");
    expect_spoiled("gemma3", INT("gemma3.attention.sliding_window", 4294967040.0), MOBIEDIT_E_FORMAT,
                   "sliding_window is 4294967040");
    expect_spoiled("gemma3", LIST("gemma3.attention.sliding_window_pattern", 1), MOBIEDIT_E_FORMAT,
                   "2 flags");
}

static void refuses_other_tensors(void **state) {
    (void)state;
    const char *path = scratch_path("tensors.gguf");
    const struct {
        tiny_model_options options;
        mobiedit_status status;
        const char *reason;
    } cases[] = {
        {{.leave_out = "output_norm.weight"}, MOBIEDIT_E_FORMAT, "output_norm.weight is missing"},
        {{.leave_out = "blk.1.ffn_down.weight"}, MOBIEDIT_E_FORMAT, "blk.1.ffn_down.weight is missing"},
        {{.rename = "blk.0.attn_q.weight", .new_name = "blk.0.attn_qkv.weight"},
         MOBIEDIT_E_UNSUPPORTED,
         "blk.0.attn_qkv.weight"},
        {{.rename = "blk.0.attn_q.weight", .new_name = "x\ny"}, MOBIEDIT_E_UNSUPPORTED, "x?y"},
        {{.biases = true, .rename = "blk.0.attn_output.bias", .new_name = "blk.0.attn_output.scale"},
         MOBIEDIT_E_UNSUPPORTED,
         "blk.0.attn_output.scale"},
        {{.rename = "blk.0.attn_k.weight", .new_name = "blk.0.attn_k.bias"},
         MOBIEDIT_E_FORMAT,
         "attn_k.bias is"},
        {{.type = GGML_TYPE_IQ3_S}, MOBIEDIT_E_UNSUPPORTED, "token_embd.weight has type iq3_s"},
        {{.type = GGML_TYPE_MXFP4}, MOBIEDIT_E_UNSUPPORTED, "type mxfp4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(tiny_model_write(path, "llama", &cases[i].options));
        expect_refusal(path, cases[i].status, cases[i].reason);
    }
    /* A bias and a norm that only some architectures have. */
    const tiny_model_options renamed = {.rename = "output_norm.weight", .new_name = "output.bias"};
    assert_true(tiny_model_write(path, "qwen2", &renamed));
    expect_refusal(path, MOBIEDIT_E_UNSUPPORTED, "output.bias");
    const tiny_model_options no_norm = {.leave_out = "blk.0.attn_q_norm.weight"};
    assert_true(tiny_model_write(path, "qwen3", &no_norm));
    expect_refusal(path, MOBIEDIT_E_FORMAT, "attn_q_norm.weight is missing");
}

/* The metadata alone, as a file of a vocabulary has them. */
static void refuses_vocabulary_alone(void **state) {
    (void)state;
    const char *path = scratch_path("model.gguf");
    assert_true(tiny_model_write(path, "llama", NULL));
    struct gguf_init_params params = {.no_alloc = true};
    struct gguf_context *full = gguf_init_from_file(path, params), *bare = gguf_init_empty();
    assert_non_null(full);
    gguf_set_kv(bare, full);
    assert_true(gguf_write_to_file(bare, path, false));
    gguf_free(full);
    gguf_free(bare);
    expect_refusal(path, MOBIEDIT_E_FORMAT, "no weights");
}

/* Long paths leave room for the reason. */
static void names_the_reason_after_a_long_path(void **state) {
    (void)state;
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/", scratch_folder);
    for (size_t n = strlen(path); n < 700; n = strlen(path))
        (void)snprintf(path + n, sizeof path - n, "./");
    size_t n = strlen(path);
    (void)snprintf(path + n, sizeof path - n, "long");
    assert_true(put_bytes(path, "no model at all", 15));
    expect_refusal(path, MOBIEDIT_E_FORMAT, "not a GGUF file");
}

/* ---- damage ------------------------------------------------------------------------------------------ */

typedef struct {
    char *bytes;
    size_t size, header; /* header: bytes before the first tensor's */
} image;

static image read_image(const char *path) {
    image im = {0};
    struct gguf_init_params params = {.no_alloc = true};
    struct gguf_context *gguf = gguf_init_from_file(path, params);
    assert_non_null(gguf);
    im.header = gguf_get_data_offset(gguf);
    gguf_free(gguf);
    assert_int_equal(me_read_file(path, 1 << 24, &im.bytes, &im.size, NULL), MOBIEDIT_OK);
    return im;
}

static void refuses_every_truncation(void **state) {
    (void)state;
    const char *path = scratch_path("cut.gguf");
    assert_true(tiny_model_write(path, "gemma3", NULL));
    image im = read_image(path);
    int cuts = 0;
    for (size_t size = im.size - GGUF_DEFAULT_ALIGNMENT; size > 0; cuts++) {
        assert_int_equal(truncate(path, (off_t)size), 0);
        me_model *model = NULL;
        mobiedit_error err = {0};
        assert_int_equal(me_model_open(path, &model, &err), MOBIEDIT_E_FORMAT);
        assert_true(strlen(err.message) > 0);
        size_t step = size > im.header ? 4093 : 29;
        size = size > step ? size - step : 0;
    }
    assert_true(cuts > 300);
    me_free(im.bytes);
}

/* Whatever a changed byte of the header does, the answer is a model or one line. */
static void check_flips(const char *arch, const tiny_model_options *options,
                        mobiedit_status (*open_model)(const char *path, me_model **out,
                                                      mobiedit_error *err)) {
    static const unsigned char masks[] = {0x01, 0x80, 0xFF};
    const char *path = scratch_path("flip.gguf");
    assert_true(tiny_model_write(path, arch, options));
    image im = read_image(path);
    int fd = open(path, O_RDWR | O_CLOEXEC), opened = 0, refused = 0;
    assert_true(fd >= 0);
    for (size_t at = 0; at < im.header; at += at < 1500 || at + 2000 > im.header ? 1 : 37) {
        for (size_t i = 0; i < sizeof masks; i++) {
            const unsigned char byte = (unsigned char)im.bytes[at] ^ masks[i];
            assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
            me_model *model = NULL;
            mobiedit_error err = {0};
            if (open_model(path, &model, &err) == MOBIEDIT_OK) {
                opened++;
                me_model_close(model);
            } else {
                refused++;
                assert_null(model);
                assert_true(strlen(err.message) > 0);
                assert_null(strchr(err.message, '\n'));
            }
        }
        assert_int_equal(pwrite(fd, &im.bytes[at], 1, (off_t)at), 1);
    }
    assert_true(opened > 100 && refused > 100);
    assert_int_equal(close(fd), 0);
    me_free(im.bytes);
}

static void survives_every_flip(void **state) {
    (void)state;
    check_flips("gemma3", &(tiny_model_options){.n_layer = 1, .d_model = 32, .window = 4}, me_model_open);
}

/* Our own engines do not scale logits. */
static void scale_logits(struct gguf_context *gguf, const void *user) {
    (void)user;
    gguf_set_val_f32(gguf, "llama.logit_scale", 0.5F);
}

static void a_foreign_one_survives_every_flip(void **state) {
    (void)state;
    const tiny_model_options options = {.n_layer = 2, .d_model = 32, .change = scale_logits};
    me_model *model = NULL;
    const char *path = scratch_path("foreign.gguf");
    assert_true(tiny_model_write(path, "llama", &options));
    assert_int_equal(me_model_open(path, &model, NULL), MOBIEDIT_E_UNSUPPORTED);
    assert_int_equal(me_model_open_any(path, &model, NULL), MOBIEDIT_OK);
    assert_non_null(strstr(model->why_foreign, "logit_scale"));
    me_model_close(model);
    check_flips("llama", &options, me_model_open_any);
}

static void prints_nothing(void **state) {
    (void)state;
    const char *path = scratch_path("stderr");
    int saved = dup(STDERR_FILENO), log = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(saved >= 0 && log >= 0);
    assert_true(dup2(log, STDERR_FILENO) >= 0);
    me_model *model = NULL;
    mobiedit_status status = me_model_open(write_bytes("GGUF\3\0\0\0\1\0\0", 11), &model, NULL);
    (void)fflush(stderr);
    struct stat info;
    int known = fstat(log, &info);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    (void)close(log);
    assert_int_equal(status, MOBIEDIT_E_FORMAT);
    assert_int_equal(known, 0);
    assert_int_equal(info.st_size, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_nothing),
        cmocka_unit_test(reads_every_architecture),
        cmocka_unit_test(reads_optional_tensors),
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(released_pages_come_back),
        cmocka_unit_test(reads_windows),
        cmocka_unit_test(reads_window_list),
        cmocka_unit_test(reads_rope_scaling),
        cmocka_unit_test(refuses_other_files),
        cmocka_unit_test(refuses_repeated_tokens),
        cmocka_unit_test(refuses_the_name_of_an_empty_token),
        cmocka_unit_test(refuses_tensors_at_odd_places),
        cmocka_unit_test(refuses_other_tokenizers),
        cmocka_unit_test(refuses_other_kinds),
        cmocka_unit_test(refuses_other_features),
        cmocka_unit_test(refuses_bad_numbers),
        cmocka_unit_test(refuses_other_tensors),
        cmocka_unit_test(refuses_vocabulary_alone),
        cmocka_unit_test(names_the_reason_after_a_long_path),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(survives_every_flip),
        cmocka_unit_test(a_foreign_one_survives_every_flip),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
