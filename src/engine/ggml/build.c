/* The forward pass as operations of a graph. */
#include "engine/ggml/ggml_engine.h"

#include <math.h>
#include <stddef.h>

/* What a graph under construction stands at. */
typedef struct {
    const me_ggml *engine;
    const me_model *model;
    me_graph *g;
    struct ggml_context *ctx;
    struct ggml_tensor *x; /* [d, rows]: the residual */
    /* The first n_base_rows rows are those that the others differ from, each from the one that base_rows
     * says; 0: none differ. */
    int64_t n_base_rows;
    struct ggml_tensor *base_rows;
    int layer;
    const me_ggml_layer *w; /* of the layer */
    const me_past *past;    /* of the layer, or NULL */
    me_later *later;        /* what a prefix keeps of the layer, or NULL */
} builder;

typedef struct ggml_tensor tensor;

static tensor *input(builder *b, enum ggml_type type, int64_t n0, int64_t n1, int64_t n3) {
    tensor *t = ggml_new_tensor_4d(b->ctx, type, n0, n1, 1, n3);
    ggml_set_input(t);
    return t;
}

static tensor *indices(builder *b, int64_t n) {
    tensor *t = ggml_new_tensor_1d(b->ctx, GGML_TYPE_I32, n);
    ggml_set_input(t);
    return t;
}

static tensor *output(builder *b, tensor *t) {
    ggml_set_output(t);
    ggml_build_forward_expand(b->g->graph, t);
    return t;
}

/* ---- pieces ------------------------------------------------------------------------------------------ */

static tensor *norm(builder *b, tensor *x, tensor *weight) {
    return ggml_mul(b->ctx, ggml_rms_norm(b->ctx, x, b->model->norm_eps), weight);
}

static tensor *add_bias(builder *b, tensor *y, tensor *bias) {
    return bias ? ggml_add(b->ctx, y, bias) : y;
}

/* y + sign * (its base's row), for the rows that have one. */
static tensor *add_base(builder *b, tensor *y, float sign) {
    if (!b->n_base_rows) return y;
    tensor *base = ggml_get_rows(b->ctx, y, b->base_rows);
    if (sign != 1) base = ggml_scale(b->ctx, base, sign);
    return ggml_acc(b->ctx, y, base, y->nb[1], y->nb[2], y->nb[3], (size_t)b->n_base_rows * y->nb[1]);
}

/* The input of products: rows that have a base become their difference from it, so that only the difference
 * is rounded (engine.h, responses). */
static tensor *product_input(builder *b, tensor *h) {
    return add_base(b, h, -1);
}

/* weight x h for what product_input gave; whole rows again. */
static tensor *product(builder *b, tensor *weight, tensor *h) {
    return add_base(b, ggml_mul_mat(b->ctx, weight, h), 1);
}

/* A product of floats that must stay floats. */
static tensor *float_product(builder *b, tensor *a, tensor *c) {
    tensor *y = ggml_mul_mat(b->ctx, a, c);
    ggml_prec_set_acc(y, GGML_PREC_F32);
    return y;
}

/* heads [head_dim, n_heads, rows] of a projection: bias, norm of each head, and rotation, each where the layer has it. */
static tensor *heads(builder *b, tensor *y, tensor *bias, tensor *weight) {
    const me_rope *r = &b->model->layers[b->layer].rope;
    int64_t head_dim = b->model->head_dim;
    y = add_bias(b, y, bias);
    y = ggml_reshape_3d(b->ctx, y, head_dim, y->ne[0] / head_dim, y->ne[1]);
    if (weight) y = norm(b, y, weight);
    if (r->dims == 0) return y;
    return ggml_rope_ext(b->ctx, y, b->g->positions, b->w->rope_factors, r->dims,
                         r->neox ? GGML_ROPE_TYPE_NEOX : GGML_ROPE_TYPE_NORMAL, r->n_ctx_orig, r->freq_base,
                         r->freq_scale, r->ext_factor, r->attn_factor, r->beta_fast, r->beta_slow);
}

/* ---- attention --------------------------------------------------------------------------------------- */

/* The group's rows of y [head_dim, n_heads, rows] as [head_dim, n_heads, columns, items]. */
static tensor *group_rows(builder *b, tensor *y, const me_group *group) {
    size_t row = y->nb[2];
    return ggml_view_4d(b->ctx, y, y->ne[0], y->ne[1], group->n_columns, me_group_items(group), y->nb[1], row,
                        row * (size_t)group->n_columns, row * (size_t)group->first_row);
}

