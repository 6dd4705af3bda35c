/* Attention of the batch's rows over their own columns and the prefix's. */
#include "engine/native/attention.h"

#include "engine/native/vector.h"

#include <math.h>

/* The keys or values of one key-value head that one query sees: n_past rows of `past`, then own columns. */
typedef struct {
    const float *past; /* n_past rows, past_stride apart */
    size_t past_stride;
    int n_past;
    const float *own; /* own columns, own_stride apart */
    size_t own_stride;
} head_rows;

/* What one query of one head sees: positions [first, position]. */
typedef struct {
    int first, position, head_dim;
    head_rows k, v;
} key_range;

static const float *row_at(const head_rows *rows, int position) {
    if (position < rows->n_past) return rows->past + (size_t)position * rows->past_stride;
    return rows->own + (size_t)(position - rows->n_past) * rows->own_stride;
}

/* out = sum of v weighted by softmax(scale q.k); scores[i] is the weight of position first + i. */
static void attend(const key_range *range, const float *q, float scale, float *scores, float *out) {
    int n = range->position - range->first + 1;
    float top = -INFINITY;
    for (int i = 0; i < n; i++) {
        scores[i] = scale * me_dot(q, row_at(&range->k, range->first + i), range->head_dim);
        top = scores[i] > top ? scores[i] : top;
    }
    me_exp(scores, top, n);
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += scores[i];
    for (int i = 0; i < range->head_dim; i++)
        out[i] = 0;
    for (int i = 0; i < n; i++) {
        scores[i] /= sum;
        me_add_scaled(out, row_at(&range->v, range->first + i), scores[i], range->head_dim);
    }
}

static key_range range_of(const me_native *engine, const me_span *span, int index, int head_kv,
                          int position) {
    const me_model *model = engine->base.model;
    size_t head_dim = (size_t)model->head_dim, head = (size_t)head_kv * head_dim;
    size_t block = me_past_width(model, span->past_room) / 2; /* K or V of a layer */
    int window = model->layers[index].window;
    key_range seen = {.first = window > 0 && position >= window ? position - window + 1 : 0,
                      .position = position,
                      .head_dim = model->head_dim};
    size_t stride = engine->wide_stride;
    const float *k = me_batch_k(engine, 0) + head, *v = me_batch_v(engine, 0) + head;
    size_t own = (size_t)span->first * stride, stem = (size_t)engine->batch.spans[span->stem].first * stride;
    seen.k = (head_rows){k + stem, stride, span->n_past, k + own, stride};
    seen.v = (head_rows){v + stem, stride, span->n_past, v + own, stride};
    if (span->past) {
        seen.k.past =
            span->past + 2 * block * (size_t)(index - span->past_layer) + head * (size_t)span->past_room;
        seen.v.past = seen.k.past + block;
        seen.k.past_stride = seen.v.past_stride = head_dim;
    }
    return seen;
}

static void attend_row(const me_native *engine, int index, float *focus, int row, float *scores) {
    const me_model *model = engine->base.model;
    const me_batch *batch = &engine->batch;
    const me_span *span = &batch->spans[batch->span_of[row]];
    int position = batch->position[row], group = model->n_head / model->n_head_kv;
    size_t head_dim = (size_t)model->head_dim;
    bool is_read = position >= span->read_pos && position < span->read_pos + span->n_read;
    for (int head = 0; head < model->n_head; head++) {
        key_range seen = range_of(engine, span, index, head / group, position);
        const float *q = batch->wide + (size_t)row * engine->wide_stride + (size_t)head * head_dim;
        float *out = batch->h + ((size_t)row * (size_t)model->n_head + (size_t)head) * head_dim;
        attend(&seen, q, model->attn_scale, scores, out);
        if (focus && is_read) {
            size_t read = (size_t)(span->first_read + position - span->read_pos);
            bool sees = span->edit_pos >= seen.first && span->edit_pos <= position;
            focus[read * (size_t)model->n_head + (size_t)head] =
                sees ? scores[span->edit_pos - seen.first] : 0.0f;
        }
    }
}

void me_attention(me_native *engine, int index, float *focus, int first, int last, float *scores) {
    for (int row = first; row < last; row++)
        attend_row(engine, index, focus, row, scores);
}
