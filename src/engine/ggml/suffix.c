/* Runs suffixes from a filled prefix, with deltas: hidden vectors and responses. */
#include "engine/ggml/ggml_engine.h"

#include "base/memory.h"
#include "engine/sequences.h"

#include <string.h>

typedef struct {
    me_ggml *engine;
    const me_ggml_prefix *prefix;
    const float *base;   /* [d]: what the others differ from; NULL: whole vectors are asked for */
    const float *deltas; /* [n_deltas][d] */
    const int *which;    /* [n_which] */
    int n_which;
    float *out; /* [n_deltas][n_which][n_read][d] */
    /* the batch at hand: deltas [first_delta, + n_deltas) on which[first_which, + n_spans) */
    int first_delta, n_deltas, first_which, n_spans;
} job;

static const me_ggml_span *span_of(const job *j, int which) {
    return &j->prefix->spans[j->which[which]];
}

/* ---- inputs ------------------------------------------------------------------------------------------ */

/* Items are counted [base, deltas][spans], edits item after item. */
static int count_items(const me_layout *layout) {
    return (layout->n_base + layout->n_repeats) * layout->n_spans;
}

/* Rows of the prefix's states. */
static void put_states(const me_layout *layout, const me_ggml_prefix *prefix, me_graph *graph,
                       int32_t *scratch) {
    for (int item = 0; item < count_items(layout); item++) {
        const me_ggml_span *span = &layout->spans[item % layout->n_spans];
        for (int c = 0; c < span->n_columns; c++)
            scratch[layout->first_row[item] + c] = prefix->first_state[span->sequence] + c;
    }
    me_tensor_put(graph->states, scratch);
}

/* Rows of what is added: the edits at edited columns, and the zeros behind all edits elsewhere. */
static void put_additions(const me_layout *layout, me_graph *graph, int32_t *scratch) {
    int n_edits = (layout->n_base + layout->n_repeats) * layout->n_edits;
    for (int row = 0; row < layout->n_rows; row++)
        scratch[row] = n_edits;
    for (int item = 0, edit = 0; item < count_items(layout); item++) {
        const me_ggml_span *span = &layout->spans[item % layout->n_spans];
        for (int i = 0; i <= span->n_more; i++)
            scratch[layout->first_row[item] + me_edited_column(span, i)] = edit++;
    }
    me_tensor_put(graph->additions, scratch);
}

/* Each edit's value and delta. An item has at most as many edits as rows, so that they fit into scratch. */
static void put_edits(const me_layout *layout, const me_ggml_prefix *prefix, me_graph *graph,
                      int32_t *scratch) {
    for (int item = 0, edit = 0; item < count_items(layout); item++) {
        const me_ggml_span *span = &layout->spans[item % layout->n_spans];
        for (int i = 0; i <= span->n_more; i++)
            scratch[edit++] = prefix->first_value[span->sequence] + i;
    }
    me_tensor_put(graph->edit_values, scratch);
    for (int item = 0, edit = 0; item < count_items(layout); item++)
        for (int i = 0; i <= layout->spans[item % layout->n_spans].n_more; i++)
            scratch[edit++] = item / layout->n_spans;
    me_tensor_put(graph->edit_deltas, scratch);
}

/* Which sequences' K and V each group needs. */
static void put_sources(const me_layout *layout, me_graph *graph, int32_t *scratch) {
    for (int g = 0; g < layout->n_groups; g++) {
        const me_group *group = &layout->groups[g];
        if (!graph->sources[g] || !graph->sources[g]->buffer) continue; /* there are no later layers */
        for (int i = 0; i < group->n_sources; i++)
            scratch[i] = layout->spans[layout->sources[group->first_source + i]].sequence;
        me_tensor_put(graph->sources[g], scratch);
    }
}

static void put_deltas(const job *j, me_graph *graph) {
    size_t bytes = (size_t)j->engine->base.model->d_model * sizeof(float), base = j->base ? bytes : 0;
    if (j->base) ggml_backend_tensor_set(graph->deltas, j->base, 0, bytes);
    ggml_backend_tensor_set(graph->deltas,
                            j->deltas + (size_t)j->first_delta * (size_t)j->engine->base.model->d_model, base,
                            (size_t)j->n_deltas * bytes);
}

/* ---- one batch --------------------------------------------------------------------------------------- */

/* Hidden vectors come delta by delta, those of the batch's spans. */
static void take_hidden(const job *j, const me_graph *graph) {
    size_t vector = (size_t)j->prefix->base.n_read * (size_t)j->engine->base.model->d_model;
    size_t part = (size_t)j->n_spans * vector;
    for (int i = 0; i < j->n_deltas; i++)
        ggml_backend_tensor_get(
            graph->hidden,
            j->out + ((size_t)(j->first_delta + i) * (size_t)j->n_which + (size_t)j->first_which) * vector,
            (size_t)i * part * sizeof(float), part * sizeof(float));
}