/* The known K or V of the group's sources, [n0, n1, n_head_kv, n_sources]. */
static tensor *group_past(builder *b, tensor *past, const me_group *group, int64_t n0, int64_t n1) {
    tensor *rows = ggml_get_rows(b->ctx, past, b->g->sources[group - b->g->groups]);
    return ggml_reshape_4d(b->ctx, rows, n0, n1, b->model->n_head_kv, group->n_sources);
}

/* Columns [first, first + n) of the attention weights. */
static tensor *weights_of(builder *b, tensor *weights, int first, int n) {
    tensor *part =
        ggml_view_4d(b->ctx, weights, n, weights->ne[1], weights->ne[2], weights->ne[3], weights->nb[1],
                     weights->nb[2], weights->nb[3], (size_t)first * weights->nb[0]);
    return n == weights->ne[0] ? weights : ggml_cont(b->ctx, part);
}

static tensor *mask_of(const builder *b, const me_group *group) {
    bool windowed = b->model->layers[b->layer].window > 0;
    return b->g->masks[(group - b->g->groups) * ME_GGML_MASKS + (windowed ? 1 : 0)];
}

/* Attention of one group: [head_dim * n_head, rows of the group] */
static tensor *group_attention(builder *b, const me_group *group, tensor *q, tensor *k, tensor *v) {
    struct ggml_context *ctx = b->ctx;
    const me_model *model = b->model;
    const me_past *past = b->past;
    int n_past = past ? b->g->past : 0, n = group->n_columns;
    q = ggml_cont(ctx, ggml_permute(ctx, group_rows(b, q, group), 0, 2, 1, 3));
    k = ggml_cont(ctx, ggml_permute(ctx, group_rows(b, k, group), 0, 2, 1, 3));
    v = ggml_cont(ctx, ggml_permute(ctx, group_rows(b, v, group), 1, 2, 0, 3));
    tensor *scores = float_product(b, k, q); /* [n, n, n_head, items] */
    if (past) {
        tensor *known = group_past(b, past->k, group, model->head_dim, n_past);
        scores = ggml_concat(ctx, float_product(b, known, q), scores, 0);
    }
    scores = ggml_soft_max_ext(ctx, scores, mask_of(b, group), model->attn_scale, 0);
    if (b->later)
        b->later->focus[group - b->g->groups] =
            output(b, float_product(b, b->g->select[group - b->g->groups], scores));
    tensor *out = float_product(b, v, weights_of(b, scores, n_past, n));
    if (past) {
        tensor *known = group_past(b, past->v, group, n_past, model->head_dim);
        out = ggml_add(ctx, out, float_product(b, known, weights_of(b, scores, 0, n_past)));
    }
    return ggml_cont_2d(ctx, ggml_permute(ctx, out, 0, 2, 1, 3), (int64_t)model->head_dim * model->n_head,
                        (int64_t)n * me_group_items(group));
}

static tensor *attention(builder *b, tensor *q, tensor *k, tensor *v) {
    tensor *all = ggml_reshape_2d(b->ctx, q, q->ne[0] * q->ne[1], q->ne[2]);
    for (int i = 0; i < b->g->n_groups; i++) {
        const me_group *group = &b->g->groups[i];
        tensor *out = group_attention(b, group, q, k, v);
        size_t row = all->nb[1];
        all = b->g->n_groups == 1 ? out : ggml_set_2d(b->ctx, all, out, row, row * (size_t)group->first_row);
    }
    return all;
}

/* ---- a layer ----------------------------------------------------------------------------------------- */

static void enter(builder *b, int layer) {
    const me_graph_shape *shape = &b->g->shape;
    b->layer = layer;
    b->w = &b->engine->layers[layer];
    b->past = shape->kind == ME_GRAPH_SUFFIX && b->g->past > 0
                  ? &shape->prefix->pasts[layer - shape->layer - 1]
                  : NULL;
    b->later = shape->kind == ME_GRAPH_PREFIX && layer > shape->layer ? &b->g->later[layer - shape->layer - 1]
                                                                      : NULL;
}

/* From now on only the rows that are read. */
static tensor *narrow(builder *b, tensor *y) {
    return ggml_get_rows(b->ctx, y, b->g->read_rows);
}

static void add_residual(builder *b, tensor *out, tensor *post_norm) {
    if (post_norm) out = norm(b, out, post_norm);
    b->x = ggml_add(b->ctx, b->x, out);
}

