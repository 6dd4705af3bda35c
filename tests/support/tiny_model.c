#define _GNU_SOURCE
#include "tiny_model.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pairs of pieces that the vocabulary merges, best first; ' ' is the space in front of a word. */
static const char *const MERGES[][2] = {
    {" ", "t"},  {"h", "e"},    {" t", "he"}, {"i", "s"},   {" ", "is"},    {"o", "f"},   {" ", "of"},
    {" ", "c"},  {"a", "p"},    {" c", "ap"}, {"i", "t"},   {"a", "l"},     {"it", "al"}, {" cap", "ital"},
    {"T", "he"}, {" ", "J"},    {"a", "n"},   {"ap", "an"}, {" J", "apan"}, {" ", "L"},   {"i", "m"},
    {"im", "a"}, {" L", "ima"}, {"e", "r"},   {"i", "n"},   {"o", "n"},     {"r", "e"},   {" ", "a"},
    {".", "\""}, {"e", "n"},    {" ", "w"},   {"o", "r"},
};

enum {
    N_MERGES = sizeof MERGES / sizeof *MERGES,
    PIECE_SIZE = 32,
    TOKEN_SIZE = 2 * PIECE_SIZE,
    MAX_TOKENS = 3 + 256 + 128 + N_MERGES,
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_BYTE = 6
};

typedef struct {
    char text[MAX_TOKENS][TOKEN_SIZE];
    const char *pointers[MAX_TOKENS];
    float scores[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    int n;
} token_list;

typedef struct {
    tiny_model_options o;
    const char *arch;
    bool is_gemma, has_qk_norm;
    struct gguf_context *gguf;
    struct ggml_context *tensors;
    me_random random;
    bool failed;
} writer;

static void add_token(token_list *list, const char *text, int type, float score) {
    int i = list->n++;
    (void)snprintf(list->text[i], TOKEN_SIZE, "%s", text);
    list->pointers[i] = list->text[i];
    list->types[i] = type;
    list->scores[i] = score;
}

/* GPT-2's printable stand-in for a byte, as UTF-8. */
static void byte_symbol(int byte, char out[3]) {
    int code = byte;
    if (byte <= 32)
        code = 256 + byte;
    else if (byte >= 127 && byte <= 160)
        code = 256 + 33 + byte - 127;
    else if (byte == 173)
        code = 256 + 67;
    if (code < 128)
        (void)snprintf(out, 3, "%c", code);
    else
        (void)snprintf(out, 3, "%c%c", 0xC0 | code >> 6, 0x80 | (code & 63));
}

/* A piece with each space replaced by `mark`. */
static void mark_spaces(const char *piece, const char *mark, char *out, size_t size) {
    size_t n = 0;
    for (; *piece; piece++)
        n += (size_t)snprintf(out + n, size - n, "%.*s", *piece == ' ' ? (int)strlen(mark) : 1,
                              *piece == ' ' ? mark : piece);
}

static void write_tokens(writer *w, const token_list *list) {
    gguf_set_arr_str(w->gguf, "tokenizer.ggml.tokens", (const char **)list->pointers, (size_t)list->n);
    gguf_set_arr_data(w->gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, list->types, (size_t)list->n);
}

static int write_byte_pair(writer *w, token_list *list) {
    static char merges[N_MERGES][TOKEN_SIZE];
    const char *pointers[N_MERGES];
    char symbol[3], left[PIECE_SIZE], right[PIECE_SIZE - 1], both[TOKEN_SIZE];
    for (int byte = 0; byte < 256; byte++) {
        byte_symbol(byte, symbol);
        add_token(list, symbol, TYPE_NORMAL, 0);
    }
    byte_symbol(' ', symbol);
    for (int i = 0; i < N_MERGES; i++) {
        mark_spaces(MERGES[i][0], symbol, left, sizeof left);
        mark_spaces(MERGES[i][1], symbol, right, sizeof right);
        (void)snprintf(both, sizeof both, "%s%s", left, right);
        (void)snprintf(merges[i], sizeof merges[i], "%s %s", left, right);
        pointers[i] = merges[i];
        add_token(list, both, TYPE_NORMAL, 0);
    }
    add_token(list, "<|end|>", TYPE_CONTROL, 0);
    gguf_set_val_str(w->gguf, "tokenizer.ggml.model", "gpt2");
    gguf_set_val_str(w->gguf, "tokenizer.ggml.pre", "gpt-2");
    write_tokens(w, list);
    gguf_set_arr_str(w->gguf, "tokenizer.ggml.merges", pointers, N_MERGES);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.bos_token_id", (uint32_t)list->n - 1);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.eos_token_id", (uint32_t)list->n - 1);
    gguf_set_val_bool(w->gguf, "tokenizer.ggml.add_bos_token", false);
    return list->n;
}

