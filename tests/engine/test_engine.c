#define _GNU_SOURCE
/* An engine on tiny models of every architecture: against libllama, and its parts against each other.
 *   test_engine             the native engine
 *   test_engine BACKEND     the ggml engine on that backend
 *   test_engine llama       the llama engine
 *   test_engine BACKEND 'float_*'   only tests of such names */
#include "base/memory.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/ggml/devices.h"
#include "engine/ggml/remote.h"
#include "engine/native/kernels/kernels.h"
#include "oracle.h"
#include "scratch.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* How far results may be apart, in units of their root mean square. */
typedef struct {
    double exact;    /* float weights: the order of sums */
    double gelu;     /* ... and gelu, which libllama reads from a table of half floats */
    double libllama; /* quantised weights: times what is allowed on CPUs */
    double rounded;  /* quantised weights, another batch: a step of 8-bit activations */
    double batches;  /* the same of responses */
    double steps;    /* 1 - cosine of responses to a step and to a tenth of it */
} tolerances;

static const tolerances of_cpus = {1e-4, 5e-3, 1, 1e-2, 3e-2, 5e-3};
/* GPUs multiply floats with the 10 bits of TF32, and quantised weights in ways that depend on the batch. */
static const tolerances of_gpus = {3e-2, 3e-2, 10, 0.2, 0.3, 0.1};
/* libllama rounds the activations of K-quants in blocks of 256. The last two are of an operation that the
 * llama engine does not have: its responses are differences of two passes. Its products round differently by how
 * many columns they have at once, on aarch64 by some 8e-4. */
static const tolerances of_libllama = {2e-3, 5e-3, 1, 0.1, 0, 0};
static const tolerances *allowed = &of_cpus;
enum { LENGTH = 24, LITTLE_BYTES = 600000 /* for some sequences at a time */ };

typedef struct {
    char path[SCRATCH_PATH_MAX];
    me_model *model;
    me_pool *pool;
    me_engine *engine;
} bench;

static const char *backend; /* of the ggml engine, or "llama"; NULL: the native engine is tested */

static bool is_llama(void) {
    return backend && strcmp(backend, "llama") == 0;
}

static const char *const ARCHS[] = {"llama", "qwen2", "qwen3", "gemma3", "smollm3"};
enum { N_ARCHS = sizeof ARCHS / sizeof *ARCHS };

static void *allocated(size_t n, size_t size) {
    void *p = me_calloc(n, size);
    assert_non_null(p);
    return p;
}

/* Engines that are open. A failed test leaves its own behind, and an RPC server takes one client at a time:
 * without close_left the next test would wait for ever. */
static bench open_engines[8];
static int n_open_engines;

static void close_engine(bench *b) {
    for (int i = 0; i < n_open_engines; i++)
        if (open_engines[i].engine == b->engine) open_engines[i--] = open_engines[--n_open_engines];
    b->engine->ops->close(b->engine);
    me_pool_close(b->pool);
    me_model_close(b->model);
}

static int close_left(void **state) {
    (void)state;
    while (n_open_engines)
        close_engine(&(bench){
            .model = open_engines[0].model, .pool = open_engines[0].pool, .engine = open_engines[0].engine});
    return 0;
}

static void open_engine(bench *b, int threads, size_t memory_bytes, const char *kernels) {
    mobiedit_error err = {0};
    const me_native_options options = {.memory_bytes = memory_bytes, .kernels = kernels};
    const me_ggml_options on_ggml = {.backend = backend, .memory_bytes = memory_bytes, .threads = threads};
    const me_llama_options on_llama = {.memory_bytes = memory_bytes, .threads = threads};
    if (me_model_open(b->path, &b->model, &err) || me_pool_open(threads, &b->pool, &err) ||
        (!backend                     ? me_native_open(b->model, b->pool, &options, &b->engine, &err)
         : is_llama()                 ? me_llama_open(b->model, &on_llama, &b->engine, &err)
         : me_devices_remote(backend) ? me_remote_open(b->model, &on_ggml, &b->engine, &err)
                                      : me_ggml_open(b->model, &on_ggml, &b->engine, &err)))
        fail_msg("%s", err.message);
    assert_in_range(n_open_engines, 0, sizeof open_engines / sizeof *open_engines - 1);
    open_engines[n_open_engines++] = *b;
}

static bench open_tiny(const char *arch, const tiny_model_options *options) {
    bench b = {0};
    assert_true(temporary_file(b.path));
    assert_true(tiny_model_write(b.path, arch, options));
    open_engine(&b, 2, 0, NULL);
    return b;
}

static void close_tiny(bench *b) {
    close_engine(b);
    assert_int_equal(unlink(b->path), 0);
}

static void random_tokens(const me_model *model, uint64_t seed, int32_t *tokens, int n) {
    me_random random;
    me_random_seed(&random, seed);
    for (int i = 0; i < n; i++)
        tokens[i] = (int32_t)(me_random_uniform(&random) * model->n_vocab);
}

static double largest_difference(const float *a, const float *b, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (difference > largest) largest = difference; /* gcc 12 for aarch64 crashes on fmax here */
    }
    return largest;
}

static double cosine(const float *a, const float *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static double root_mean_square(const float *a, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)a[i];
    return sqrt(sum / (double)n);
}

static void assert_within(double difference, double tolerance, const char *what) {
    if (!(difference <= tolerance)) fail_msg("%s: %g apart, allowed are %g", what, difference, tolerance);
}

/* What must be the same: to the bit with the native engine. ggml's sums depend on the sizes of a batch, and a
 * sum that differs in its last bit may be rounded to the next step of a quantised activation. */
