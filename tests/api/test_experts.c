/* Models whose MLPs are experts: what each of them gives to text, spares, and gets of an edit. */
#define _GNU_SOURCE
#include "any_model.h"
#include "api/neuron_adapter.h"
#include "base/memory.h"
#include "base/random.h"
#include "edit/session.h"
#include "edit/texts.h"
#include "scratch.h"
#include "store/fold.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTH = 12, LAYER = 1, USED = 2, EXPERTS = 4 };

/* With biases, and 1 added to up: gpt-oss. */
static const any_spec SPEC = {.arch = "gpt-oss",
                              .keys = {ANY_NUMBER(ANY_INT, "expert_count", EXPERTS),
                                       ANY_NUMBER(ANY_INT, "expert_used_count", USED),
                                       ANY_NUMBER(ANY_INT, "expert_feed_forward_length", 32),
                                       ANY_NUMBER(ANY_INT, "attention.sliding_window", 8)}};

typedef struct {
    me_model *model;
    me_engine *engine;
    me_vocab *vocab;
    me_session *session;
} bench;

static void check(mobiedit_status status, const mobiedit_error *err) {
    if (status != MOBIEDIT_OK) fail_msg("%s", err->message);
}

static void *allocated(size_t n, size_t size) {
    void *p = me_calloc(n, size);
    assert_non_null(p);
    return p;
}

