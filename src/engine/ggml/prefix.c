/* Fills a prefix: the states, keys and values that later passes of a suffix start from. */
#include "engine/ggml/ggml_engine.h"

#include "base/memory.h"
#include "engine/sequences.h"

#include <math.h>
#include <string.h>

/* K and V of the later layers while they are collected, in the layout of me_past. */
typedef struct {
    me_ggml *engine;
    me_ggml_prefix *prefix;
    const me_sequence *sequences;
    size_t row;          /* floats of K, or of V, of one sequence and layer */
    float *k, *v;        /* [later][n_sequences][row] */
    float *states;       /* [suffix_tokens][d] */
    float *values;       /* [n_values][d] */
    float *scratch;      /* for the largest output of a graph */
    size_t scratch_size; /* floats */
} collection;

void me_ggml_prefix_free(me_engine *base, me_prefix *p) {
    me_ggml_prefix *prefix = (me_ggml_prefix *)p;
    if (!prefix) return;
    me_graphs_drop((me_ggml *)base, prefix);
    ((me_ggml *)base)->freed = true;
    for (int i = 0; i < ME_GGML_DEVICES; i++)
        me_store_close(&prefix->stores[i]);
    me_free(prefix->spans);
    me_free(prefix->more_pos);
    me_free(prefix->first_state);
    me_free(prefix->first_value);
    me_free(prefix->pasts);
    me_prefix_free_arrays(p);
    me_free(prefix);
}

static int n_later(const me_engine *engine, const me_prefix *prefix) {
    return engine->model->n_layer - prefix->layer - 1;
}

/* ---- room -------------------------------------------------------------------------------------------- */

/* The sequences' spans, with positions of their own, and where their rows begin. */
static void lay_out(const me_sequence *sequences, me_ggml_prefix *prefix) {
    me_prefix *base = &prefix->base;
    int *more_pos = prefix->more_pos;
    for (int i = 0; i < base->n_sequences; i++) {
        me_ggml_span span = me_edited_span(&sequences[i], i);
        span.start = span.edit_pos;
        span.n_columns -= span.edit_pos;
        span.more_pos = more_pos;
        for (int j = 0; j < span.n_more; j++)
            *more_pos++ = sequences[i].more_pos[j];
        prefix->spans[i] = span;
        prefix->first_state[i] = (int)base->suffix_tokens;
        prefix->first_value[i] = prefix->n_values;
        prefix->past = span.edit_pos > prefix->past ? span.edit_pos : prefix->past;
        base->suffix_tokens += (size_t)span.n_columns;
        prefix->n_values += 1 + span.n_more;
    }
}

static mobiedit_status allocate(const me_engine *engine, const me_sequence *sequences, me_ggml_prefix *prefix,
                                mobiedit_error *err) {
    const me_model *model = engine->model;
    me_prefix *base = &prefix->base;
    size_t d = (size_t)model->d_model, n = (size_t)base->n_sequences, later = (size_t)n_later(engine, base);
    size_t n_more = 0;
    for (int i = 0; i < base->n_sequences; i++)
        n_more += (size_t)me_sequence_more(&sequences[i]);
    prefix->spans = me_calloc(n, sizeof *prefix->spans);
    prefix->more_pos = me_calloc(n_more, sizeof *prefix->more_pos);
    prefix->first_state = me_calloc(n, sizeof *prefix->first_state);
    prefix->first_value = me_calloc(n, sizeof *prefix->first_value);
    prefix->pasts = me_calloc(later, sizeof *prefix->pasts);
    base->values = me_calloc(n, d * sizeof(float));
    base->hidden = me_calloc(n * (size_t)base->n_read, d * sizeof(float));
    base->attention = me_calloc(later * (size_t)model->n_head, sizeof(float));
    base->rms = me_calloc(later, sizeof(float));
    if (!prefix->spans || !prefix->more_pos || !prefix->first_state || !prefix->first_value ||
        !prefix->pasts || !base->values || !base->hidden || !base->attention || !base->rms)
        return me_fail_memory(err, "a prefix");
    lay_out(sequences, prefix);
    return MOBIEDIT_OK;
}

static struct ggml_tensor *new_tensor(me_ggml_prefix *prefix, int device, int64_t n0, size_t n1) {
    return ggml_new_tensor_2d(prefix->stores[device].context, GGML_TYPE_F32, n0, (int64_t)n1);
}

/* Each layer's K and V on its device, the states where the first later layer is. */
static mobiedit_status allocate_tensors(me_ggml *engine, me_ggml_prefix *prefix, size_t row,
                                        mobiedit_error *err) {
    const me_prefix *base = &prefix->base;
    int later = n_later(&engine->base, base), n_layer = engine->base.model->n_layer;
    size_t n = (size_t)base->n_sequences;
    for (int i = 0; i < engine->n_devices; i++)
        ME_TRY(me_store_open(&prefix->stores[i], 2 * (size_t)later + 2, err));
    int first = engine->layers[later ? base->layer + 1 : n_layer - 1].device, d = engine->base.model->d_model;
    prefix->states = new_tensor(prefix, first, d, base->suffix_tokens);
    prefix->values = new_tensor(prefix, first, d, (size_t)prefix->n_values);
    for (int i = 0; i < later && row > 0; i++) {
        int device = engine->layers[base->layer + 1 + i].device;
        prefix->pasts[i].k = new_tensor(prefix, device, (int64_t)row, n);
        prefix->pasts[i].v = new_tensor(prefix, device, (int64_t)row, n);
    }
    for (int i = 0; i < engine->n_devices; i++)
        ME_TRY(me_store_allocate(&prefix->stores[i], &engine->devices[i], err));
    return MOBIEDIT_OK;
}