static void assert_same(const float *a, const float *b, size_t n, double tolerance) {
    if (backend) {
        assert_within(largest_difference(a, b, n) / root_mean_square(b, n), tolerance, "results");
    } else {
        assert_memory_equal(a, b, n * sizeof *a);
    }
}

static me_sequence text_of(const int32_t *tokens, int n_tokens, int edit_pos, int read_pos, int n_read) {
    return (me_sequence){
        .tokens = tokens, .n_tokens = n_tokens, .edit_pos = edit_pos, .read_pos = read_pos, .n_read = n_read};
}

static void check(mobiedit_status status, const mobiedit_error *err) {
    if (status != MOBIEDIT_OK) fail_msg("%s", err->message);
}

static void forward(me_engine *engine, const me_sequence *sequences, int n, float *hidden) {
    mobiedit_error err = {0};
    check(engine->ops->forward(engine, sequences, n, hidden, &err), &err);
}

static me_prefix *prefix_of(me_engine *engine, int layer, const me_sequence *sequences, int n) {
    mobiedit_error err = {0};
    me_prefix *prefix = NULL;
    check(engine->ops->prefix(engine, layer, sequences, n, &prefix, &err), &err);
    return prefix;
}

static void suffix(me_engine *engine, const me_prefix *prefix, const float *deltas, int n_deltas,
                   const int *which, int n_which, float *hidden) {
    mobiedit_error err = {0};
    check(engine->ops->suffix(engine, prefix, deltas, n_deltas, which, n_which, hidden, &err), &err);
}

/* ---- against libllama -------------------------------------------------------------------------------- */

/* Logits of LENGTH random tokens by libllama and by us: the cosine over all of them, and the largest
 * difference in units of their root mean square. */
static void compare_logits(const char *arch, const tiny_model_options *options, double *cosine_out,
                           double *largest_out) {
    bench b = open_tiny(arch, options);
    mobiedit_error err = {0};
    oracle o;
    int32_t tokens[LENGTH];
    size_t d = (size_t)b.model->d_model, n = (size_t)b.model->n_vocab * LENGTH;
    float *expected = allocated(n, sizeof *expected), *logits = allocated(n, sizeof *logits);
    float *hidden = allocated(LENGTH * d, sizeof *hidden);
    random_tokens(b.model, 1, tokens, LENGTH);
    assert_true(oracle_open(b.path, TINY_CONTEXT, 1, &o));
    assert_int_equal(oracle_vocab_size(&o), b.model->n_vocab);
    assert_true(oracle_logits(&o, tokens, LENGTH, expected));
    forward(b.engine, &(me_sequence){.tokens = tokens, .n_tokens = LENGTH, .n_read = LENGTH}, 1, hidden);
    check(b.engine->ops->logits(b.engine, hidden, LENGTH, logits, &err), &err);
    *cosine_out = cosine(expected, logits, n);
    *largest_out = largest_difference(expected, logits, n) / root_mean_square(expected, n);
    oracle_close(&o);
    me_free(expected);
    me_free(logits);
    me_free(hidden);
    close_tiny(&b);
}

/* libllama reads gelu from a table of half floats, as the llama engine does then. */
static double allowed_of_gelu(const char *arch) {
    return strcmp(arch, "gemma3") == 0 ? allowed->gelu : allowed->exact;
}

/* Float weights: the same numbers but for the order of sums, and gelu. */
static void check_exact(const char *arch, const tiny_model_options *options, const char *what) {
    double similar, largest, limit = allowed_of_gelu(arch);
    compare_logits(arch, options, &similar, &largest);
    if (!(largest < limit))
        fail_msg("%s, %s: logits differ by %g rms, cosine %.8f", arch, what, largest, similar);
}

static void float_models_equal_libllama(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        check_exact(ARCHS[i], &(tiny_model_options){.n_layer = 3}, "plain");
        check_exact(ARCHS[i], &(tiny_model_options){.untied = true, .biases = true}, "untied, biases");
        check_exact(ARCHS[i], &(tiny_model_options){.n_head = 4, .n_head_kv = 1, .d_ff = 96}, "one kv head");
        check_exact(ARCHS[i], &(tiny_model_options){.rope_scaling = "linear", .rope_factor = 4}, "linear");
        check_exact(ARCHS[i],
                    &(tiny_model_options){
                        .rope_scaling = "yarn", .rope_factor = 4, .rope_original_context = 64, .n_layer = 3},
                    "yarn");
    }
    check_exact("llama", &(tiny_model_options){.rope_freq_factors = true}, "frequency factors");
    check_exact("smollm3", &(tiny_model_options){.n_layer = 5}, "a layer without rotation");
}

static void gemma3_variants_equal_libllama(void **state) {
    (void)state;
    check_exact("gemma3", &(tiny_model_options){.window = 5, .window_period = 2, .n_layer = 4}, "window");
    check_exact("gemma3", &(tiny_model_options){.softcap = 3}, "softcap");
}

/* The least cosine: libllama rounds activations to half floats, bfloats, int8 in blocks of 32 or, for
 * K-quants, of 256; we keep floats, or int8 in blocks of 32. */
typedef struct {
    enum ggml_type type;
    double cosine;
} type_limit;

