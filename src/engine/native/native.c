/* The native engine's operations on whole sequences, and its opening. */
#include "base/memory.h"
#include "engine/native/layer.h"
#include "engine/native/prefix.h"
#include "engine/native/product.h"
#include "engine/native/profile.h"
#include "engine/native/vector.h"

#include <math.h>
#include <string.h>

/* Enough columns for wide products, little beside the model: some thousand columns of a small model, some
 * hundred of a large one. */
static const size_t default_budget = (size_t)64 << 20;

/* ---- opening ----------------------------------------------------------------------------------------- */

static mobiedit_status load_vector(const me_tensor *tensor, float **out, mobiedit_error *err) {
    if (!tensor->data) return MOBIEDIT_OK;
    *out = me_calloc((size_t)tensor->n_in, sizeof **out);
    if (!*out) return me_fail_memory(err, "norm weights");
    me_tensor_row(tensor, 0, *out);
    return MOBIEDIT_OK;
}

static mobiedit_status load_layer_vectors(const me_layer *layer, me_layer_vectors *v, mobiedit_error *err) {
    ME_TRY(load_vector(&layer->attn_norm, &v->attn_norm, err));
    ME_TRY(load_vector(&layer->q_norm, &v->q_norm, err));
    ME_TRY(load_vector(&layer->k_norm, &v->k_norm, err));
    ME_TRY(load_vector(&layer->post_attn_norm, &v->post_attn_norm, err));
    ME_TRY(load_vector(&layer->ffn_norm, &v->ffn_norm, err));
    ME_TRY(load_vector(&layer->post_ffn_norm, &v->post_ffn_norm, err));
    ME_TRY(load_vector(&layer->bq, &v->bq, err));
    ME_TRY(load_vector(&layer->bk, &v->bk, err));
    ME_TRY(load_vector(&layer->bv, &v->bv, err));
    ME_TRY(load_vector(&layer->bo, &v->bo, err));
    ME_TRY(load_vector(&layer->gate_b, &v->gate_b, err));
    ME_TRY(load_vector(&layer->up_b, &v->up_b, err));
    return load_vector(&layer->down_b, &v->down_b, err);
}

static void free_layer_vectors(me_layer_vectors *v) {
    float *all[] = {
        v->attn_norm, v->q_norm, v->k_norm, v->post_attn_norm, v->ffn_norm, v->post_ffn_norm, v->bq,
        v->bk,        v->bv,     v->bo,     v->gate_b,         v->up_b,     v->down_b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        me_free(all[i]);
}

static mobiedit_status load_vectors(me_native *engine, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    engine->vectors = me_calloc((size_t)model->n_layer, sizeof *engine->vectors);
    if (!engine->vectors) return me_fail_memory(err, "norm weights");
    for (int i = 0; i < model->n_layer; i++)
        ME_TRY(load_layer_vectors(&model->layers[i], &engine->vectors[i], err));
    return load_vector(&model->output_norm, &engine->output_norm, err);
}

/* Checks that the kernels take the weight, and makes room for their scratch. */
static mobiedit_status plan_weight(me_native *engine, const me_tensor *weight, mobiedit_error *err) {
    if (!me_kernels_type_supported(weight->type))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "weights of type %s are not supported",
                       ggml_type_name(weight->type));
    size_t bytes = engine->kernels->scratch_bytes(weight);
    if (bytes > engine->kernel_scratch_bytes) engine->kernel_scratch_bytes = bytes;
    return MOBIEDIT_OK;
}

static mobiedit_status plan_kernels(me_native *engine, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    for (int i = 0; i < model->n_layer; i++)
        for (int j = 0; j < ME_LAYER_MATRICES; j++)
            ME_TRY(plan_weight(engine, me_layer_matrix(&model->layers[i], j), err));
    ME_TRY(plan_weight(engine, &model->output, err));
    engine->kernel_scratch_bytes = (engine->kernel_scratch_bytes + 63) / 64 * 64;
    engine->kernel_scratch = me_calloc((size_t)me_pool_threads(engine->pool), engine->kernel_scratch_bytes);
    return engine->kernel_scratch ? MOBIEDIT_OK : me_fail_memory(err, "the kernels' scratch space");
}