static bool reserve_scratch(collection *c, const me_layout *layout) {
    const me_model *model = c->engine->base.model;
    size_t widest = (size_t)(model->d_ff > model->d_model ? model->d_ff : model->d_model);
    size_t heads = (size_t)model->n_head * (size_t)model->head_dim;
    size_t size = (size_t)layout->n_rows * (heads > widest ? heads : widest);
    if (c->scratch && size <= c->scratch_size) return true;
    me_free(c->scratch);
    c->scratch = me_calloc(size, sizeof *c->scratch);
    c->scratch_size = c->scratch ? size : 0;
    return c->scratch != NULL;
}

/* ---- what a run's outputs come to: sequences [first, first + spans of the layout) ---------------------- */

/* Rows [head_dim * n_head_kv] of K and V at the positions before the edit. */
static void keep_past(collection *c, const me_layout *layout, const me_later *later, int index, int first) {
    const me_model *model = c->engine->base.model;
    size_t head_dim = (size_t)model->head_dim, n_kv = (size_t)model->n_head_kv,
           past = (size_t)c->prefix->past;
    size_t n = (size_t)c->prefix->base.n_sequences;
    for (int is_v = 0; is_v < 2; is_v++) {
        me_tensor_take(is_v ? later->v : later->k, c->scratch);
        for (int i = 0; i < layout->n_spans; i++) {
            float *to = (is_v ? c->v : c->k) + ((size_t)index * n + (size_t)(first + i)) * c->row;
            for (size_t p = 0; p < (size_t)layout->spans[i].edit_pos; p++)
                for (size_t head = 0; head < n_kv; head++)
                    for (size_t j = 0; j < head_dim; j++)
                        to[is_v ? (head * head_dim + j) * past + p : (head * past + p) * head_dim + j] =
                            c->scratch[(((size_t)layout->first_row[i] + p) * n_kv + head) * head_dim + j];
        }
    }
}

/* Of a span's edited positions only the first, edit_pos, counts. */
static void keep_rms(collection *c, const me_layout *layout, const me_later *later, int index) {
    size_t d = (size_t)c->engine->base.model->d_model;
    const float *x = c->scratch;
    me_tensor_take(later->entering, c->scratch);
    for (int i = 0; i < layout->n_spans; x += (size_t)(1 + layout->spans[i++].n_more) * d) {
        double sum = 0;
        for (size_t j = 0; j < d; j++)
            sum += (double)x[j] * (double)x[j];
        c->prefix->base.rms[index] += (float)(sqrt(sum / (double)d) / (double)c->prefix->base.n_sequences);
    }
}

/* Read positions that the mean of attention is over: those behind edit_pos. */
static int readers(const me_ggml_span *span) {
    return span->n_read - (span->read_pos > span->edit_pos ? 0 : 1);
}

static void keep_attention(collection *c, const me_layout *layout, const me_later *later, int index,
                           int total) {
    int n_head = c->engine->base.model->n_head;
    float *sums = c->prefix->base.attention + (size_t)index * (size_t)n_head;
    for (int g = 0; g < layout->n_groups; g++) {
        const me_group *group = &layout->groups[g];
        me_tensor_take(later->focus[g], c->scratch); /* [items][n_head][n_columns] */
        for (int item = 0; item < group->n_sources; item++) {
            const me_ggml_span *span = &layout->spans[layout->sources[group->first_source + item]];
            int end = span->read_pos + span->n_read;
            for (int head = 0; head < n_head; head++)
                for (int p = end - readers(span); p < end; p++)
                    sums[head] +=
                        c->scratch[((size_t)item * (size_t)n_head + (size_t)head) * (size_t)group->n_columns +
                                   (size_t)p] /
                        (float)total;
        }
    }
}