static void attention_step(builder *b, bool narrowed) {
    const me_ggml_layer *w = b->w;
    if (b->later) b->later->entering = output(b, ggml_get_rows(b->ctx, b->x, b->g->edit_rows));
    tensor *h = product_input(b, norm(b, b->x, w->attn_norm));
    tensor *q = heads(b, product(b, w->wq, h), w->bq, w->q_norm);
    tensor *k = heads(b, product(b, w->wk, h), w->bk, w->k_norm);
    tensor *v = add_bias(b, product(b, w->wv, h), w->bv);
    if (b->later) {
        b->later->k = output(b, k);
        b->later->v = output(b, v);
    }
    v = ggml_reshape_3d(b->ctx, v, k->ne[0], k->ne[1], k->ne[2]);
    h = attention(b, q, k, v);
    if (narrowed) {
        h = narrow(b, h);
        b->x = narrow(b, b->x);
        b->base_rows = b->g->base_reads;
        b->n_base_rows = b->base_rows ? b->x->ne[1] - b->base_rows->ne[0] : 0;
    }
    add_residual(b, add_bias(b, product(b, w->wo, product_input(b, h)), w->bo), w->post_attn_norm);
}

/* gelu with tanh, in float32: ggml's own looks half floats up. 0.5 (1 + tanh(u)) = sigmoid(2 u),
 * 2 u = 2 sqrt(2 / pi) (g + 0.044715 g^3) */
static tensor *gelu(builder *b, tensor *g) {
    const float scale = 1.595769122f;
    tensor *factor = ggml_scale_bias(b->ctx, ggml_sqr(b->ctx, g), scale * 0.044715f, scale);
    return ggml_mul(b->ctx, g, ggml_sigmoid(b->ctx, ggml_mul(b->ctx, factor, g)));
}

/* The MLP's input: [d, rows] */
static tensor *key_step(builder *b) {
    return norm(b, b->x, b->w->ffn_norm);
}

/* activation(gate) * up: [d_ff, rows] */
static tensor *activation_step(builder *b, tensor *key) {
    const me_ggml_layer *w = b->w;
    tensor *h = product_input(b, key);
    tensor *gate = add_bias(b, product(b, w->gate, h), w->gate_b);
    tensor *up = add_bias(b, product(b, w->up, h), w->up_b);
    if (b->model->activation == ME_ACTIVATION_GELU_TANH) return ggml_mul(b->ctx, gelu(b, gate), up);
    return ggml_swiglu_split(b->ctx, gate, up);
}

static tensor *value_step(builder *b, tensor *activations) {
    tensor *out = product(b, b->w->down, product_input(b, activations));
    return add_bias(b, out, b->w->down_b);
}

static void run_layer(builder *b, int layer, bool narrowed) {
    const me_graph_shape *shape = &b->g->shape;
    enter(b, layer);
    attention_step(b, narrowed);
    tensor *out = value_step(b, activation_step(b, key_step(b)));
    bool kept = shape->kind == ME_GRAPH_PREFIX && layer == shape->layer;
    if (kept) {
        b->g->value = output(b, ggml_get_rows(b->ctx, out, b->g->edit_rows));
        b->g->before = output(b, ggml_get_rows(b->ctx, b->x, b->g->edit_rows));
    }
    add_residual(b, out, b->w->post_ffn_norm);
    if (kept) b->g->after = output(b, b->x);
}

/* ---- whole graphs ------------------------------------------------------------------------------------ */

/* Layers from `first` on; only the last one's output at read positions is of use. */
static void run_layers(builder *b, int first, bool narrow_last) {
    int last = b->model->n_layer - 1;
    for (int i = first; i <= last; i++)
        run_layer(b, i, narrow_last && i == last);
    if (first > last || !narrow_last) b->x = narrow(b, b->x);
}

static void build_keys(builder *b, bool behind) {
    b->x = b->g->x;
    for (int i = 0; i < b->g->shape.layer; i++)
        run_layer(b, i, false);
    enter(b, b->g->shape.layer);
    attention_step(b, true);
    tensor *key = key_step(b);
    b->g->hidden = output(b, behind ? activation_step(b, key) : key);
}

/* x: the prefix's states, and at edited positions the edited layer's output with delta. */
static void build_suffix(builder *b) {
    const me_ggml_prefix *prefix = b->g->shape.prefix;
    const me_ggml_layer *edited = &b->engine->layers[prefix->base.layer];
    me_graph *g = b->g;
    tensor *out = ggml_add(b->ctx, ggml_get_rows(b->ctx, prefix->values, g->edit_values),
                           ggml_get_rows(b->ctx, g->deltas, g->edit_deltas));
    if (edited->post_ffn_norm) out = norm(b, out, edited->post_ffn_norm);
    out = ggml_pad(b->ctx, out, 0, 1, 0, 0); /* what is added to all other rows */
    b->x = ggml_add(b->ctx, ggml_get_rows(b->ctx, prefix->states, g->states),
                    ggml_get_rows(b->ctx, out, g->additions));
    run_layers(b, prefix->base.layer + 1, true);
    if (g->base_reads) {
        tensor *x = b->x, *base = ggml_get_rows(b->ctx, x, g->base_reads);
        tensor *others = ggml_view_2d(b->ctx, x, x->ne[0], base->ne[1], x->nb[1],
                                      (size_t)(x->ne[1] - base->ne[1]) * x->nb[1]);
        b->x = ggml_sub(b->ctx, others, base);
    }
    g->hidden = output(b, b->x);
}

