/* What a layer does to each row of the batch. Buffers are batch.h's, [..] is what only some models have; "q8"
 * marks an h that is quantised, since the next product reads it (kernels.h).
 *
 *   me_layer_attention  h    = norm(x) * attn_norm                    q8
 *                       wide = q, k, v = Wq h [+ bq], Wk h [+ bk], Wv h [+ bv]
 *                       q, k = [rope] of [norm] of each head of q, k
 *                       h    = softmax(attn_scale * q . k) v          q8; over past and own columns
 *                       out  = Wo h [+ bo]
 *                       x   += [norm of] out                          post_attn_norm
 *                       h    = norm(x) * ffn_norm                     q8; the MLP's input
 *   me_layer_key        wide = gate, up = Wgate h [+ gate_b], Wup h [+ up_b]
 *                       h    = activation(gate) * up                  q8; the key
 *   me_layer_value      out  = Wdown h [+ down_b]                     the value: a delta is added to it
 *   me_layer_residual   x   += [norm of] out                          post_ffn_norm
 *
 * With `narrow`, k and v are those of all columns; then only the rows at read positions stay, and q and all
 * that follows are theirs. */
#include "engine/native/layer.h"

#include "engine/native/attention.h"
#include "engine/native/product.h"
#include "engine/native/vector.h"

/* A layer's step over rows of the batch. */
typedef struct {
    me_native *engine;
    const me_layer *layer;
    const me_layer_vectors *vectors;
    int index;
    bool queries, keys; /* project: which of q, and k and v */
    float *focus;       /* attention: see me_attention */
} step;

static step step_of(me_native *engine, int index) {
    return (step){.engine = engine,
                  .layer = &engine->base.model->layers[index],
                  .vectors = &engine->vectors[index],
                  .index = index};
}

static void add_bias(float *y, const float *bias, size_t n) {
    if (bias) me_add_scaled(y, bias, 1.0f, (int)n);
}

/* h = norm(x), quantised */
static void normalise_rows(const step *s, const float *weight, int first, int last) {
    me_native *engine = s->engine;
    size_t d = (size_t)engine->base.model->d_model;
    for (int row = first; row < last; row++)
        me_rms_norm(engine->batch.x + (size_t)row * d, weight, (int)d, engine->base.model->norm_eps,
                    engine->batch.h + (size_t)row * d);
    me_act_quantize(engine, first, last);
}

static void attention_input_rows(void *context, int first, int last, int thread) {
    const step *s = context;
    (void)thread;
    normalise_rows(s, s->vectors->attn_norm, first, last);
}

/* Bias, norm of each head, and rotation. */
static void finish_heads(const step *s, float *heads, int n_heads, const float *bias, const float *norm,
                         int position) {
    const me_model *model = s->engine->base.model;
    size_t head_dim = (size_t)model->head_dim;
    add_bias(heads, bias, (size_t)n_heads * head_dim);
    for (int i = 0; i < n_heads; i++) {
        float *head = heads + (size_t)i * head_dim;
        if (norm) me_rms_norm(head, norm, model->head_dim, model->norm_eps, head);
        me_rope_head(&s->engine->ropes, s->index, position, head);
    }
}

static void finish_projection_rows(void *context, int first, int last, int thread) {
    const step *s = context;
    const me_model *model = s->engine->base.model;
    const me_layer_vectors *v = s->vectors;
    (void)thread;
    for (int row = first; row < last; row++) {
        int position = s->engine->batch.position[row];
        float *q = s->engine->batch.wide + (size_t)row * s->engine->wide_stride;
        float *k = q + me_q_width(model);
        if (s->queries) finish_heads(s, q, model->n_head, v->bq, v->q_norm, position);
        if (!s->keys) continue;
        finish_heads(s, k, model->n_head_kv, v->bk, v->k_norm, position);
        add_bias(k + me_kv_width(model), v->bv, me_kv_width(model));
    }
}

/* q, or k and v, or all three, of all rows, from x. */
static void project(step *s, bool queries, bool keys) {
    me_native *engine = s->engine;
    const me_model *model = engine->base.model;
    float *q = engine->batch.wide, *k = q + me_q_width(model), *v = k + me_kv_width(model);
    size_t ld = engine->wide_stride;
    const me_product products[] = {{&s->layer->wq, q, ld}, {&s->layer->wk, k, ld}, {&s->layer->wv, v, ld}};
    s->queries = queries;
    s->keys = keys;
    me_act_shape(engine, model->d_model, engine->batch.n_rows);
    me_for_rows(engine, engine->batch.n_rows, attention_input_rows, s);
    me_products(engine, products + (queries ? 0 : 1), queries && keys ? 3 : queries ? 1 : 2);
    me_for_rows(engine, engine->batch.n_rows, finish_projection_rows, s);
}