static void quantized_models_are_near_libllama(void **state) {
    (void)state;
    static const type_limit limits[] = {
        {GGML_TYPE_F16, 0.99998},   {GGML_TYPE_BF16, 0.9999}, {GGML_TYPE_Q4_0, 0.9995},
        {GGML_TYPE_Q4_1, 0.9995},   {GGML_TYPE_Q5_0, 0.9995}, {GGML_TYPE_Q5_1, 0.9995},
        {GGML_TYPE_Q8_0, 0.9995},   {GGML_TYPE_Q4_K, 0.998},  {GGML_TYPE_Q5_K, 0.998},
        {GGML_TYPE_Q6_K, 0.998},    {GGML_TYPE_Q2_K, 0.998},  {GGML_TYPE_Q3_K, 0.998},
        {GGML_TYPE_IQ4_NL, 0.9995}, {GGML_TYPE_IQ4_XS, 0.998}};
    for (size_t t = 0; t < sizeof limits / sizeof *limits; t++)
        for (int i = 0; i < N_ARCHS; i++) {
            double similar, largest;
            compare_logits(ARCHS[i], &(tiny_model_options){.type = limits[t].type}, &similar, &largest);
            if (!(1 - similar < (1 - limits[t].cosine) * allowed->libllama))
                fail_msg("%s, %s: cosine of logits %.6f, largest difference %g rms", ARCHS[i],
                         ggml_type_name(limits[t].type), similar, largest);
        }
}

/* ---- prefix and suffix ------------------------------------------------------------------------------- */

/* left with left.x[at] = 1 and left.x[i] = 0 for every other i: x[at] without its components along the
 * others, twice for accuracy. x [n][d_ff]. */
static void orthogonal_left(const float *x, int n, int at, int d_ff, float *left) {
    double *basis = allocated((size_t)n * (size_t)d_ff, sizeof *basis);
    for (int order = 0; order < n; order++) {
        int i = order == n - 1 ? at : order < at ? order : order + 1;
        double *row = basis + (size_t)order * (size_t)d_ff;
        for (int j = 0; j < d_ff; j++)
            row[j] = (double)x[(size_t)i * (size_t)d_ff + (size_t)j];
        for (int pass = 0; pass < 2 * order; pass++) {
            const double *other = basis + (size_t)(pass % order) * (size_t)d_ff;
            double dot = 0, square = 0;
            for (int j = 0; j < d_ff; j++) {
                dot += row[j] * other[j];
                square += other[j] * other[j];
            }
            for (int j = 0; j < d_ff; j++)
                row[j] -= dot / square * other[j];
        }
    }
    const double *row = basis + (size_t)(n - 1) * (size_t)d_ff;
    double share = 0;
    for (int j = 0; j < d_ff; j++)
        share += row[j] * (double)x[(size_t)at * (size_t)d_ff + (size_t)j];
    for (int j = 0; j < d_ff; j++)
        left[j] = (float)(row[j] / share);
    me_free(basis);
}

/* A copy of the model's file whose down projection of `layer`, F32, has delta (x) left added. */
static void write_edited(const me_model *model, int layer, const float *left, const float *delta,
                         bench *out) {
    const me_tensor *down = &model->layers[layer].down;
    const me_model_file *file = &model->files[0];
    char *bytes = allocated(file->size, 1);
    memcpy(bytes, file->map, file->size);
    float *matrix = (float *)(void *)(bytes + ((const char *)down->data - (const char *)file->map));
    assert_int_equal(down->type, GGML_TYPE_F32);
    for (size_t i = 0; i < (size_t)down->n_out; i++)
        for (size_t j = 0; j < (size_t)down->n_in; j++)
            matrix[i * (size_t)down->n_in + j] += delta[i] * left[j];
    *out = (bench){0};
    assert_true(temporary_file(out->path));
    assert_true(put_bytes(out->path, bytes, file->size));
    me_free(bytes);
}

/* b's engine is closed meanwhile: ggml's RPC servers serve one program at a time. */
static void forward_edited(bench *b, int layer, const me_sequence *sequence, const float *left,
                           const float *delta, float *hidden) {
    bench edited;
    write_edited(b->model, layer, left, delta, &edited);
    close_engine(b);
    open_engine(&edited, 2, 0, NULL);
    forward(edited.engine, sequence, 1, hidden);
    close_tiny(&edited);
    open_engine(b, 2, 0, NULL);
}

/* left with left.x = 1 at the sequence's edited positions, and 0 at all others. x [n_tokens][d_ff]. */
static void edit_left(const float *x, const me_sequence *sequence, int d_ff, float *left) {
    float *one = allocated((size_t)d_ff, sizeof *one);
    for (int i = 0; i <= sequence->n_more; i++) {
        int at = i == 0 ? sequence->edit_pos : sequence->more_pos[i - 1];
        orthogonal_left(x, sequence->n_tokens, at, d_ff, one);
        for (int j = 0; j < d_ff; j++)
            left[j] += one[j];
    }
    me_free(one);
}

/* The prefix of one sequence, whose arrays are gone when the prefix is used. */
static me_prefix *prefix_of_passing(me_engine *engine, int layer, me_sequence sequence) {
    int32_t tokens[LENGTH];
    int more_pos[LENGTH];
    for (int i = 0; i < sequence.n_tokens; i++)
        tokens[i] = sequence.tokens[i];
    for (int i = 0; i < sequence.n_more; i++)
        more_pos[i] = sequence.more_pos[i];
    sequence.tokens = tokens;
    sequence.more_pos = sequence.n_more ? more_pos : NULL;
    me_prefix *prefix = prefix_of(engine, layer, &sequence, 1);
    memset(tokens, 0xff, sizeof tokens);
    memset(more_pos, 0xff, sizeof more_pos);
    return prefix;
}

/* suffix() with a delta, and forward() of a model whose matrix adds the same delta at the same tokens and
 * nothing elsewhere: they read the same. */