static mobiedit_status run_layout(const job *j, const me_layout *layout, mobiedit_error *err) {
    me_graph *graph;
    const me_graph_shape shape = {
        .kind = ME_GRAPH_SUFFIX, .layer = j->prefix->base.layer, .prefix = j->prefix, .layout = layout};
    ME_TRY(me_graph_get(j->engine, &shape, &graph, err));
    ME_TRY(me_graph_set_layout(j->engine, graph, layout, err));
    int32_t *scratch = me_calloc((size_t)layout->n_rows, sizeof *scratch);
    if (!scratch) return me_fail_memory(err, "a batch's inputs");
    put_states(layout, j->prefix, graph, scratch);
    put_additions(layout, graph, scratch);
    put_edits(layout, j->prefix, graph, scratch);
    put_sources(layout, graph, scratch);
    me_free(scratch);
    put_deltas(j, graph);
    ME_TRY(me_graph_run(j->engine, graph, err));
    take_hidden(j, graph);
    return MOBIEDIT_OK;
}

static mobiedit_status run_batch(const job *j, mobiedit_error *err) {
    me_layout layout;
    me_ggml_span *spans = me_calloc((size_t)j->n_spans, sizeof *spans);
    if (!spans) return me_fail_memory(err, "a batch");
    for (int i = 0; i < j->n_spans; i++)
        spans[i] = *span_of(j, j->first_which + i);
    mobiedit_status status =
        me_layout_open(spans, j->n_spans, j->base ? 1 : 0, j->n_deltas, j->prefix->past, &layout, err);
    if (status == MOBIEDIT_OK) {
        status = run_layout(j, &layout, err);
        me_layout_close(&layout);
    }
    me_free(spans);
    return status;
}

/* ---- all of them ------------------------------------------------------------------------------------- */

/* Takes as many sequences as fit with one delta, and then as many deltas as fit on those. */
static mobiedit_status take_spans(job *j, int *n_deltas, mobiedit_error *err) {
    size_t times = j->base ? 2 : 1, bytes = 0, limit = j->engine->budget;
    j->n_spans = 0;
    while (j->first_which + j->n_spans < j->n_which) {
        const me_ggml_span *span = span_of(j, j->first_which + j->n_spans);
        size_t more = me_item_bytes(j->engine, span->n_columns, j->prefix->past);
        if (more > (limit - bytes) / times) break;
        bytes += times * more;
        j->n_spans++;
    }
    if (j->n_spans == 0) {
        const me_ggml_span *span = span_of(j, j->first_which);
        return me_fail_budget(j->engine, span->start + span->n_columns,
                              times * me_item_bytes(j->engine, span->n_columns, j->prefix->past), err);
    }
    size_t each = bytes / times, fit = limit / each - (times - 1);
    *n_deltas = fit > 1 << 16 ? 1 << 16 : (int)fit;
    return MOBIEDIT_OK;
}

static mobiedit_status run(job *j, int n_deltas, mobiedit_error *err) {
    ME_TRY(me_check_suffix(&j->prefix->base, n_deltas, j->which, j->n_which, err));
    for (; j->first_which < j->n_which; j->first_which += j->n_spans) {
        int most = 1;
        ME_TRY(take_spans(j, &most, err));
        /* Batches of like size have one graph. */
        int n_batches = (n_deltas + most - 1) / most,
            n = n_batches ? (n_deltas + n_batches - 1) / n_batches : 0;
        for (j->first_delta = 0; j->first_delta < n_deltas; j->first_delta += j->n_deltas) {
            j->n_deltas = n_deltas - j->first_delta < n ? n_deltas - j->first_delta : n;
            ME_TRY(run_batch(j, err));
        }
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_ggml_suffix(me_engine *base, const me_prefix *prefix, const float *deltas, int n_deltas,
                               const int *which, int n_which, float *hidden, mobiedit_error *err) {
    return me_ggml_responses(base, prefix, NULL, deltas, n_deltas, which, n_which, hidden, err);
}

mobiedit_status me_ggml_responses(me_engine *engine, const me_prefix *prefix, const float *base,
                                  const float *deltas, int n_deltas, const int *which, int n_which,
                                  float *responses, mobiedit_error *err) {
    job j = {.engine = (me_ggml *)engine,
             .prefix = (const me_ggml_prefix *)prefix,
             .base = base,
             .deltas = deltas,
             .which = which,
             .n_which = n_which,
             .out = responses};
    return run(&j, n_deltas, err);
}