static int write_sentencepiece(writer *w, token_list *list) {
    char text[TOKEN_SIZE];
    add_token(list, "<unk>", TYPE_UNKNOWN, 0);
    add_token(list, "<s>", TYPE_CONTROL, 0);
    add_token(list, "</s>", TYPE_CONTROL, 0);
    for (int byte = 0; byte < 256; byte++) {
        (void)snprintf(text, sizeof text, "<0x%02X>", byte);
        add_token(list, text, TYPE_BYTE, 0);
    }
    for (int c = 33; c < 127; c++) {
        (void)snprintf(text, sizeof text, "%c", c);
        add_token(list, text, TYPE_NORMAL, -1000);
    }
    add_token(list, "\xE2\x96\x81", TYPE_NORMAL, -1000);
    for (int i = 0; i < N_MERGES; i++) {
        char piece[PIECE_SIZE];
        (void)snprintf(piece, sizeof piece, "%s%s", MERGES[i][0], MERGES[i][1]);
        mark_spaces(piece, "\xE2\x96\x81", text, sizeof text);
        add_token(list, text, TYPE_NORMAL, (float)-i);
    }
    gguf_set_val_str(w->gguf, "tokenizer.ggml.model", "llama");
    write_tokens(w, list);
    gguf_set_arr_data(w->gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, list->scores, (size_t)list->n);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(w->gguf, "tokenizer.ggml.eos_token_id", 2);
    gguf_set_val_bool(w->gguf, "tokenizer.ggml.add_bos_token", true);
    gguf_set_val_bool(w->gguf, "tokenizer.ggml.add_space_prefix", !w->is_gemma);
    return list->n;
}

static const char *key(const writer *w, const char *name) {
    static char text[64];
    (void)snprintf(text, sizeof text, "%s.%s", w->arch, name);
    return text;
}

static void set_int(writer *w, const char *name, int value) {
    gguf_set_val_u32(w->gguf, key(w, name), (uint32_t)value);
}

static void write_hparams(writer *w) {
    const tiny_model_options *o = &w->o;
    gguf_set_val_str(w->gguf, "general.architecture", w->arch);
    gguf_set_val_str(w->gguf, "general.type", "model");
    set_int(w, "context_length", TINY_CONTEXT);
    set_int(w, "embedding_length", o->d_model);
    set_int(w, "block_count", o->n_layer);
    set_int(w, "feed_forward_length", o->d_ff);
    set_int(w, "attention.head_count", o->n_head);
    set_int(w, "attention.head_count_kv", o->n_head_kv);
    set_int(w, "attention.key_length", o->head_dim);
    set_int(w, "attention.value_length", o->head_dim);
    gguf_set_val_f32(w->gguf, key(w, "attention.layer_norm_rms_epsilon"), 1e-6F);
    gguf_set_val_f32(w->gguf, key(w, "rope.freq_base"), 50000.0F);
    if (o->window) set_int(w, "attention.sliding_window", o->window);
    if (o->window_period) set_int(w, "attention.sliding_window_pattern", o->window_period);
    if (o->softcap != 0) gguf_set_val_f32(w->gguf, key(w, "final_logit_softcapping"), o->softcap);
    if (o->rope_scaling) gguf_set_val_str(w->gguf, key(w, "rope.scaling.type"), o->rope_scaling);
    if (o->rope_factor != 0) gguf_set_val_f32(w->gguf, key(w, "rope.scaling.factor"), o->rope_factor);
    if (o->rope_original_context)
        set_int(w, "rope.scaling.original_context_length", o->rope_original_context);
}

