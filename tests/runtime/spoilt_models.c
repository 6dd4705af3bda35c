/* spoilt_models ROUNDS SEED: small models whose metadata is spoilt at random, a few keys at a time. What
 * me_model_open_any and, of what only libllama runs, me_trial_run accept is loaded and run by libllama, in a
 * process of its own: that process may fail, but it must end by itself. Exit status 1, with the file's name and
 * what was spoilt, where one does not. */
#define _GNU_SOURCE
#include "base/random.h"
#include "model/model.h"
#include "runtime/runtime.h"
#include "runtime/trial.h"
#include "scratch.h"
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MAX_SPOILT = 3,
    CHANGES = 256,
    SECONDS = 120 /* of a child that hangs, however busy the machine is */
};

static const char *const ARCHS[] = {"llama", "qwen2", "qwen3", "gemma3"};

/* Those that begin with a dot have the architecture before it. */
static const char *const KEYS[] = {
    "general.alignment",
    "general.architecture",
    "general.file_type",
    "general.name",
    "general.quantization_version",
    "general.type",
    "split.count",
    "split.no",
    "tokenizer.chat_template",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_sep_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.model",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.suppress_tokens",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.token_type_count",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.unknown_token_id",
    ".attention.causal",
    ".attention.head_count",
    ".attention.head_count_kv",
    ".attention.key_length",
    ".attention.key_length_swa",
    ".attention.layer_norm_rms_epsilon",
    ".attention.scale",
    ".attention.sliding_window",
    ".attention.sliding_window_pattern",
    ".attention.value_length",
    ".block_count",
    ".context_length",
    ".embedding_length",
    ".embedding_length_out",
    ".expert_count",
    ".expert_group_count",
    ".expert_group_used_count",
    ".expert_used_count",
    ".feed_forward_length",
    ".final_logit_softcapping",
    ".leading_dense_block_count",
    ".nextn_predict_layers",
    ".pooling_type",
    ".rope.dimension_count",
    ".rope.dimension_count_swa",
    ".rope.dimension_sections",
    ".rope.freq_base",
    ".rope.freq_base_swa",
    ".rope.scaling.attn_factor",
    ".rope.scaling.factor",
    ".rope.scaling.finetuned",
    ".rope.scaling.original_context_length",
    ".rope.scaling.type",
    ".rope.scaling.yarn_beta_fast",
    ".rope.scaling.yarn_ext_factor",
    ".vocab_size",
};

static const double NUMBERS[] = {0,          1,      2,          3,   4,   7,     8,   16,
                                 31,         32,     64,         127, 255, 256,   512, 65535,
                                 0x1p31 - 1, 0x1p31, 0x1p32 - 1, -1,  0.5, 1e-30, 1e30};
static const char *const TEXTS[] = {"",           "a",         "llama",   "gpt2",     "bert",       "rwkv",
                                    "none",       "t5",        "default", "qwen2",    "whitespace", "gemma4",
                                    "yarn",       "model",     "linear",  "mmproj",   "llama3",     "kimi-k2",
                                    "sarvam-moe", "hybriddna", "plamo2",  "[EMPTY_1]"};
static const char *const TOKENS[] = {"",       "a",   "b",    " ",   "\n",      "[EMPTY_0]",
                                     "<0x0A>", "<s>", "</s>", "a b", "\xC4\xA0"};

#define ONE_OF(random, list) ((list)[me_random_bits(random) % (sizeof(list) / sizeof *(list))])

typedef struct {
    me_random *random;
    const char *arch;
    char changes[CHANGES]; /* for people */
} spoiling;

static void set_list(spoiling *s, struct gguf_context *gguf, const char *key) {
    int32_t numbers[8];
    const char *texts[8];
    const size_t n = me_random_bits(s->random) % 9;
    const enum gguf_type type =
        ONE_OF(s->random, ((const enum gguf_type[]){GGUF_TYPE_STRING, GGUF_TYPE_INT32, GGUF_TYPE_UINT32,
                                                    GGUF_TYPE_FLOAT32, GGUF_TYPE_BOOL}));
    for (int i = 0; i < 8; i++) {
        texts[i] = ONE_OF(s->random, TOKENS);
        numbers[i] = (int32_t)(me_random_bits(s->random) % 5) - 1;
    }
    if (type == GGUF_TYPE_STRING)
        gguf_set_arr_str(gguf, key, texts, n);
    else
        gguf_set_arr_data(gguf, key, type, numbers, n);
}

/* Another text for one token of the file's list. */
static void change_token(spoiling *s, struct gguf_context *gguf, const char *key) {
    const int64_t id = gguf_find_key(gguf, key);
    if (id < 0 || gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY ||
        gguf_get_arr_type(gguf, id) != GGUF_TYPE_STRING || gguf_get_arr_n(gguf, id) == 0)
        return;
    const size_t n = gguf_get_arr_n(gguf, id), at = me_random_bits(s->random) % n;
    char **tokens = calloc(n, sizeof *tokens);
    for (size_t i = 0; tokens && i < n; i++)
        tokens[i] = strdup(i == at ? ONE_OF(s->random, TOKENS) : gguf_get_arr_str(gguf, id, i));
    if (tokens) gguf_set_arr_str(gguf, key, (const char **)tokens, n);
    for (size_t i = 0; tokens && i < n; i++)
        free(tokens[i]);
    free(tokens);
}

