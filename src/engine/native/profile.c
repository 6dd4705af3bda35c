/* Runs products in the arithmetic of mobile NPUs: calibrates scales, converts weights, rounds inputs. */
#include "engine/native/profile.h"

#include "base/memory.h"
#include "engine/native/fixed.h"
#include "engine/native/vector.h"

#include <math.h>

/* The different inputs that a layer's matrices have. */
enum { MATRICES = ME_LAYER_MATRICES, INPUTS = 4 };

struct me_profile {
    int limit;                 /* the largest activation in steps */
    bool computes;             /* calibrated */
    float *largest;            /* [n_layer * INPUTS + 1]: of each input, as the calibration saw it */
    int n_matrices;            /* n_layer * MATRICES + 1 */
    const me_tensor **weights; /* [n_matrices]: what each was made of */
    me_fixed_matrix *matrices; /* [n_matrices] */
    size_t row_width;
    int16_t *rows; /* [threads][row_width]: the weights at hand */
};

static const me_tensor *weight_at(const me_model *model, int i) {
    if (i == model->n_layer * MATRICES) return &model->output;
    return me_layer_matrix(&model->layers[i / MATRICES], i % MATRICES);
}

/* Which input matrix i has: q, k and v share theirs, and so do gate and up. */
static int input_of(int i) {
    static const int inputs[MATRICES] = {0, 0, 0, 1, 2, 2, 3};
    return i / MATRICES * INPUTS + inputs[i % MATRICES];
}

static int index_of(const struct me_profile *profile, const me_tensor *weight) {
    int i = 0;
    while (profile->weights[i] != weight)
        i++;
    return i;
}

static float step_of(const struct me_profile *profile, int i) {
    return profile->largest[input_of(i)] / (float)profile->limit;
}

/* ---- opening ----------------------------------------------------------------------------------------- */

static mobiedit_status allocate(me_native *engine, int limit, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    struct me_profile *p = engine->profile = me_calloc(1, sizeof *p);
    if (!p) return me_fail_memory(err, "the profile");
    p->limit = limit;
    p->n_matrices = model->n_layer * MATRICES + 1;
    p->row_width = engine->h_width;
    p->largest = me_calloc((size_t)model->n_layer * INPUTS + 1, sizeof *p->largest);
    p->weights = me_calloc((size_t)p->n_matrices, sizeof *p->weights);
    p->matrices = me_calloc((size_t)p->n_matrices, sizeof *p->matrices);
    p->rows = me_calloc((size_t)me_pool_threads(engine->pool), p->row_width * sizeof *p->rows);
    if (!p->largest || !p->weights || !p->matrices || !p->rows) return me_fail_memory(err, "the profile");
    for (int i = 0; i < p->n_matrices; i++)
        p->weights[i] = weight_at(model, i);
    return MOBIEDIT_OK;
}

static void note_largest(const float *x, size_t n, float *largest) {
    for (size_t i = 0; i < n; i++)
        *largest = fmaxf(*largest, fabsf(x[i]));
}

/* The unembedding's input is only normed here: nobody asks for the logits. */
static mobiedit_status calibrate_output(me_native *engine, float *hidden, size_t n, float *largest,
                                        mobiedit_error *err) {
    const me_model *model = engine->base.model;
    const size_t d = (size_t)model->d_model;
    for (size_t i = 0; i < n; i++)
        me_rms_norm(hidden + i * d, engine->output_norm, model->d_model, model->norm_eps, hidden + i * d);
    note_largest(hidden, n * d, largest);
    return isfinite(*largest) ? MOBIEDIT_OK
                              : me_fail(err, MOBIEDIT_E_FORMAT, "the model gives no finite activations");
}

static mobiedit_status calibrate(me_native *engine, const me_sequence *texts, int n_texts,
                                 mobiedit_error *err) {
    size_t n = 0;
    for (int i = 0; i < n_texts; i++)
        n += (size_t)texts[i].n_read;
    float *hidden = me_calloc(n * (size_t)engine->base.model->d_model, sizeof *hidden);
    if (!hidden) return me_fail_memory(err, "the calibration");
    mobiedit_status status = engine->base.ops->forward(&engine->base, texts, n_texts, hidden, err);
    if (status == MOBIEDIT_OK)
        status = calibrate_output(engine, hidden, n,
                                  &engine->profile->largest[input_of(engine->profile->n_matrices - 1)], err);
    me_free(hidden);
    return status;
}