static void assert_suffix(bench *b, int layer, me_sequence sequence) {
    mobiedit_error err = {0};
    size_t d = (size_t)b->model->d_model, d_ff = (size_t)b->model->d_ff;
    size_t count = (size_t)sequence.n_read * d;
    float *activations = allocated((size_t)sequence.n_tokens * d_ff, sizeof *activations);
    float *left = allocated(d_ff, sizeof *left), *delta = allocated(d, sizeof *delta);
    float *by_edit = allocated(count, sizeof *by_edit), *by_suffix = allocated(count, sizeof *by_suffix);
    const me_sequence whole = {
        .tokens = sequence.tokens, .n_tokens = sequence.n_tokens, .n_read = sequence.n_tokens};
    check(b->engine->ops->activations(b->engine, layer, &whole, 1, activations, &err), &err);
    if (b->engine->ops->activations_at) {
        float *keys = allocated((size_t)sequence.n_tokens * d, sizeof *keys);
        float *again = allocated((size_t)sequence.n_tokens * d_ff, sizeof *again);
        check(b->engine->ops->keys(b->engine, layer, &whole, 1, keys, &err), &err);
        check(b->engine->ops->activations_at(b->engine, layer, keys, sequence.n_tokens, again, &err), &err);
        assert_memory_equal(again, activations, (size_t)sequence.n_tokens * d_ff * sizeof *again);
        me_free(keys);
        me_free(again);
    }
    edit_left(activations, &sequence, b->model->d_ff, left);

    me_prefix *prefix = prefix_of_passing(b->engine, layer, sequence);
    me_random random;
    me_random_seed(&random, 3);
    me_random_normals(&random, delta, d);
    double size = root_mean_square(prefix->values, d);
    for (size_t i = 0; i < d; i++)
        delta[i] *= (float)size;
    suffix(b->engine, prefix, delta, 1, &(int){0}, 1, by_suffix);
    double effect = largest_difference(by_suffix, prefix->hidden, count);
    b->engine->ops->prefix_free(b->engine, prefix);
    forward_edited(b, layer, &sequence, left, delta, by_edit);
    double error = largest_difference(by_suffix, by_edit, count) / root_mean_square(by_edit, count);
    assert_true(effect > 1e-2 * root_mean_square(by_edit, count));
    me_free(activations);
    me_free(left);
    me_free(delta);
    me_free(by_edit);
    me_free(by_suffix);
    assert_within(error, allowed->exact, "suffix and forward");
}

/* What the neurons give is what the MLP's matrices make of its input, in float weights. */
static void check_activations(const bench *b, int layer) {
    mobiedit_error err = {0};
    const me_layer *l = &b->model->layers[layer];
    const size_t d = (size_t)b->model->d_model, d_ff = (size_t)b->model->d_ff;
    int32_t tokens[LENGTH];
    random_tokens(b->model, 6, tokens, LENGTH);
    const me_sequence sequence = {.tokens = tokens, .n_tokens = LENGTH, .read_pos = LENGTH - 1, .n_read = 1};
    float *key = allocated(d, sizeof *key), *found = allocated(d_ff, sizeof *found);
    float *expected = allocated(d_ff, sizeof *expected), *row = allocated(d, sizeof *row);
    check(b->engine->ops->keys(b->engine, layer, &sequence, 1, key, &err), &err);
    check(b->engine->ops->activations(b->engine, layer, &sequence, 1, found, &err), &err);
    for (size_t i = 0; i < d_ff; i++) {
        double gate = 0, up = 0;
        me_tensor_row(&l->gate, (int64_t)i, row);
        for (size_t j = 0; j < d; j++)
            gate += (double)row[j] * (double)key[j];
        me_tensor_row(&l->up, (int64_t)i, row);
        for (size_t j = 0; j < d; j++)
            up += (double)row[j] * (double)key[j];
        const double u = b->model->activation == ME_ACTIVATION_SILU
                             ? gate
                             : 2 * 0.7978845608 * gate * (1 + 0.044715 * gate * gate);
        expected[i] = (float)(gate / (1 + exp(-u)) * up);
    }
    const double error = largest_difference(found, expected, d_ff) / root_mean_square(expected, d_ff);
    if (!(error < (is_llama() ? allowed_of_gelu(b->model->arch_name) : allowed->exact)))
        fail_msg("layer %d: activations differ by %g rms", layer, error);
    me_free(key);
    me_free(found);
    me_free(expected);
    me_free(row);
}

static void activations_are_of_the_keys(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        bench b = open_tiny(ARCHS[i], &(tiny_model_options){.n_layer = 3});
        for (int layer = 0; layer < 3; layer++)
            check_activations(&b, layer);
        close_tiny(&b);
    }
}

static void suffix_equals_edited_forward(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        bench b = open_tiny(
            ARCHS[i], &(tiny_model_options){.n_layer = 3, .biases = true, .window = 6, .window_period = 2});
        int32_t tokens[LENGTH];
        random_tokens(b.model, 5, tokens, LENGTH);
        for (int layer = 0; layer < 3; layer++) {
            assert_suffix(&b, layer, text_of(tokens, LENGTH, 17, 17, LENGTH - 17));
            if (layer == 2) continue; /* later positions do not see the last layer's delta */
            assert_suffix(&b, layer, text_of(tokens, LENGTH, 14, 18, 3));
            assert_suffix(&b, layer, text_of(tokens, 5, 0, 3, 2));
        }
        close_tiny(&b);
    }
}

