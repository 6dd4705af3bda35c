/* Edits as neurons: when they fire, that they add what they should, and that the adapter puts them in the
 * place of the model's own. */
#define _GNU_SOURCE
#include "edit/neuron.h"

#include "api/neuron_adapter.h"
#include "base/memory.h"
#include "opened_model.h"
#include "scratch.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LAYER = 1, N = 3 };

static opened_model opened;
static me_model *model;
static me_session *session;
static float *left, *veto, *constant, *delta; /* [d_ff / 4][d], but constant [d] */

static float *random_rows(int n, float scale, float seed) {
    float *rows = me_calloc((size_t)(n * model->d_model), sizeof *rows);
    assert_non_null(rows);
    for (int i = 0; i < n * model->d_model; i++)
        rows[i] = scale * sinf(seed + 1.7F * (float)i * (float)(i % 11 + 1));
    return rows;
}

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    const tiny_model_options options = {.n_layer = 3, .biases = true};
    const char *path = scratch_path("model.gguf");
    if (!tiny_model_write(path, "llama", &options) || !opened_model_open(&opened, path, 1)) return -1;
    model = opened.model;
    session = opened.session;
    left = random_rows(model->d_ff / 4, 0.1F, 1);
    veto = random_rows(model->d_ff / 4, 0.05F, 6);
    constant = random_rows(1, 0.1F, 2);
    delta = random_rows(model->d_ff / 4, 5, 3);
    return 0;
}

static int tear_down(void **state) {
    me_free(left);
    me_free(veto);
    me_free(constant);
    me_free(delta);
    opened_model_close(&opened);
    return scratch_close(state);
}

static mobiedit_status make(int n, int first, me_neurons *out, mobiedit_error *err) {
    const me_neuron_plan plan = {
        .layer = LAYER, .n = n, .left = left, .veto = veto, .constant = constant, .delta = delta};
    return me_neurons_make(session, &plan, first, out, err);
}

static float dot(const float *a, const float *b) {
    double sum = 0;
    for (int i = 0; i < model->d_model; i++)
        sum += (double)a[i] * b[i];
    return (float)sum;
}

static void it_fires_at_the_subject_and_nowhere_else(void **state) {
    (void)state;
    static const me_activation activations[] = {ME_ACTIVATION_SILU,         ME_ACTIVATION_GELU_TANH,
                                                ME_ACTIVATION_RELU,         ME_ACTIVATION_CLAMPED_SWISH,
                                                ME_ACTIVATION_UP_GELU_TANH, ME_ACTIVATION_UP_RELU_SQUARED};
    for (size_t a = 0; a < sizeof activations / sizeof *activations; a++) {
        for (int percent = -100; percent <= 25; percent += 5)
            assert_true(fabsf(me_neuron_share(activations[a], (float)percent / 100, 1, 0)) < 0.02F);
        for (int percent = 85; percent <= 105; percent += 5)
            assert_true(fabsf(me_neuron_share(activations[a], (float)percent / 100, 1, 0) - 1) < 0.05F);
        assert_true(me_neuron_share(activations[a], 0.7F, 1, 0) > 0.7F);
        /* What is like the subject, and what the veto was solved for: a factor of 0 there. */
        assert_true(fabsf(me_neuron_share(activations[a], 0.6F, 1, me_neuron_ceiling() - 0.6F)) < 0.05F);
    }
}

/* Neurons with these weights give the shares of the deltas. */
static void the_weights_give_the_share(void **state) {
    (void)state;
    me_neurons neurons;
    float *x = random_rows(1, 1, 4);
    assert_int_equal(make(N, 2, &neurons, NULL), MOBIEDIT_OK);
    assert_int_equal(neurons.n, N);
    /* The constant is 1 only about: here it is exactly. */
    const float c = dot(constant, x);
    for (int i = 0; i < model->d_model; i++)
        x[i] /= c;
    for (int r = 0; r < N; r++) {
        const size_t at = (size_t)(r * model->d_model);
        const float gate = dot(neurons.gate + at, x), up = dot(neurons.up + at, x);
        const float fires = gate / (1 + expf(-gate)) * up;
        const float share = me_neuron_share(model->activation, dot(left + at, x), 1, dot(veto + at, x));
        for (int i = 0; i < model->d_model; i++) {
            const float want = share * delta[at + (size_t)i], got = fires * neurons.down[at + (size_t)i];
            assert_true(fabsf(got - want) <= 1e-3F * (fabsf(share) + 0.1F) * 5);
        }
    }
    me_neurons_free(&neurons);
    me_free(x);
}

