/* Suffix evaluations a second: what the solvers spend their time on. One
 * evaluation is one delta on one prompt.
 *
 *   suffix     our engine: layers after the edited one over the tokens from the subject on, logits at
 *              the read positions
 *   hidden     the same up to the hidden vectors before the output norm, which is all that probes ask for
 *   responses  the same as differences from an unprobed column, as the probe solver asks for them
 *   whole      no prefix cache: our engine runs each prompt from its first token and layer on, logits
 *              at the read positions
 *   libllama   the same tokens in as many sequences that share the prefix (copied in its KV cache), in one
 *              batch, logits at the read positions. It has no way to start behind a layer, so it runs all of
 *              them; with its default settings, which repack the weights
 *
 * Our engine is the native one, or with -B the ggml engine on that backend, where libllama then has all its
 * layers too, or with -B llama the llama engine.
 *
 * The contenders take turns; medians of the rounds, and of the ratios within a round, are printed. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/memory.h"
#include "edit/edit.h"
#include "engine/engine.h"
#include "model/llama_init.h"
#include "model/vocab.h"
#include "timing.h"

#include <llama.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUFFIX, HIDDEN, RESPONSES, WHOLE, LIBLLAMA, N_CONTENDERS };
enum { MAX_TEXT = 1 << 20, MOST = 4096 };

static const char *const names[] = {
    [SUFFIX] = "suffix", [HIDDEN] = "hidden",     [RESPONSES] = "responses",
    [WHOLE] = "whole",   [LIBLLAMA] = "libllama",
};

static const char usage[] =
    "usage: bench_suffix [-n DELTAS] [-b TOKENS BEFORE] [-s SUFFIX TOKENS] [-q READ POSITIONS]\n"
    "                    [-l LAYER] [-j THREADS] [-r ROUNDS]\n"
    "                    [-B BACKEND] MODEL.gguf TEXT\n";

typedef struct {
    const char *model_path;
    const char *backend; /* NULL: the native engine */
    int n, before, suffix, n_read, layer, threads, rounds;
    me_token *tokens; /* [before + suffix] */
    me_model *model;
    me_pool *pool;
    me_engine *engine;
    me_prefix *prefix;
    me_sequence *sequences; /* [n], all the same */
    float *deltas, *hidden, *logits;
    struct llama_model *peer_model;
    struct llama_context *peer;
    struct llama_batch batch;
} bench;

static void *need(void *p) {
    if (p) return p;
    (void)fprintf(stderr, "bench_suffix: out of memory, or libllama failed\n");
    exit(1);
}

static void check(mobiedit_status status, const mobiedit_error *err) {
    if (status == MOBIEDIT_OK) return;
    (void)fprintf(stderr, "bench_suffix: %s\n", err->message);
    exit(1);
}

static void read_tokens(bench *b, const char *path) {
    mobiedit_error err = {0};
    char *text;
    size_t length;
    me_vocab *vocab;
    me_tokens all = {0};
    check(me_read_file(path, MAX_TEXT, &text, &length, &err), &err);
    check(me_vocab_open(b->model_path, &vocab, &err), &err);
    check(me_tokenize(vocab, text, &all, &err), &err);
    if (all.n < b->before + b->suffix) {
        (void)fprintf(stderr, "bench_suffix: %s has %d tokens\n", path, all.n);
        exit(1);
    }
    me_vocab_close(vocab);
    me_free(text);
    b->tokens = all.ids;
}