static void suffix_at_several_positions_equals_edited_forward(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        bench b = open_tiny(
            ARCHS[i], &(tiny_model_options){.n_layer = 3, .biases = true, .window = 6, .window_period = 2});
        int32_t tokens[LENGTH];
        random_tokens(b.model, 7, tokens, LENGTH);
        me_sequence two = text_of(tokens, LENGTH, 15, 17, 7), three = text_of(tokens, LENGTH, 5, 17, 7);
        me_sequence whole = text_of(tokens, 5, 0, 3, 2);
        two.more_pos = (const int[]){20};
        two.n_more = 1;
        three.more_pos = (const int[]){6, 16};
        whole.more_pos = (const int[]){1, 2};
        three.n_more = whole.n_more = 2;
        for (int layer = 0; layer < 3; layer++) {
            assert_suffix(&b, layer, two);
            if (layer == 2) continue; /* nothing that is read sees the others' deltas */
            assert_suffix(&b, layer, three);
            assert_suffix(&b, layer, whole);
        }
        close_tiny(&b);
    }
}

/* What a prefix says of edit_pos does not depend on further positions, and those behind the last read
 * position change nothing at all. */
static void check_further_positions(bench *b, int layer) {
    static const int more_pos[] = {12, 14, 21};
    int32_t tokens[LENGTH];
    random_tokens(b->model, 8, tokens, LENGTH);
    me_sequence sequence = text_of(tokens, LENGTH, 9, 16, 3);
    sequence.more_pos = more_pos;
    size_t d = (size_t)b->model->d_model, n = 3 * d, later = (size_t)(b->model->n_layer - layer - 1);
    float *hidden[4], *delta = allocated(d, sizeof *delta);
    me_prefix *prefix[4];
    me_random random;
    me_random_seed(&random, 9);
    me_random_normals(&random, delta, d);
    for (int i = 0; i < 4; i++) {
        hidden[i] = allocated(n, sizeof *hidden[i]);
        sequence.n_more = i;
        prefix[i] = prefix_of(b->engine, layer, &sequence, 1);
        suffix(b->engine, prefix[i], delta, 1, &(int){0}, 1, hidden[i]);
        assert_same(prefix[i]->values, prefix[0]->values, d, allowed->exact);
        assert_same(prefix[i]->hidden, prefix[0]->hidden, n, allowed->exact);
        assert_same(prefix[i]->rms, prefix[0]->rms, later, allowed->exact);
        assert_same(prefix[i]->attention, prefix[0]->attention, later * (size_t)b->model->n_head,
                    allowed->exact);
        assert_int_equal(prefix[i]->suffix_tokens, prefix[0]->suffix_tokens);
    }
    assert_true(largest_difference(hidden[1], hidden[0], n) > 1e-3 * root_mean_square(hidden[0], n));
    assert_true(largest_difference(hidden[2], hidden[1], n) > 1e-3 * root_mean_square(hidden[0], n));
    assert_same(hidden[3], hidden[2], n, allowed->exact);
    for (int i = 0; i < 4; i++) {
        b->engine->ops->prefix_free(b->engine, prefix[i]);
        me_free(hidden[i]);
    }
    me_free(delta);
}

static void further_positions_leave_the_first_as_it_is(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        bench b = open_tiny(ARCHS[i], &(tiny_model_options){.n_layer = 3});
        for (int layer = 0; layer < 2; layer++)
            check_further_positions(&b, layer);
        close_tiny(&b);
    }
}

static bool has_float_weights(const me_model *model) {
    return model->layers[0].down.type == GGML_TYPE_F32;
}

/* How far results of one sequence in other batches may be apart, where they are not the same to the bit. */
static double allowed_of_batches(const me_model *model) {
    return has_float_weights(model) ? allowed->exact : allowed->rounded;
}

/* Three carriers with prefixes of different lengths and the same end. One is edited at one position, one at
 * two, one at three, the last of which is read. ggml rounds quantised weights' inputs in ways that depend on
 * the batch, and each further delta of this size adds to that: there all are edited at one position. */
static void three_carriers(const me_model *model, int32_t tokens[3][LENGTH], me_sequence sequences[3]) {
    static const int lengths[] = {9, LENGTH, 14};
    static const int more_pos[3][2] = {{0}, {LENGTH - 4}, {9, 12}};
    for (int i = 0; i < 3; i++) {
        random_tokens(model, 10 + (uint64_t)i, tokens[i], lengths[i]);
        random_tokens(model, 20, tokens[i] + lengths[i] - 6, 6);
        sequences[i] = text_of(tokens[i], lengths[i], lengths[i] - 6, lengths[i] - 2, 2);
        sequences[i].more_pos = more_pos[i];
        sequences[i].n_more = backend && !has_float_weights(model) ? 0 : i;
    }
}

/* Hidden vectors of 5 deltas on the three carriers, [5][3][2][d], by an engine with these options. */
static float *all_hidden(const bench *tiny, int threads, size_t memory_bytes, const char *kernels) {
    bench b = *tiny;
    open_engine(&b, threads, memory_bytes, kernels);
    int32_t tokens[3][LENGTH];
    me_sequence sequences[3];
    three_carriers(b.model, tokens, sequences);
    me_prefix *prefix = prefix_of(b.engine, 1, sequences, 3);
    size_t d = (size_t)b.model->d_model;
    float *deltas = allocated(5 * d, sizeof *deltas), *hidden = allocated(5 * 3 * 2 * d, sizeof *hidden);
    me_random random;
    me_random_seed(&random, 4);
    me_random_normals(&random, deltas, 4 * d); /* the last one is zero */
    suffix(b.engine, prefix, deltas, 5, (int[]){0, 1, 2}, 3, hidden);
    double tolerance = allowed_of_batches(b.model);
    assert_same(hidden + 4 * 3 * 2 * d, prefix->hidden, 3 * 2 * d, tolerance);
    assert_int_equal(prefix->suffix_tokens, 3 * 6);

    float *one = allocated(2 * d, sizeof *one);
    for (int item = 0; item < 5 * 3; item++) {
        suffix(b.engine, prefix, deltas + (size_t)(item / 3) * d, 1, &(int){item % 3}, 1, one);
        assert_same(one, hidden + (size_t)item * 2 * d, 2 * d, tolerance);
    }
    forward(b.engine, sequences + 1, 1, one);
    assert_same(one, prefix->hidden + 2 * d, 2 * d, tolerance);
    b.engine->ops->prefix_free(b.engine, prefix);
    me_free(one);
    me_free(deltas);
    close_engine(&b);
    return hidden;
}