static void keep_layer(collection *c, const me_layout *layout, const me_graph *graph, int first) {
    me_prefix *base = &c->prefix->base;
    size_t d = (size_t)c->engine->base.model->d_model;
    me_tensor_take(graph->value, c->values + (size_t)c->prefix->first_value[first] * d);
    for (int i = first; i < first + layout->n_spans; i++)
        memcpy(base->values + (size_t)i * d, c->values + (size_t)c->prefix->first_value[i] * d,
               d * sizeof(float));
    me_tensor_take(graph->after, c->scratch);
    for (int i = 0; i < layout->n_spans; i++) {
        const me_ggml_span *span = &c->prefix->spans[first + i];
        size_t row = (size_t)(layout->first_row[i] + span->edit_pos);
        memcpy(c->states + (size_t)c->prefix->first_state[first + i] * d, c->scratch + row * d,
               (size_t)span->n_columns * d * sizeof(float));
    }
    const float *before = c->scratch;
    me_tensor_take(graph->before, c->scratch);
    for (int i = first; i < first + layout->n_spans; i++)
        for (int j = 0; j <= c->prefix->spans[i].n_more; j++, before += d) {
            int state = c->prefix->first_state[i] + me_edited_column(&c->prefix->spans[i], j);
            memcpy(c->states + (size_t)state * d, before, d * sizeof(float));
        }
}

static mobiedit_status keep(collection *c, const me_layout *layout, const me_graph *graph, int first,
                            mobiedit_error *err) {
    const me_prefix *base = &c->prefix->base;
    int total = 0;
    if (!reserve_scratch(c, layout)) return me_fail_memory(err, "a prefix");
    for (int i = 0; i < base->n_sequences; i++)
        total += readers(&c->prefix->spans[i]);
    keep_layer(c, layout, graph, first);
    for (int i = 0; i < n_later(&c->engine->base, base); i++) {
        keep_rms(c, layout, &graph->later[i], i);
        if (c->row) keep_past(c, layout, &graph->later[i], i, first);
        if (total) keep_attention(c, layout, &graph->later[i], i, total);
    }
    me_tensor_take(graph->hidden, base->hidden + (size_t)first * (size_t)base->n_read *
                                                     (size_t)c->engine->base.model->d_model);
    return MOBIEDIT_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static mobiedit_status collect(collection *c, mobiedit_error *err) {
    const me_prefix *base = &c->prefix->base;
    const me_graph_shape shape = {.kind = ME_GRAPH_PREFIX, .layer = base->layer};
    for (int first = 0, taken = 0; first < base->n_sequences; first += taken) {
        me_batch_run run;
        ME_TRY(me_sequences_take(c->engine, c->sequences, first, base->n_sequences, &taken, err));
        ME_TRY(me_run_sequences(c->engine, &shape, c->sequences + first, taken, &run, err));
        mobiedit_status status = keep(c, &run.layout, run.graph, first, err);
        me_batch_run_close(&run);
        ME_TRY(status);
    }
    return MOBIEDIT_OK;
}

static void upload(const collection *c) {
    me_ggml_prefix *prefix = c->prefix;
    me_tensor_put(prefix->states, c->states);
    me_tensor_put(prefix->values, c->values);
    size_t layer = (size_t)prefix->base.n_sequences * c->row;
    for (int i = 0; i < n_later(&c->engine->base, &prefix->base) && c->row > 0; i++) {
        me_tensor_put(prefix->pasts[i].k, c->k + (size_t)i * layer);
        me_tensor_put(prefix->pasts[i].v, c->v + (size_t)i * layer);
    }
}

static mobiedit_status fill(collection *c, mobiedit_error *err) {
    const me_model *model = c->engine->base.model;
    const me_prefix *base = &c->prefix->base;
    c->row = (size_t)c->prefix->past * (size_t)model->n_head_kv * (size_t)model->head_dim;
    size_t rows = (size_t)n_later(&c->engine->base, base) * (size_t)base->n_sequences;
    c->k = me_calloc(rows, c->row * sizeof *c->k);
    c->v = me_calloc(rows, c->row * sizeof *c->v);
    c->states = me_calloc(base->suffix_tokens, (size_t)model->d_model * sizeof *c->states);
    c->values = me_calloc((size_t)c->prefix->n_values, (size_t)model->d_model * sizeof *c->values);
    if (!c->k || !c->v || !c->states || !c->values) return me_fail_memory(err, "a prefix");
    ME_TRY(collect(c, err));
    ME_TRY(allocate_tensors(c->engine, c->prefix, c->row, err));
    upload(c);
    return MOBIEDIT_OK;
}

mobiedit_status me_ggml_prefix_run(me_engine *base, int layer, const me_sequence *sequences, int n,
                                   me_prefix **out, mobiedit_error *err) {
    ME_TRY(me_check_prefix(base->model, layer, sequences, n, err));
    me_ggml_prefix *prefix = me_calloc(1, sizeof *prefix);
    if (!prefix) return me_fail_memory(err, "a prefix");
    prefix->base = (me_prefix){.layer = layer, .n_sequences = n, .n_read = sequences[0].n_read};
    collection c = {.engine = (me_ggml *)base, .prefix = prefix, .sequences = sequences};
    mobiedit_status status = allocate(base, sequences, prefix, err);
    if (status == MOBIEDIT_OK) status = fill(&c, err);
    me_free(c.k);
    me_free(c.v);
    me_free(c.states);
    me_free(c.values);
    me_free(c.scratch);
    if (status != MOBIEDIT_OK) {
        me_ggml_prefix_free(base, &prefix->base);
        return status;
    }
    *out = &prefix->base;
    return MOBIEDIT_OK;
}