static void open_engine(bench *b) {
    mobiedit_error err = {0};
    const me_ggml_options options = {.backend = b->backend, .threads = b->threads};
    check(me_model_open(b->model_path, &b->model, &err), &err);
    check(me_pool_open(b->threads, &b->pool, &err), &err);
    const me_llama_options on_llama = {.threads = b->threads};
    check(!b->backend                        ? me_native_open(b->model, b->pool, NULL, &b->engine, &err)
          : strcmp(b->backend, "llama") == 0 ? me_llama_open(b->model, &on_llama, &b->engine, &err)
                                             : me_ggml_open(b->model, &options, &b->engine, &err),
          &err);
    if (b->layer < 0) b->layer = me_default_layer(b->model);
    b->sequences = need(me_calloc((size_t)b->n, sizeof *b->sequences));
    for (int i = 0; i < b->n; i++)
        b->sequences[i] = (me_sequence){.tokens = b->tokens,
                                        .n_tokens = b->before + b->suffix,
                                        .edit_pos = b->before,
                                        .read_pos = b->before + b->suffix - b->n_read,
                                        .n_read = b->n_read};
    check(b->engine->ops->prefix(b->engine, b->layer, b->sequences, 1, &b->prefix, &err), &err);
    size_t n = (size_t)b->n, d = (size_t)b->model->d_model, rows = n * (size_t)b->n_read;
    b->deltas = need(me_calloc(n * d, sizeof(float)));
    b->hidden = need(me_calloc(rows * d, sizeof(float)));
    b->logits = need(me_calloc(rows * (size_t)b->model->n_vocab, sizeof(float)));
    for (size_t i = 0; i < n * d; i++)
        b->deltas[i] = b->prefix->values[i % d] * (float)(i % 7) * .1f;
}

/* The peer: the prefix once in sequence 0, then a batch of n more sequences. */
static void open_peer(bench *b) {
    struct llama_model_params model = llama_model_default_params();
    ggml_backend_dev_t device = b->backend ? ggml_backend_dev_by_name(b->backend) : NULL;
    const bool cpu = !device || ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
    ggml_backend_dev_t devices[] = {cpu ? NULL : device, NULL};
    model.devices = devices;
    model.n_gpu_layers = cpu ? 0 : b->model->n_layer + 1;
    b->peer_model = need(llama_model_load_from_file(b->model_path, model));
    int tokens = b->n * b->suffix;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(b->before + tokens + 1);
    params.n_batch = params.n_ubatch = (uint32_t)(tokens > b->before ? tokens : b->before);
    params.n_seq_max = (uint32_t)b->n + 1;
    params.kv_unified = true;
    params.n_threads = params.n_threads_batch = b->threads;
    params.no_perf = true;
    params.op_offload = !cpu;
    b->peer = need(llama_init_from_model(b->peer_model, params));
    b->batch = llama_batch_init(tokens > b->before ? tokens : b->before, 0, 1);
}

static void put(struct llama_batch *batch, me_token token, int position, int sequence, bool output) {
    int i = batch->n_tokens++;
    batch->token[i] = token;
    batch->pos[i] = position;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = sequence;
    batch->logits[i] = output;
}

static void decode(const bench *b) {
    if (llama_decode(b->peer, b->batch) != 0) need(NULL);
    llama_synchronize(b->peer);
}

static void peer_prefix(bench *b) {
    b->batch.n_tokens = 0;
    for (int i = 0; i < b->before; i++)
        put(&b->batch, b->tokens[i], i, 0, i == b->before - 1);
    if (b->before) decode(b);
}

static void peer_evaluate(bench *b) {
    llama_memory_t memory = llama_get_memory(b->peer);
    b->batch.n_tokens = 0;
    for (int s = 1; s <= b->n; s++) {
        llama_memory_seq_rm(memory, s, -1, -1);
        llama_memory_seq_cp(memory, 0, s, 0, b->before);
        for (int i = 0; i < b->suffix; i++)
            put(&b->batch, b->tokens[b->before + i], b->before + i, s, i >= b->suffix - b->n_read);
    }
    decode(b);
}