/* ---- responses --------------------------------------------------------------------------------------- */

/* Responses of three carriers to four deltas of length `step` around a base, [4][3][2][d]. */
static float *all_responses(const bench *tiny, size_t memory_bytes, float step, bool plain) {
    bench b = *tiny;
    open_engine(&b, 2, memory_bytes, NULL);
    int32_t tokens[3][LENGTH];
    me_sequence sequences[3];
    three_carriers(b.model, tokens, sequences);
    me_prefix *prefix = prefix_of(b.engine, 1, sequences, 3);
    size_t d = (size_t)b.model->d_model, width = 3 * 2 * d;
    float *deltas = allocated(5 * d, sizeof *deltas), *out = allocated(5 * width, sizeof *out);
    mobiedit_error err = {0};
    me_random random;
    me_random_seed(&random, 5);
    me_random_normals(&random, deltas, 5 * d);
    for (size_t i = 0; i < 4 * d; i++)
        deltas[d + i] = deltas[i % d] + step * deltas[d + i];
    if (plain) {
        suffix(b.engine, prefix, deltas, 5, (int[]){0, 1, 2}, 3, out);
        for (size_t i = 4 * width; i-- > 0;)
            out[width + i] -= out[i % width];
        memmove(out, out + width, 4 * width * sizeof *out);
    } else {
        check(
            b.engine->ops->responses(b.engine, prefix, deltas, deltas + d, 4, (int[]){0, 1, 2}, 3, out, &err),
            &err);
    }
    b.engine->ops->prefix_free(b.engine, prefix);
    me_free(deltas);
    close_engine(&b);
    return out;
}

static void responses_are_differences(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        bench b = open_tiny(ARCHS[i], &(tiny_model_options){.type = GGML_TYPE_F32, .n_layer = 3});
        size_t n = 4 * 3 * 2 * (size_t)b.model->d_model;
        float *precise = all_responses(&b, 0, 1.0f, false), *plain = all_responses(&b, 0, 1.0f, true);
        assert_within(largest_difference(precise, plain, n) / root_mean_square(plain, n),
                      is_llama() ? allowed_of_gelu(ARCHS[i]) : allowed->exact, ARCHS[i]);
        me_free(precise);
        me_free(plain);
        close_tiny(&b);
    }
}

/* A tenth of a small step makes a tenth of the change, and with quantised weights plain differences do not
 * tell so: rounding outweighs them. */
static void responses_are_precise_for_small_steps(void **state) {
    (void)state;
    if (is_llama()) return;
    for (int i = 0; i < N_ARCHS; i++) {
        bench b = open_tiny(ARCHS[i], &(tiny_model_options){.type = GGML_TYPE_Q4_K, .n_layer = 3});
        size_t n = 4 * 3 * 2 * (size_t)b.model->d_model;
        float *small = all_responses(&b, 0, 1e-2f, false), *tiny = all_responses(&b, 0, 1e-3f, false);
        float *plain = all_responses(&b, 0, 1e-3f, true);
        assert_within(1 - cosine(small, tiny, n), allowed->steps, ARCHS[i]);
        assert_true(fabs(root_mean_square(small, n) / root_mean_square(tiny, n) - 10) < 0.3);
        /* A GPU may not round activations at all. */
        if (allowed == &of_cpus) assert_true(cosine(plain, tiny, n) < 0.9);
        me_free(small);
        me_free(tiny);
        me_free(plain);
        close_tiny(&b);
    }
}

static void responses_do_not_depend_on_the_batch(void **state) {
    (void)state;
    if (is_llama()) return;
    bench b = open_tiny("gemma3", &(tiny_model_options){.type = GGML_TYPE_Q4_K, .n_layer = 3});
    size_t n = 4 * 3 * 2 * (size_t)b.model->d_model;
    float *much = all_responses(&b, 0, 0.1f, false), *little = all_responses(&b, LITTLE_BYTES, 0.1f, false);
    assert_same(much, little, n, allowed->batches);
    me_free(much);
    me_free(little);
    close_tiny(&b);
}

/* Neither batching, threads, the memory budget nor the kernel table changes a
 * bit of the native engine's results. */
static void check_options(const char *arch, enum ggml_type type, size_t little_bytes) {
    bench b = open_tiny(arch, &(tiny_model_options){.type = type, .n_layer = 3});
    size_t n = 5 * 3 * 2 * (size_t)b.model->d_model;
    double tolerance = allowed_of_batches(b.model);
    float *expected = all_hidden(&b, 1, 0, NULL);
    float *threads = all_hidden(&b, 3, 0, NULL), *little = all_hidden(&b, 2, little_bytes, NULL);
    assert_same(expected, threads, n, tolerance);
    assert_same(expected, little, n, tolerance);
    for (const me_kernels *const *table = me_kernels_all; *table; table++) {
        if (backend || type == GGML_TYPE_F32 || !(*table)->supported()) continue;
        float *hidden = all_hidden(&b, 2, 0, (*table)->name);
        assert_same(expected, hidden, n, 0);
        me_free(hidden);
    }
    me_free(expected);
    me_free(threads);
    me_free(little);
    close_tiny(&b);
}