typedef struct {
    me_fixed_matrix *matrix;
    const me_tensor *weight;
    float *rows; /* [threads][n_in] */
} conversion;

static void convert_row(void *context, size_t i, int thread) {
    const conversion *c = context;
    float *row = c->rows + (size_t)thread * (size_t)c->weight->n_in;
    me_tensor_row(c->weight, (int64_t)i, row);
    me_fixed_set_row(c->matrix, (int64_t)i, row);
}

static mobiedit_status convert(me_native *engine, mobiedit_error *err) {
    struct me_profile *p = engine->profile;
    const size_t threads = (size_t)me_pool_threads(engine->pool);
    float *rows = me_calloc(threads * p->row_width, sizeof *rows);
    mobiedit_status status = rows ? MOBIEDIT_OK : me_fail_memory(err, "the profile");
    for (int i = 0; i < p->n_matrices && status == MOBIEDIT_OK; i++) {
        const me_tensor *weight = p->weights[i];
        status = me_fixed_alloc(weight->n_in, weight->n_out, &p->matrices[i], err);
        conversion job = {&p->matrices[i], weight, rows};
        if (status == MOBIEDIT_OK) me_pool_run(engine->pool, (size_t)weight->n_out, convert_row, &job);
    }
    me_free(rows);
    return status;
}

mobiedit_status me_profile_open(me_native *engine, const me_native_options *options, mobiedit_error *err) {
    if (options->activation_bits != 16 && options->activation_bits != 8)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "no profile has activations of %d bits",
                       options->activation_bits);
    if (options->n_calibration < 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a profile needs texts to be calibrated on");
    ME_TRY(allocate(engine, (1 << (options->activation_bits - 1)) - 1, err));
    engine->bytes_per_column += engine->h_width * sizeof *engine->batch.fixed;
    ME_TRY(calibrate(engine, options->calibration, options->n_calibration, err));
    ME_TRY(convert(engine, err));
    engine->profile->computes = true;
    return MOBIEDIT_OK;
}

void me_profile_close(struct me_profile *p) {
    if (!p) return;
    for (int i = 0; p->matrices && i < p->n_matrices; i++)
        me_fixed_free(&p->matrices[i]);
    me_free(p->matrices);
    me_free(p->weights);
    me_free(p->largest);
    me_free(p->rows);
    me_free(p);
}

/* ---- products ---------------------------------------------------------------------------------------- */

bool me_profile_computes(const me_native *engine) {
    return engine->profile && engine->profile->computes;
}

typedef struct {
    me_native *engine;
    float step;
} quantisation;

static void quantize_rows(void *context, int first, int last, int thread) {
    const quantisation *job = context;
    const me_batch *batch = &job->engine->batch;
    const size_t n_in = (size_t)batch->act.n_in;
    (void)thread;
    me_fixed_quantize(batch->h + (size_t)first * n_in, (size_t)(last - first) * n_in, job->step,
                      job->engine->profile->limit, batch->fixed + (size_t)first * n_in);
}

void me_profile_input(me_native *engine, const me_tensor *weight) {
    struct me_profile *p = engine->profile;
    const me_activations *act = &engine->batch.act;
    const int i = index_of(p, weight);
    if (p->computes)
        me_for_rows(engine, act->n, quantize_rows, &(quantisation){engine, step_of(p, i)});
    else
        note_largest(engine->batch.h, (size_t)act->n * (size_t)act->n_in, &p->largest[input_of(i)]);
}

void me_profile_product(const me_native *engine, const me_product *product, int64_t first, int64_t last,
                        int thread) {
    const struct me_profile *p = engine->profile;
    const int i = index_of(p, product->weight);
    me_fixed_matmul(&p->matrices[i], engine->batch.fixed, engine->batch.act.n, step_of(p, i), first, last,
                    product->y, product->ldy, p->rows + (size_t)thread * p->row_width);
}