static void set_value(spoiling *s, struct gguf_context *gguf, const char *key) {
    const double number = ONE_OF(s->random, NUMBERS);
    switch (me_random_bits(s->random) % 8) {
    case 0:
        (void)gguf_remove_key(gguf, key);
        break;
    case 1:
        gguf_set_val_f32(gguf, key, (float)number);
        break;
    case 2:
        gguf_set_val_bool(gguf, key, number > 1);
        break;
    case 3:
        gguf_set_val_str(gguf, key, ONE_OF(s->random, TEXTS));
        break;
    case 4:
        set_list(s, gguf, key);
        break;
    case 5:
        gguf_set_val_u16(gguf, key, (uint16_t)fmin(fabs(number), 65535));
        break;
    default:
        gguf_set_val_u32(gguf, key, (uint32_t)(int64_t)fmax(-1e9, fmin(number, 1e10)));
    }
}

/* user: a pointer to a spoiling's address. */
static void spoil(struct gguf_context *gguf, const void *user) {
    spoiling *s = *(spoiling *const *)user;
    const int n = 1 + (int)(me_random_bits(s->random) % MAX_SPOILT);
    for (int i = 0; i < n; i++) {
        char key[128];
        const char *name = ONE_OF(s->random, KEYS);
        (void)snprintf(key, sizeof key, "%s%s", *name == '.' ? s->arch : "", name);
        const size_t used = strlen(s->changes);
        (void)snprintf(s->changes + used, sizeof s->changes - used, " %s", key);
        /* ggml's writer takes powers of two only. */
        if (strcmp(key, "general.alignment") == 0)
            gguf_set_val_u32(gguf, key, 1U << me_random_bits(s->random) % 10);
        else if (strcmp(key, "tokenizer.ggml.tokens") == 0 && me_random_bits(s->random) % 4 != 0)
            change_token(s, gguf, key);
        else
            set_value(s, gguf, key);
    }
}

/* All that a command does with libllama: the vocabulary, the weights, a token. */
static void load_and_run(const char *path) {
    me_runtime *runtime = NULL;
    me_token token;
    mobiedit_error err = {0};
    const me_runtime_options options = {.threads = 1, .n_context = 64, .n_sequences = 2};
    if (me_runtime_open(path, &options, &runtime, &err) == MOBIEDIT_OK)
        (void)me_runtime_next_token(runtime, "a  b\n\tcap <s>", &token, &err);
    me_runtime_close(runtime);
}

/* Whether the process ends by itself. */
static bool survives(const char *path) {
    const pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(EXIT_FAILURE);
    }
    if (child == 0) {
        (void)alarm(SECONDS);
        load_and_run(path);
        _exit(EXIT_SUCCESS);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

/* Writes a spoilt model, and tries it; *accepted counts those that the checks let pass. */
static bool try_round(me_random *random, const char *path, long *accepted) {
    spoiling s = {.random = random, .arch = ONE_OF(random, ARCHS)};
    spoiling *const spoiling_now = &s;
    const tiny_model_options options = {.n_layer = 2,
                                        .d_model = 32,
                                        .sentencepiece = me_random_bits(random) % 2,
                                        .window = me_random_bits(random) % 2 ? 8 : 0,
                                        .change = spoil,
                                        .user = &spoiling_now};
    if (!tiny_model_write(path, s.arch, &options)) {
        perror(path);
        return false;
    }
    me_model *model = NULL;
    if (me_model_open_any(path, &model, NULL) != MOBIEDIT_OK) return true;
    const bool refused = model->why_foreign && me_trial_run(model, NULL) != MOBIEDIT_OK;
    me_model_close(model);
    if (refused) return true;
    ++*accepted;
    if (survives(path)) return true;
    (void)fprintf(stderr, "libllama ends the process at a %s model:%s\n", s.arch, s.changes);
    return false;
}

int main(int argc, char **argv) {
    if (argc != 3 || scratch_open(NULL) != 0) {
        (void)fputs("spoilt_models ROUNDS SEED\n", stderr);
        return EXIT_FAILURE;
    }
    const long rounds = strtol(argv[1], NULL, 10);
    const char *path = scratch_path("spoilt.gguf");
    me_random random;
    me_random_seed(&random, strtoul(argv[2], NULL, 10));
    long accepted = 0, failed = 0;
    for (long i = 0; i < rounds; i++)
        failed += !try_round(&random, path, &accepted);
    (void)printf("%ld models, %ld accepted, %ld of these end the process\n", rounds, accepted, failed);
    (void)scratch_close(NULL);
    return failed == 0 && accepted > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