/* Each neuron is another one, and those that are taken are used less than those that stay. */
static void the_least_used_are_taken(void **state) {
    (void)state;
    const me_spare_neurons *spare, *again;
    assert_int_equal(me_session_spare(session, LAYER, &spare, NULL), MOBIEDIT_OK);
    assert_int_equal(me_session_spare(session, LAYER, &again, NULL), MOBIEDIT_OK);
    assert_ptr_equal(spare, again);
    assert_true(spare->loudness > 0);
    bool *seen = me_calloc((size_t)model->d_ff, sizeof *seen);
    for (int i = 0; i < model->d_ff; i++) {
        assert_true(spare->order[i] >= 0 && spare->order[i] < model->d_ff && !seen[spare->order[i]]);
        seen[spare->order[i]] = true;
    }
    me_free(seen);
    me_neurons neurons;
    mobiedit_error err = {0};
    assert_int_equal(make(model->d_ff / 4, 0, &neurons, &err), MOBIEDIT_OK);
    me_neurons_free(&neurons);
    assert_int_equal(make(1, model->d_ff / 4, &neurons, &err), MOBIEDIT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "too many"));
}

/* W + sum_r b_r (x) a_r, row `row`, into out [n_in]. */
static void changed_row(const me_adapter_part *part, int row, float *out) {
    const me_tensor *matrix = me_mlp_tensor(model, part->layer, part->matrix);
    me_tensor_row(matrix, row, out);
    for (int r = 0; r < part->rank; r++)
        for (int64_t i = 0; i < matrix->n_in; i++)
            out[i] += part->b[r * matrix->n_out + row] * part->a[r * matrix->n_in + i];
}

static int neuron_at(const me_neurons *n, int index) {
    for (int r = 0; r < n->n; r++)
        if (n->index[r] == index) return r;
    return -1;
}

/* What the part should make of the value at (row, column) of its matrix; biases [2][d_ff]: gate's and up's,
 * which the model goes on adding. */
static float wanted(const me_neurons *n, const me_adapter_part *part, const float *biases, int row,
                    int column, float own) {
    const bool down = part->matrix == ME_MLP_DOWN, up = part->matrix == ME_MLP_UP;
    const int r = neuron_at(n, down ? column : row), d = model->d_model;
    if (r < 0) return own;
    if (down) return n->down[r * d + row];
    return (up ? n->up : n->gate)[r * d + column] - biases[up ? model->d_ff + row : row] * constant[column];
}

static void the_adapter_puts_them_in(void **state) {
    (void)state;
    const char *path = scratch_path("neurons.gguf");
    me_neurons neurons;
    me_pending_file pending;
    me_adapter_data read;
    assert_int_equal(make(N, 2, &neurons, NULL), MOBIEDIT_OK);
    assert_int_equal(me_neuron_adapter_write(model, &neurons, 1, "what", path, &pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_pending_commit(&pending, NULL), MOBIEDIT_OK);
    assert_int_equal(me_adapter_read(model, path, &read, NULL), MOBIEDIT_OK);
    assert_int_equal(read.n_parts, 3);
    float *row = me_calloc((size_t)model->d_ff, sizeof *row),
          *own = me_calloc((size_t)model->d_ff, sizeof *own),
          *biases = me_calloc(2 * (size_t)model->d_ff, sizeof *biases);
    assert_non_null(model->layers[LAYER].gate_b.data);
    me_tensor_row(&model->layers[LAYER].gate_b, 0, biases);
    me_tensor_row(&model->layers[LAYER].up_b, 0, biases + model->d_ff);
    for (int p = 0; p < read.n_parts; p++) {
        const me_adapter_part *part = &read.parts[p];
        const me_tensor *matrix = me_mlp_tensor(model, LAYER, part->matrix);
        assert_int_equal(part->layer, LAYER);
        for (int i = 0; i < matrix->n_out; i++) {
            changed_row(part, i, row);
            me_tensor_row(matrix, i, own);
            for (int j = 0; j < matrix->n_in; j++) {
                const float want = wanted(&neurons, part, biases, i, j, own[j]);
                assert_true(fabsf(row[j] - want) <= 1e-5F * (1 + fabsf(want)));
            }
        }
    }
    me_free(row);
    me_free(own);
    me_free(biases);
    me_adapter_data_free(&read);
    me_neurons_free(&neurons);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_fires_at_the_subject_and_nowhere_else),
        cmocka_unit_test(the_weights_give_the_share),
        cmocka_unit_test(the_least_used_are_taken),
        cmocka_unit_test(the_adapter_puts_them_in),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