static void build_logits(builder *b) {
    float cap = b->model->logit_softcap;
    tensor *y = ggml_mul_mat(b->ctx, b->engine->output, norm(b, b->g->x, b->engine->output_norm));
    if (cap > 0) y = ggml_scale(b->ctx, ggml_tanh(b->ctx, ggml_scale(b->ctx, y, 1 / cap)), cap);
    b->g->hidden = output(b, y);
}

/* ---- inputs ------------------------------------------------------------------------------------------ */

static void group_inputs(builder *b, int i) {
    const me_group *group = &b->g->groups[i];
    int64_t n = group->n_columns, items = me_group_items(group);
    struct ggml_tensor **masks = &b->g->masks[(size_t)i * ME_GGML_MASKS];
    masks[0] = input(b, GGML_TYPE_F32, b->g->past + n, n, items);
    if (b->engine->window) masks[1] = input(b, GGML_TYPE_F32, b->g->past + n, n, items);
    if (b->g->past) b->g->sources[i] = indices(b, group->n_sources);
    if (b->g->shape.kind == ME_GRAPH_PREFIX) b->g->select[i] = input(b, GGML_TYPE_F32, n, 1, items);
}

static void layout_inputs(builder *b, const me_layout *layout) {
    me_graph *g = b->g;
    g->positions = indices(b, layout->n_rows);
    g->read_rows = indices(b, layout->n_reads);
    for (int i = 0; i < g->n_groups; i++)
        group_inputs(b, i);
    if (!layout->n_base) return;
    g->base_rows = b->base_rows = indices(b, layout->n_rows - layout->n_base_rows);
    g->base_reads = indices(b, layout->n_reads - layout->n_base_reads);
    b->n_base_rows = layout->n_base_rows;
}

static void suffix_inputs(builder *b, const me_layout *layout) {
    int64_t times = layout->n_base + layout->n_repeats, edits = times * layout->n_edits;
    b->g->deltas = input(b, GGML_TYPE_F32, b->model->d_model, times, 1);
    b->g->states = indices(b, layout->n_rows);
    b->g->additions = indices(b, layout->n_rows);
    b->g->edit_values = indices(b, edits);
    b->g->edit_deltas = indices(b, edits);
}

static void inputs(builder *b, const me_layout *layout) {
    const me_graph_shape *shape = &b->g->shape;
    int64_t d = b->model->d_model;
    if (!layout) {
        b->g->x = input(b, GGML_TYPE_F32, d, shape->n_rows, 1);
        return;
    }
    layout_inputs(b, layout);
    if (shape->kind == ME_GRAPH_SUFFIX)
        suffix_inputs(b, layout);
    else
        b->g->x = input(b, GGML_TYPE_F32, d, layout->n_rows, 1);
    if (shape->kind == ME_GRAPH_PREFIX) b->g->edit_rows = indices(b, layout->n_edits);
}

void me_graph_build(const me_ggml *engine, me_graph *graph, const me_layout *layout) {
    builder b = {.engine = engine, .model = engine->base.model, .g = graph, .ctx = graph->context};
    inputs(&b, layout);
    switch (graph->shape.kind) {
    case ME_GRAPH_PREFIX:
    case ME_GRAPH_FORWARD:
        b.x = graph->x;
        run_layers(&b, 0,
                   graph->shape.kind == ME_GRAPH_FORWARD ||
                       graph->shape.layer < engine->base.model->n_layer - 1);
        graph->hidden = output(&b, b.x);
        break;
    case ME_GRAPH_SUFFIX:
        build_suffix(&b);
        break;
    case ME_GRAPH_KEYS:
    case ME_GRAPH_ACTIVATIONS:
        build_keys(&b, graph->shape.kind == ME_GRAPH_ACTIVATIONS);
        break;
    case ME_GRAPH_LOGITS:
        build_logits(&b);
        break;
    }
}

size_t me_graph_tensors(const me_ggml *engine, const me_graph_shape *shape) {
    enum { PER_LAYER = 110, PER_GROUP = 32, OTHERS = 64, INPUTS_PER_GROUP = 4 };
    size_t groups = shape->layout ? (size_t)shape->layout->n_groups : 0;
    return (size_t)engine->base.model->n_layer * (PER_LAYER + PER_GROUP * groups) + OTHERS +
           INPUTS_PER_GROUP * groups;
}