static void options_do_not_change_results(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        check_options(ARCHS[i], GGML_TYPE_Q4_K, LITTLE_BYTES);
        check_options(ARCHS[i], GGML_TYPE_F32, LITTLE_BYTES / 3);
    }
}

/* Attention to p, for every p of one text: shares of one query, so at
 * most 1 in all, and 0 behind a window. */
static void attention_to_the_edit_is_a_share(void **state) {
    (void)state;
    bench b = open_tiny("gemma3", &(tiny_model_options){.n_layer = 3, .window = 4, .window_period = 3});
    int32_t tokens[LENGTH];
    int n_head = b.model->n_head, n = 2 * n_head;
    double *sums = allocated((size_t)n, sizeof *sums);
    random_tokens(b.model, 6, tokens, LENGTH);
    for (int p = 0; p < LENGTH; p++) {
        const me_sequence sequence = text_of(tokens, LENGTH, p, LENGTH - 1, 1);
        me_prefix *prefix = prefix_of(b.engine, 0, &sequence, 1);
        for (int i = 0; i < n; i++) {
            float weight = prefix->attention[i];
            bool seen =
                p < LENGTH - 1 && (i >= n_head || p >= LENGTH - 4); /* layer 1 has the window, 2 not */
            assert_true(seen ? weight > 0 && weight < 1 : weight == 0);
            sums[i] += (double)weight;
        }
        b.engine->ops->prefix_free(b.engine, prefix);
    }
    for (int i = 0; i < n; i++)
        assert_true(sums[i] > 0.2 && sums[i] < 1);
    me_free(sums);
    close_tiny(&b);
}

/* Keys of sequences that begin alike, in one call, are those of each by itself, to the bit. */
static void check_shared_beginning(const bench *b) {
    enum { N = 5, SHARED = 7 };
    int32_t tokens[N][LENGTH];
    me_sequence sequences[N];
    size_t d = (size_t)b->model->d_model, total = 0;
    for (int i = 0; i < N; i++) {
        random_tokens(b->model, 40 + (uint64_t)i, tokens[i], LENGTH);
        memcpy(tokens[i], tokens[0], SHARED * sizeof **tokens);
        sequences[i] = text_of(tokens[i], LENGTH, SHARED, SHARED + i % 2, 1 + i % 3);
        total += (size_t)sequences[i].n_read;
    }
    float *together = allocated(total * d, sizeof *together), *alone = allocated(3 * d, sizeof *alone);
    mobiedit_error err = {0};
    int layer = b->model->n_layer - 1;
    check(b->engine->ops->keys(b->engine, layer, sequences, N, together, &err), &err);
    const float *at = together;
    for (int i = 0; i < N; i++) {
        size_t n = (size_t)sequences[i].n_read * d;
        check(b->engine->ops->keys(b->engine, layer, &sequences[i], 1, alone, &err), &err);
        assert_same(at, alone, n, allowed->exact);
        at += n;
    }
    me_free(together);
    me_free(alone);
}

static void a_shared_beginning_changes_nothing(void **state) {
    (void)state;
    for (int i = 0; i < N_ARCHS; i++) {
        bench b = open_tiny(ARCHS[i], &(tiny_model_options){.n_layer = 3, .window = 4, .window_period = 3});
        check_shared_beginning(&b);
        close_tiny(&b);
    }
}

/* ---- refusals ---------------------------------------------------------------------------------------- */