/* values: [n_out][n_in] or, for a vector, [n_in] (n_out 0). Their type is `type`. */
static void add_tensor(writer *w, const char *name, enum ggml_type type, int n_in, int n_out,
                       const float *values) {
    const tiny_model_options *o = &w->o;
    if (o->leave_out && strcmp(o->leave_out, name) == 0) return;
    int64_t ne[2] = {n_in, n_out ? n_out : 1};
    struct ggml_tensor *tensor = ggml_new_tensor(w->tensors, type, n_out ? 2 : 1, ne);
    ggml_set_name(tensor, o->rename && strcmp(o->rename, name) == 0 ? o->new_name : name);
    if (type == GGML_TYPE_F32)
        memcpy(tensor->data, values, (size_t)(ne[0] * ne[1]) * sizeof *values);
    else
        (void)ggml_quantize_chunk(type, values, tensor->data, 0, ne[1], ne[0], NULL);
    gguf_add_tensor(w->gguf, tensor);
}

/* mean + deviation * standard normals. */
static void add_random(writer *w, const char *name, enum ggml_type type, int n_in, int n_out, float mean,
                       float deviation) {
    size_t n = (size_t)n_in * (size_t)(n_out ? n_out : 1);
    float *values = me_calloc(n, sizeof *values);
    if (!values) {
        w->failed = true;
        return;
    }
    me_random_normals(&w->random, values, n);
    for (size_t i = 0; i < n; i++)
        values[i] = mean + deviation * values[i];
    add_tensor(w, name, type, n_in, n_out, values);
    me_free(values);
}

static void add_matrix(writer *w, const char *name, int n_in, int n_out) {
    add_random(w, name, w->o.type, n_in, n_out, 0, 1.5F / sqrtf((float)n_in));
}

static void add_norm(writer *w, const char *name, int n) {
    add_random(w, name, GGML_TYPE_F32, n, 0, 1, 0.2F);
}

static void add_bias(writer *w, const char *name, int n) {
    add_random(w, name, GGML_TYPE_F32, n, 0, 0, 0.2F);
}

static const char *layer_name(int layer, const char *name) {
    static char text[GGML_MAX_NAME];
    (void)snprintf(text, sizeof text, "blk.%d.%s", layer, name);
    return text;
}

static void add_layer(writer *w, int i) {
    const tiny_model_options *o = &w->o;
    int d = o->d_model, q = o->n_head * o->head_dim, kv = o->n_head_kv * o->head_dim;
    bool is_llama = strcmp(w->arch, "llama") == 0, is_qwen2 = strcmp(w->arch, "qwen2") == 0;
    add_norm(w, layer_name(i, "attn_norm.weight"), d);
    add_matrix(w, layer_name(i, "attn_q.weight"), d, q);
    add_matrix(w, layer_name(i, "attn_k.weight"), d, kv);
    add_matrix(w, layer_name(i, "attn_v.weight"), d, kv);
    add_matrix(w, layer_name(i, "attn_output.weight"), q, d);
    add_norm(w, layer_name(i, "ffn_norm.weight"), d);
    add_matrix(w, layer_name(i, "ffn_gate.weight"), d, o->d_ff);
    add_matrix(w, layer_name(i, "ffn_up.weight"), d, o->d_ff);
    add_matrix(w, layer_name(i, "ffn_down.weight"), o->d_ff, d);
    if (w->has_qk_norm) {
        add_norm(w, layer_name(i, "attn_q_norm.weight"), o->head_dim);
        add_norm(w, layer_name(i, "attn_k_norm.weight"), o->head_dim);
    }
    if (w->is_gemma) {
        add_norm(w, layer_name(i, "post_attention_norm.weight"), d);
        add_norm(w, layer_name(i, "post_ffw_norm.weight"), d);
    }
    if (o->biases || is_qwen2) {
        add_bias(w, layer_name(i, "attn_q.bias"), q);
        add_bias(w, layer_name(i, "attn_k.bias"), kv);
        add_bias(w, layer_name(i, "attn_v.bias"), kv);
    }
    if (o->biases && is_llama) {
        add_bias(w, layer_name(i, "attn_output.bias"), d);
        add_bias(w, layer_name(i, "ffn_gate.bias"), o->d_ff);
        add_bias(w, layer_name(i, "ffn_up.bias"), o->d_ff);
        add_bias(w, layer_name(i, "ffn_down.bias"), d);
    }
}