static void attention_rows(void *context, int first, int last, int thread) {
    const step *s = context;
    me_native *engine = s->engine;
    me_attention(engine, s->index, s->focus, first, last,
                 engine->scores + (size_t)thread * engine->scores_width);
    me_act_quantize(engine, first, last);
}

/* x += out behind its norm, if any */
static void add_out(const step *s, const float *norm, float *x, float *out) {
    const me_model *model = s->engine->base.model;
    if (norm) me_rms_norm(out, norm, model->d_model, model->norm_eps, out);
    me_add_scaled(x, out, 1.0f, model->d_model);
}

static void attention_output_rows(void *context, int first, int last, int thread) {
    const step *s = context;
    me_native *engine = s->engine;
    size_t d = (size_t)engine->base.model->d_model;
    (void)thread;
    for (int row = first; row < last; row++) {
        float *out = engine->batch.out + (size_t)row * engine->out_stride;
        add_bias(out, s->vectors->bo, d);
        add_out(s, s->vectors->post_attn_norm, engine->batch.x + (size_t)row * d, out);
    }
    normalise_rows(s, s->vectors->ffn_norm, first, last);
}

void me_layer_attention(me_native *engine, int index, bool narrow, float *focus) {
    step s = step_of(engine, index);
    const me_model *model = engine->base.model;
    me_batch *batch = &engine->batch;
    s.focus = focus;
    project(&s, !narrow, true);
    if (narrow) {
        me_batch_narrow(engine);
        project(&s, true, false);
    }
    me_act_shape(engine, (int64_t)me_q_width(model), batch->n_rows);
    me_for_rows(engine, batch->n_rows, attention_rows, &s);
    me_products(engine, &(me_product){&s.layer->wo, batch->out, engine->out_stride}, 1);
    me_act_shape(engine, model->d_model, batch->n_rows);
    me_for_rows(engine, batch->n_rows, attention_output_rows, &s);
}

static void key_rows(void *context, int first, int last, int thread) {
    const step *s = context;
    me_native *engine = s->engine;
    const me_model *model = engine->base.model;
    size_t d_ff = (size_t)model->d_ff;
    (void)thread;
    for (int row = first; row < last; row++) {
        float *gate = engine->batch.wide + (size_t)row * engine->wide_stride, *up = gate + d_ff;
        add_bias(gate, s->vectors->gate_b, d_ff);
        add_bias(up, s->vectors->up_b, d_ff);
        me_gated(model->activation, gate, up, model->d_ff, engine->batch.h + (size_t)row * d_ff);
    }
    me_act_quantize(engine, first, last);
}

void me_layer_key(me_native *engine, int index) {
    step s = step_of(engine, index);
    const me_model *model = engine->base.model;
    float *gate = engine->batch.wide, *up = gate + model->d_ff;
    const me_product products[] = {{&s.layer->gate, gate, engine->wide_stride},
                                   {&s.layer->up, up, engine->wide_stride}};
    me_products(engine, products, 2);
    me_act_shape(engine, model->d_ff, engine->batch.n_rows);
    me_for_rows(engine, engine->batch.n_rows, key_rows, &s);
}

static void value_rows(void *context, int first, int last, int thread) {
    const step *s = context;
    me_native *engine = s->engine;
    (void)thread;
    for (int row = first; row < last; row++)
        add_bias(engine->batch.out + (size_t)row * engine->out_stride, s->vectors->down_b,
                 (size_t)engine->base.model->d_model);
}

void me_layer_value(me_native *engine, int index) {
    step s = step_of(engine, index);
    me_products(engine, &(me_product){&s.layer->down, engine->batch.out, engine->out_stride}, 1);
    if (s.vectors->down_b) me_for_rows(engine, engine->batch.n_rows, value_rows, &s);
}

void me_residual_row(me_native *engine, int index, float *x, float *out) {
    step s = step_of(engine, index);
    add_out(&s, s.vectors->post_ffn_norm, x, out);
}

static void residual_rows(void *context, int first, int last, int thread) {
    const step *s = context;
    me_native *engine = s->engine;
    (void)thread;
    for (int row = first; row < last; row++)
        me_residual_row(engine, s->index, engine->batch.x + (size_t)row * (size_t)engine->base.model->d_model,
                        engine->batch.out + (size_t)row * engine->out_stride);
}

void me_layer_residual(me_native *engine, int index) {
    step s = step_of(engine, index);
    me_for_rows(engine, engine->batch.n_rows, residual_rows, &s);
}

void me_layer_mlp(me_native *engine, int index) {
    me_layer_key(engine, index);
    me_layer_value(engine, index);
    me_layer_residual(engine, index);
}

void me_layer_run(me_native *engine, int index, bool narrow, float *focus) {
    me_layer_attention(engine, index, narrow, focus);
    me_layer_mlp(engine, index);
}