static void bad_requests_are_refused(void **state) {
    (void)state;
    bench b = open_tiny("llama", NULL);
    mobiedit_error err = {0};
    const struct me_engine_ops *ops = b.engine->ops;
    int32_t tokens[LENGTH] = {0}, wrong[2] = {1, b.model->n_vocab};
    float *out = allocated((size_t)LENGTH * (size_t)b.model->d_ff, sizeof *out);
    me_prefix *prefix = NULL;
    const me_sequence bad[] = {text_of(tokens, 4, 1, 4, 1),  text_of(tokens, 4, 1, 2, 3),
                               text_of(tokens, 4, 1, -1, 1), text_of(tokens, 4, 1, 2, 0),
                               text_of(tokens, 0, 0, 0, 0),  text_of(wrong, 2, 0, 1, 1)};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ops->forward(b.engine, &bad[i], 1, out, &err), MOBIEDIT_E_ARGUMENT);
        assert_int_equal(ops->keys(b.engine, 0, &bad[i], 1, out, &err), MOBIEDIT_E_ARGUMENT);
        if (ops->generate && bad[i].n_tokens < 4)
            assert_int_equal(ops->generate(b.engine, &bad[i], 1, 1, tokens, 0, NULL, &err),
                             MOBIEDIT_E_ARGUMENT);
        if (ops->generate)
            assert_int_equal(ops->generate(b.engine, &bad[i], 1, 1, tokens, 0, out, &err),
                             MOBIEDIT_E_ARGUMENT);
        assert_int_equal(ops->activations(b.engine, 0, &bad[i], 1, out, &err), MOBIEDIT_E_ARGUMENT);
        assert_int_equal(ops->prefix(b.engine, 0, &bad[i], 1, &prefix, &err), MOBIEDIT_E_ARGUMENT);
    }
    const me_sequence good = text_of(tokens, 4, 1, 2, 1), late = text_of(tokens, 4, 3, 2, 1);
    const me_sequence uneven[] = {good, text_of(tokens, 4, 1, 2, 2)};
    assert_int_equal(ops->keys(b.engine, 2, &good, 1, out, &err), MOBIEDIT_E_ARGUMENT);
    const me_sequence whole = text_of(tokens, 4, 1, 2, 2);
    if (ops->generate) { /* not read up to the end; the last layer */
        assert_int_equal(ops->generate(b.engine, &good, 1, 1, tokens, 0, out, &err), MOBIEDIT_E_ARGUMENT);
        assert_int_equal(ops->generate(b.engine, &whole, 1, 1, tokens, 1, out, &err), MOBIEDIT_E_ARGUMENT);
    }
    assert_int_equal(ops->prefix(b.engine, -1, &good, 1, &prefix, &err), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(ops->prefix(b.engine, 0, &late, 1, &prefix, &err), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(ops->prefix(b.engine, 0, uneven, 2, &prefix, &err), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(ops->prefix(b.engine, 0, &good, 0, &prefix, &err), MOBIEDIT_E_ARGUMENT);
    assert_null(prefix);
    prefix = prefix_of(b.engine, 0, &good, 1);
    assert_int_equal(ops->suffix(b.engine, prefix, out, 1, &(int){1}, 1, out, &err), MOBIEDIT_E_ARGUMENT);
    ops->prefix_free(b.engine, prefix);
    me_free(out);
    close_tiny(&b);
}

static void bad_further_positions_are_refused(void **state) {
    (void)state;
    bench b = open_tiny("llama", NULL);
    mobiedit_error err = {0};
    int32_t tokens[LENGTH] = {0};
    float *out = allocated((size_t)b.model->d_model, sizeof *out);
    static const int lists[][2] = {{1, 2}, {0, 2}, {-1, 2}, {2, 2}, {3, 2}, {2, 4}, {4, 5}};
    me_prefix *prefix = NULL;
    me_sequence sequence = text_of(tokens, 4, 1, 3, 1);
    sequence.n_more = 2;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        sequence.more_pos = lists[i];
        assert_int_equal(b.engine->ops->prefix(b.engine, 0, &sequence, 1, &prefix, &err),
                         MOBIEDIT_E_ARGUMENT);
        /* no other operation uses them */
        assert_int_equal(b.engine->ops->forward(b.engine, &sequence, 1, out, &err), MOBIEDIT_OK);
    }
    sequence.more_pos = NULL;
    assert_int_equal(b.engine->ops->prefix(b.engine, 0, &sequence, 1, &prefix, &err), MOBIEDIT_E_ARGUMENT);
    sequence.n_more = -1;
    assert_int_equal(b.engine->ops->prefix(b.engine, 0, &sequence, 1, &prefix, &err), MOBIEDIT_E_ARGUMENT);
    assert_null(prefix);
    me_free(out);
    close_tiny(&b);
}

static void too_little_memory_is_said(void **state) {
    (void)state;
    bench tiny = open_tiny("llama", NULL), b = tiny;
    mobiedit_error err = {0};
    int32_t tokens[LENGTH] = {0};
    float *out = allocated((size_t)b.model->d_model, sizeof *out);
    open_engine(&b, 1, 8000, NULL);
    const me_sequence sequence = text_of(tokens, LENGTH, 1, LENGTH - 1, 1);
    assert_int_equal(b.engine->ops->forward(b.engine, &sequence, 1, out, &err), MOBIEDIT_E_MEMORY);
    assert_non_null(strstr(err.message, "24 tokens"));
    me_free(out);
    close_engine(&b);
    close_tiny(&tiny);
}

static void unknown_kernels_and_backends_are_refused(void **state) {
    (void)state;
    bench b = open_tiny("llama", NULL);
    mobiedit_error err = {0};
    me_engine *none = NULL;
    const me_native_options kernels = {.kernels = "abacus"};
    assert_int_equal(me_native_open(b.model, b.pool, &kernels, &none, &err), MOBIEDIT_E_ARGUMENT);
    const me_ggml_options unknown = {.backend = "abacus"};
    assert_int_equal(me_ggml_open(b.model, &unknown, &none, &err), MOBIEDIT_E_ARGUMENT);
    assert_non_null(strstr(err.message, "abacus"));
    assert_null(none);
    close_tiny(&b);
}

int main(int argc, char **argv) {
    if (argc > 1) backend = argv[1];
    if (argc > 2) cmocka_set_test_filter(argv[2]);
    if (is_llama())
        allowed = &of_libllama;
    else if (backend && is_gpu(backend))
        allowed = &of_gpus;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(float_models_equal_libllama, close_left),
        cmocka_unit_test_teardown(gemma3_variants_equal_libllama, close_left),
        cmocka_unit_test_teardown(quantized_models_are_near_libllama, close_left),
        cmocka_unit_test_teardown(suffix_equals_edited_forward, close_left),
        cmocka_unit_test_teardown(suffix_at_several_positions_equals_edited_forward, close_left),
        cmocka_unit_test_teardown(further_positions_leave_the_first_as_it_is, close_left),
        cmocka_unit_test_teardown(activations_are_of_the_keys, close_left),
        cmocka_unit_test_teardown(responses_are_differences, close_left),
        cmocka_unit_test_teardown(responses_are_precise_for_small_steps, close_left),
        cmocka_unit_test_teardown(responses_do_not_depend_on_the_batch, close_left),
        cmocka_unit_test_teardown(options_do_not_change_results, close_left),
        cmocka_unit_test_teardown(attention_to_the_edit_is_a_share, close_left),
        cmocka_unit_test_teardown(a_shared_beginning_changes_nothing, close_left),
        cmocka_unit_test_teardown(bad_requests_are_refused, close_left),
        cmocka_unit_test_teardown(bad_further_positions_are_refused, close_left),
        cmocka_unit_test_teardown(too_little_memory_is_said, close_left),
        cmocka_unit_test_teardown(unknown_kernels_and_backends_are_refused, close_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