static void open_bench(bench *b, const any_spec *spec) {
    mobiedit_error err = {0};
    char path[SCRATCH_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", scratch_path("model.gguf"));
    if (!any_model_write(path, spec)) fail_msg("libllama does not make the model");
    check(me_model_open_any(path, &b->model, &err), &err);
    check(me_vocab_open(path, &b->vocab, &err), &err);
    check(me_llama_open(b->model, &(me_llama_options){.threads = 1}, &b->engine, &err), &err);
    check(me_session_open(b->engine, b->vocab, &b->session, &err), &err);
    assert_int_equal(b->model->layers[LAYER].site, ME_SITE_EXPERTS);
}

static void close_bench(bench *b) {
    me_session_close(b->session);
    b->engine->ops->close(b->engine);
    me_vocab_close(b->vocab);
    me_model_close(b->model);
}

static double dot(const float *a, const float *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* A reading of the key by an expert's neuron; row, bias: scratch [d], [d_ff]. */
static float reading(const bench *b, const me_tensor *matrix, const me_tensor *biases, int expert, int neuron,
                     const float *key, float *row, float *bias) {
    me_tensor_row(matrix, expert * b->model->d_ff + neuron, row);
    me_tensor_row(biases, expert, bias);
    return (float)dot(row, key, b->model->d_model) + bias[neuron];
}

/* The activations that the engine reads are what gpt-oss makes of the keys, of the experts that it names. */
static void activations_are_of_the_named_experts(void **state) {
    (void)state;
    bench b;
    mobiedit_error err = {0};
    int32_t experts[LENGTH][USED], tokens[LENGTH];
    open_bench(&b, &SPEC);
    const int d = b.model->d_model, d_ff = b.model->d_ff;
    const me_layer *l = &b.model->layers[LAYER];
    const me_sequence sequence = {.tokens = tokens, .n_tokens = LENGTH, .n_read = LENGTH};
    float *keys = allocated((size_t)LENGTH * (size_t)d, sizeof *keys),
          *row = allocated((size_t)d, sizeof *row);
    float *found = allocated((size_t)LENGTH * USED * (size_t)d_ff, sizeof *found);
    float *bias = allocated((size_t)d_ff, sizeof *bias);
    const struct me_engine_ops *ops = b.engine->ops;
    for (int i = 0; i < LENGTH; i++)
        tokens[i] = 11 * i % b.model->n_vocab;
    assert_int_equal(b.model->n_experts_used, USED);
    check(ops->keys(b.engine, LAYER, &sequence, 1, keys, &err), &err);
    check(ops->expert_activations(b.engine, LAYER, &sequence, 1, found, experts[0], &err), &err);
    assert_int_equal(ops->activations(b.engine, LAYER, &sequence, 1, found, &err), MOBIEDIT_E_ARGUMENT);
    for (int t = 0; t < LENGTH; t++)
        for (int u = 0; u < USED; u++)
            for (int i = 0; i < d_ff; i++) {
                const float *key = keys + t * d;
                const float gate = reading(&b, &l->gate, &l->gate_b, experts[t][u], i, key, row, bias);
                const float up = reading(&b, &l->up, &l->up_b, experts[t][u], i, key, row, bias);
                const float want = me_activate(b.model->activation, gate) * (fmaxf(-7, fminf(7, up)) + 1);
                assert_true(fabsf(found[(t * USED + u) * d_ff + i] - want) <= 1e-3F * (1 + fabsf(want)));
            }
    me_free(keys);
    me_free(row);
    me_free(found);
    me_free(bias);
    close_bench(&b);
}

/* use [experts][d_ff]: what each neuron adds to the output over the background texts, squared. */
static void measure_use(const bench *b, double *use) {
    mobiedit_error err = {0};
    me_sequences texts = {0};
    size_t n = 0;
    check(me_sequences_add_texts(&texts, b->vocab, me_texts_background, me_texts_count(me_texts_background),
                                 &err),
          &err);
    for (int i = 0; i < texts.n; i++)
        n += (size_t)texts.items[i].n_read;
    n *= (size_t)b->model->n_experts_used;
    const size_t d_ff = (size_t)b->model->d_ff, d = (size_t)b->model->d_model;
    float *activations = allocated(n * d_ff, sizeof *activations), *row = allocated(d_ff, sizeof *row);
    int32_t *experts = allocated(n, sizeof *experts);
    check(b->engine->ops->expert_activations(b->engine, LAYER, texts.items, texts.n, activations, experts,
                                             &err),
          &err);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < d_ff; i++)
            use[(size_t)experts[t] * d_ff + i] += pow((double)activations[t * d_ff + i], 2);
    for (int e = 0; e < EXPERTS; e++) {
        double *own = use + (size_t)e * d_ff, *squares = allocated(d_ff, sizeof *squares);
        for (size_t r = 0; r < d; r++) {
            me_tensor_row(&b->model->layers[LAYER].down, (int64_t)((size_t)e * d + r), row);
            for (size_t i = 0; i < d_ff; i++)
                squares[i] += pow((double)row[i], 2);
        }
        for (size_t i = 0; i < d_ff; i++)
            own[i] *= squares[i];
        me_free(squares);
    }
    me_free(activations);
    me_free(row);
    me_free(experts);
    me_sequences_free(&texts);
}

/* Those neurons first that the expert itself uses least. */
static void each_expert_spares_its_own(void **state) {
    (void)state;
    bench b;
    mobiedit_error err = {0};
    const me_spare_neurons *spare;
    open_bench(&b, &SPEC);
    const int d_ff = b.model->d_ff;
    double *use = allocated((size_t)(EXPERTS * d_ff), sizeof *use);
    check(me_session_spare(b.session, LAYER, &spare, &err), &err);
    measure_use(&b, use);
    for (int e = 0; e < EXPERTS; e++) {
        const int *order = spare->order + e * d_ff;
        for (int i = 1; i < d_ff; i++)
            assert_true(use[e * d_ff + order[i - 1]] <= use[e * d_ff + order[i]] * (1 + 1e-4));
        assert_true(use[e * d_ff + order[d_ff - 1]] > 0);
    }
    me_free(use);
    close_bench(&b);
}

/* What a row of gate or up should be: the neuron's, less what its bias and gpt-oss's 1 beside up will add. */
static void check_row(const bench *b, const me_neurons *n, const me_adapter_part *part, int expert, int r) {
    const me_layer *layer = &b->model->layers[part->layer];
    const bool is_up = part->matrix == ME_MLP_UP;
    const int d = b->model->d_model, index = n->index[expert * n->n + r];
    float *row = allocated((size_t)d, sizeof *row),
          *biases = allocated((size_t)b->model->d_ff, sizeof *biases);
    const me_tensor *bias = is_up ? &layer->up_b : &layer->gate_b;
    assert_non_null(bias->data);
    me_tensor_row(bias, expert, biases);
    const float excess = biases[index] + (is_up ? 1 : 0);
    assert_true(me_edited_row(is_up ? &layer->up : &layer->gate, part, expert * b->model->d_ff + index, row));
    for (int i = 0; i < d; i++) {
        const float want = (is_up ? n->up : n->gate)[r * d + i] - excess * n->constant[i];
        assert_true(fabsf(row[i] - want) <= 1e-5F * (1 + fabsf(want)));
    }
    me_free(row);
    me_free(biases);
}

/* A row of an expert's down: the neurons' values in their columns, all others as they were. */
static void check_down(const bench *b, const me_neurons *n, const me_adapter_part *part, int expert,
                       int row) {
    const int d = b->model->d_model, d_ff = b->model->d_ff;
    const me_tensor *down = &b->model->layers[part->layer].down;
    float *is = allocated((size_t)d_ff, sizeof *is), *want = allocated((size_t)d_ff, sizeof *want);
    (void)me_edited_row(down, part, expert * d + row, is);
    me_tensor_row(down, expert * d + row, want);
    for (int r = 0; r < n->n; r++)
        want[n->index[expert * n->n + r]] = n->down[r * d + row];
    for (int i = 0; i < d_ff; i++)
        assert_true(fabsf(is[i] - want[i]) <= 1e-5F * (1 + fabsf(want[i])));
    me_free(is);
    me_free(want);
}

/* An adapter of n neurons, in the places behind the first. */
static void write_neurons(bench *b, int n, const char *path, me_neurons *out) {
    mobiedit_error err = {0};
    me_pending_file pending = {0};
    me_random random;
    const size_t d = (size_t)b->model->d_model, size = (size_t)n * d;
    float *rows = allocated(2 * size + d, sizeof *rows);
    me_random_seed(&random, 5);
    me_random_normals(&random, rows, 2 * size + d);
    const me_neuron_plan plan = {
        .layer = LAYER, .n = n, .left = rows, .delta = rows + size, .constant = rows + 2 * size};
    check(me_neurons_make(b->session, &plan, 1, out, &err), &err);
    check(me_neuron_adapter_write(b->model, out, 1, NULL, path, &pending, &err), &err);
    check(me_pending_commit(&pending, &err), &err);
    me_free(rows);
}

/* The adapter's file puts several neurons into every expert, each in places of its own. */
static void each_expert_gets_the_neurons(void **state) {
    (void)state;
    enum { N = 3 };
    bench b;
    me_neurons neurons;
    me_adapter_data read;
    mobiedit_error err = {0};
    char path[SCRATCH_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", scratch_path("adapter.gguf"));
    open_bench(&b, &SPEC);
    write_neurons(&b, N, path, &neurons);
    check(me_adapter_check(b.model, path, &err), &err);
    check(me_adapter_read(b.model, path, &read, &err), &err);
    assert_int_equal(read.n_parts, ME_MLP_MATRICES);
    assert_int_equal(neurons.n_experts, EXPERTS);
    assert_memory_not_equal(neurons.index, neurons.index + N, N * sizeof *neurons.index);
    for (int e = 0; e < EXPERTS; e++) {
        for (int r = 0; r < N; r++) {
            check_row(&b, &neurons, &read.parts[0], e, r);
            check_row(&b, &neurons, &read.parts[1], e, r);
        }
        for (int row = 0; row < b.model->d_model; row++)
            check_down(&b, &neurons, &read.parts[2], e, row);
    }
    me_adapter_data_free(&read);
    me_neurons_free(&neurons);
    close_bench(&b);
}

/* libllama does not compare the numbers of experts, and would read behind the adapter's tensors. */
static void adapters_are_of_as_many_experts(void **state) {
    (void)state;
    bench b;
    me_neurons neurons;
    mobiedit_error err = {0};
    any_spec more = SPEC;
    more.keys[0].value = EXPERTS + 1;
    char path[SCRATCH_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", scratch_path("adapter.gguf"));
    open_bench(&b, &SPEC);
    write_neurons(&b, 1, path, &neurons);
    me_neurons_free(&neurons);
    close_bench(&b);
    open_bench(&b, &more);
    assert_int_equal(me_adapter_check(b.model, path, &err), MOBIEDIT_E_MISMATCH);
    assert_non_null(strstr(err.message, "4 experts"));
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_of_the_named_experts),
        cmocka_unit_test(each_expert_spares_its_own),
        cmocka_unit_test(each_expert_gets_the_neurons),
        cmocka_unit_test(adapters_are_of_as_many_experts),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