static void evaluate(bench *b, int contender) {
    mobiedit_error err = {0};
    const struct me_engine_ops *ops = b->engine->ops;
    const int which = 0;
    if (contender == LIBLLAMA)
        peer_evaluate(b);
    else if (contender == RESPONSES)
        check(ops->responses(b->engine, b->prefix, b->deltas, b->deltas, b->n, &which, 1, b->hidden, &err),
              &err);
    else if (contender == WHOLE)
        check(ops->forward(b->engine, b->sequences, b->n, b->hidden, &err), &err);
    else
        check(ops->suffix(b->engine, b->prefix, b->deltas, b->n, &which, 1, b->hidden, &err), &err);
    if (contender == SUFFIX || contender == WHOLE)
        check(ops->logits(b->engine, b->hidden, b->n * b->n_read, b->logits, &err), &err);
}

static void measure(bench *b) {
    static double speeds[N_CONTENDERS][MAX_ROUNDS], ratios[MAX_ROUNDS];
    peer_prefix(b);
    for (int i = 0; i < N_CONTENDERS; i++)
        evaluate(b, i);
    for (int round = 0; round < b->rounds; round++) {
        for (int i = 0; i < N_CONTENDERS; i++) {
            double begin = seconds();
            evaluate(b, i);
            speeds[i][round] = b->n / (seconds() - begin);
        }
        ratios[round] = speeds[SUFFIX][round] / speeds[LIBLLAMA][round];
    }
    printf("{\"layer\": %d, \"layers\": %d, \"deltas\": %d, \"before\": %d, \"suffix\": %d, \"read\": %d, "
           "\"threads\": %d",
           b->layer, b->model->n_layer, b->n, b->before, b->suffix, b->n_read, b->threads);
    for (int i = 0; i < N_CONTENDERS; i++)
        printf(", \"%s\": %.1f", names[i], median(speeds[i], b->rounds));
    printf(", \"ratio\": %.2f}\n", median(ratios, b->rounds));
}

static void close_all(bench *b) {
    b->engine->ops->prefix_free(b->engine, b->prefix);
    b->engine->ops->close(b->engine);
    me_pool_close(b->pool);
    me_model_close(b->model);
    llama_batch_free(b->batch);
    llama_free(b->peer);
    llama_model_free(b->peer_model);
    me_free(b->tokens);
    me_free(b->sequences);
    me_free(b->deltas);
    me_free(b->hidden);
    me_free(b->logits);
}

static int number(const char *text, int least, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end != text && !*end && value >= least && value <= most) return (int)value;
    (void)fprintf(stderr, "bench_suffix: %s is not a number from %d to %d\n%s", text, least, most, usage);
    exit(2);
}

int main(int argc, char **argv) {
    bench b = {
        .n = 64, .before = 4, .suffix = 4, .n_read = 2, .layer = -1, .threads = me_processors(), .rounds = 7};
    for (int option; (option = getopt(argc, argv, "n:b:s:q:l:j:r:B:")) != -1;) {
        switch (option) {
        case 'n':
            b.n = number(optarg, 1, 255); /* sequences that libllama can tell apart, less the prefix */
            break;
        case 'b':
            b.before = number(optarg, 1, MOST);
            break;
        case 's':
            b.suffix = number(optarg, 1, MOST);
            break;
        case 'q':
            b.n_read = number(optarg, 1, MOST);
            break;
        case 'l':
            b.layer = number(optarg, 0, MOST);
            break;
        case 'j':
            b.threads = number(optarg, 1, 256);
            break;
        case 'r':
            b.rounds = number(optarg, 1, MAX_ROUNDS);
            break;
        case 'B':
            b.backend = optarg;
            break;
        default:
            return fputs(usage, stderr), 2;
        }
    }
    if (argc - optind != 2 || b.n_read > b.suffix) return fputs(usage, stderr), 2;
    b.model_path = argv[optind];
    me_llama_init(); /* libllama keeps quiet */
    read_tokens(&b, argv[optind + 1]);
    open_engine(&b);
    open_peer(&b);
    measure(&b);
    close_all(&b);
    return 0;
}