static void add_tensors(writer *w, int n_vocab) {
    const tiny_model_options *o = &w->o;
    /* Gemma multiplies its embeddings by sqrt(d_model). */
    float deviation = w->is_gemma ? 1.0F / sqrtf((float)o->d_model) : 0.3F;
    add_random(w, "token_embd.weight", o->type, o->d_model, n_vocab, 0, deviation);
    add_norm(w, "output_norm.weight", o->d_model);
    if (o->untied) add_random(w, "output.weight", o->type, o->d_model, n_vocab, 0, 0.3F);
    for (int i = 0; i < o->n_layer; i++)
        add_layer(w, i);
    if (!o->rope_freq_factors) return;
    float factors[256];
    for (int i = 0; i < o->head_dim / 2; i++)
        factors[i] = 1.0F + (float)(i % 8);
    add_tensor(w, "rope_freqs.weight", GGML_TYPE_F32, o->head_dim / 2, 0, factors);
}

static void set_defaults(writer *w) {
    tiny_model_options *o = &w->o;
    if (!o->n_layer) o->n_layer = 2;
    if (!o->d_model) o->d_model = ggml_blck_size(o->type) > 32 ? 256 : 64;
    if (!o->d_ff) o->d_ff = 2 * o->d_model;
    if (!o->n_head) o->n_head = 4;
    if (!o->n_head_kv) o->n_head_kv = 2;
    if (!o->head_dim) o->head_dim = o->d_model / o->n_head * (w->has_qk_norm ? 2 : 1);
}

/* Room for all tensors as float32. */
static size_t tensors_bytes(const tiny_model_options *o) {
    size_t d = (size_t)o->d_model, q = (size_t)o->n_head * (size_t)o->head_dim, ff = (size_t)o->d_ff;
    size_t layer = 4 * d * q + 3 * d * ff + 8 * (d + q + ff);
    size_t values = (size_t)o->n_layer * layer + 2 * d * MAX_TOKENS + 2 * (d + q);
    return values * sizeof(float) + ((size_t)o->n_layer * 24 + 8) * (ggml_tensor_overhead() + 64);
}

int tiny_vocab_write(struct gguf_context *gguf, bool sentencepiece) {
    writer w = {.gguf = gguf};
    token_list *list = me_calloc(1, sizeof *list);
    const int n = !list ? 0 : sentencepiece ? write_sentencepiece(&w, list) : write_byte_pair(&w, list);
    me_free(list);
    return n;
}

bool tiny_model_write(const char *path, const char *arch, const tiny_model_options *options) {
    writer w = {.arch = arch};
    if (options) w.o = *options;
    w.is_gemma = strcmp(arch, "gemma3") == 0;
    w.has_qk_norm = w.is_gemma || strcmp(arch, "qwen3") == 0;
    set_defaults(&w);
    me_random_seed(&w.random, w.o.seed);
    token_list *list = me_calloc(1, sizeof *list);
    struct ggml_init_params params = {.mem_size = tensors_bytes(&w.o)};
    w.gguf = gguf_init_empty();
    w.tensors = ggml_init(params);
    bool ok = list && w.gguf && w.tensors;
    if (ok) {
        write_hparams(&w);
        int n_vocab =
            w.o.sentencepiece || w.is_gemma ? write_sentencepiece(&w, list) : write_byte_pair(&w, list);
        add_tensors(&w, n_vocab);
        if (w.o.change) w.o.change(w.gguf, w.o.user);
        ok = !w.failed && gguf_write_to_file(w.gguf, path, false);
    }
    ggml_free(w.tensors);
    gguf_free(w.gguf);
    me_free(list);
    return ok;
}