static void native_close(me_engine *base) {
    me_native *engine = (me_native *)base;
    if (!engine) return;
    for (int i = 0; engine->vectors && i < engine->base.model->n_layer; i++)
        free_layer_vectors(&engine->vectors[i]);
    me_free(engine->vectors);
    me_free(engine->output_norm);
    me_ropes_close(&engine->ropes);
    me_free(engine->kernel_scratch);
    me_free(engine->scores);
    me_profile_close(engine->profile);
    me_batch_free(&engine->batch);
    me_free(engine);
}

/* ---- whole sequences --------------------------------------------------------------------------------- */

/* The rows of h at the read positions of `layer`: the MLP's inputs, or,
 * with `behind`, what its neurons give. */
static mobiedit_status read_mlp(me_native *engine, int layer, bool behind, const me_sequence *sequences,
                                int n, float *out, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    const size_t width = (size_t)(behind ? model->d_ff : model->d_model);
    ME_TRY(me_check_sequences(model, layer, sequences, n, err));
    for (int first = 0, taken = 0; first < n; first += taken) {
        ME_TRY(me_batch_take(engine, me_sequence_columns_at, sequences, first, n, &taken, err));
        ME_TRY(me_batch_embed(engine, sequences + first, taken, false, err));
        for (int i = 0; i < layer; i++)
            me_layer_run(engine, i, false, NULL);
        me_layer_attention(engine, layer, true, NULL);
        if (behind) me_layer_key(engine, layer);
        size_t count = (size_t)engine->batch.n_rows * width;
        memcpy(out, engine->batch.h, count * sizeof *out);
        out += count;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status native_keys(me_engine *base, int layer, const me_sequence *sequences, int n,
                                   float *keys, mobiedit_error *err) {
    return read_mlp((me_native *)base, layer, false, sequences, n, keys, err);
}

static mobiedit_status native_activations(me_engine *base, int layer, const me_sequence *sequences, int n,
                                          float *activations, mobiedit_error *err) {
    return read_mlp((me_native *)base, layer, true, sequences, n, activations, err);
}

typedef struct {
    me_native *engine;
    const float *keys;
} inputs_job;

static void take_inputs(void *context, int first, int last, int thread) {
    const inputs_job *job = context;
    const size_t d = (size_t)job->engine->base.model->d_model;
    (void)thread;
    memcpy(job->engine->batch.h + (size_t)first * d, job->keys + (size_t)first * d,
           (size_t)(last - first) * d * sizeof(float));
    me_act_quantize(job->engine, first, last);
}

static int one_column(const void *context, int i) {
    (void)context;
    (void)i;
    return 1;
}

static mobiedit_status native_activations_at(me_engine *base, int layer, const float *keys, int n,
                                             float *activations, mobiedit_error *err) {
    me_native *engine = (me_native *)base;
    const size_t d = (size_t)base->model->d_model, d_ff = (size_t)base->model->d_ff;
    for (int first = 0, taken = 0; first < n; first += taken) {
        ME_TRY(me_batch_take(engine, one_column, NULL, first, n, &taken, err));
        ME_TRY(me_batch_begin(engine, taken, 1, err));
        engine->batch.n_rows = taken;
        inputs_job job = {engine, keys + (size_t)first * d};
        me_act_shape(engine, base->model->d_model, taken);
        me_for_rows(engine, taken, take_inputs, &job);
        me_layer_key(engine, layer);
        memcpy(activations + (size_t)first * d_ff, engine->batch.h, (size_t)taken * d_ff * sizeof(float));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status native_forward(me_engine *base, const me_sequence *sequences, int n, float *hidden,
                                      mobiedit_error *err) {
    me_native *engine = (me_native *)base;
    size_t d = (size_t)base->model->d_model;
    int last = base->model->n_layer - 1;
    ME_TRY(me_check_sequences(base->model, 0, sequences, n, err));
    for (int first = 0, taken = 0; first < n; first += taken) {
        ME_TRY(me_batch_take(engine, me_sequence_columns_at, sequences, first, n, &taken, err));
        ME_TRY(me_batch_embed(engine, sequences + first, taken, false, err));
        for (int i = 0; i <= last; i++)
            me_layer_run(engine, i, i == last, NULL);
        size_t count = (size_t)engine->batch.n_rows * d;
        memcpy(hidden, engine->batch.x, count * sizeof *hidden);
        hidden += count;
    }
    return MOBIEDIT_OK;
}

/* ---- logits ------------------------------------------------------------------------------------------ */

typedef struct {
    me_native *engine;
    const float *hidden; /* [n][d_model] */
    float *logits;       /* [n][n_vocab] */
} logits_job;

static void output_norm_rows(void *context, int first, int last, int thread) {
    const logits_job *job = context;
    me_native *engine = job->engine;
    size_t d = (size_t)engine->base.model->d_model;
    (void)thread;
    for (int row = first; row < last; row++)
        me_rms_norm(job->hidden + (size_t)row * d, engine->output_norm, (int)d, engine->base.model->norm_eps,
                    engine->batch.h + (size_t)row * d);
    me_act_quantize(engine, first, last);
}

static void softcap_rows(void *context, int first, int last, int thread) {
    const logits_job *job = context;
    const me_model *model = job->engine->base.model;
    (void)thread;
    for (int row = first; row < last; row++)
        for (int i = 0; i < model->n_vocab; i++) {
            float *logit = &job->logits[(size_t)row * (size_t)model->n_vocab + (size_t)i];
            *logit = model->logit_softcap * tanhf(*logit / model->logit_softcap);
        }
}

static mobiedit_status native_logits(me_engine *base, const float *hidden, int n, float *logits,
                                     mobiedit_error *err) {
    me_native *engine = (me_native *)base;
    const me_model *model = base->model;
    for (int first = 0, taken = 0; first < n; first += taken) {
        ME_TRY(me_batch_take(engine, one_column, NULL, first, n, &taken, err));
        ME_TRY(me_batch_begin(engine, taken, 0, err));
        logits_job job = {engine, hidden + (size_t)first * (size_t)model->d_model,
                          logits + (size_t)first * (size_t)model->n_vocab};
        me_act_shape(engine, model->d_model, taken);
        me_for_rows(engine, taken, output_norm_rows, &job);
        me_products(engine, &(me_product){&model->output, job.logits, (size_t)model->n_vocab}, 1);
        if (model->logit_softcap > 0) me_for_rows(engine, taken, softcap_rows, &job);
    }
    return MOBIEDIT_OK;
}

static void native_release(me_engine *base) {
    me_batch_free(&((me_native *)base)->batch);
}

static const struct me_engine_ops native_ops = {
    .name = "native",
    .close = native_close,
    .release = native_release,
    .prefix = me_native_prefix,
    .prefix_free = me_native_prefix_free,
    .suffix = me_native_suffix,
    .responses = me_native_responses,
    .keys = native_keys,
    .activations = native_activations,
    .activations_at = native_activations_at,
    .forward = native_forward,
    .generate = me_native_generate,
    .logits = native_logits,
};

static mobiedit_status open_parts(me_native *engine, mobiedit_error *err) {
    me_batch_plan(engine);
    ME_TRY(load_vectors(engine, err));
    ME_TRY(me_ropes_open(engine->base.model, &engine->ropes, err));
    return plan_kernels(engine, err);
}

mobiedit_status me_native_open(const me_model *model, me_pool *pool, const me_native_options *options,
                               me_engine **out, mobiedit_error *err) {
    const me_kernels *kernels;
    ME_TRY(me_kernels_choose(options ? options->kernels : NULL, &kernels, err));
    me_native *engine = me_calloc(1, sizeof *engine);
    if (!engine) return me_fail_memory(err, "the engine");
    engine->base = (me_engine){.ops = &native_ops, .model = model};
    engine->pool = pool;
    engine->kernels = kernels;
    engine->budget = options && options->memory_bytes ? options->memory_bytes : default_budget;
    mobiedit_status status = open_parts(engine, err);
    if (status == MOBIEDIT_OK && options && options->activation_bits)
        status = me_profile_open(engine, options, err);
    if (status != MOBIEDIT_OK) {
        native_close(&engine->base);
        return status;
    }
    *out = &engine->base;
    return MOBIEDIT_OK;
}
