/* Graphs that are kept: made for a shape, filled in and run. */
#include "engine/ggml/ggml_engine.h"

#include "base/memory.h"

#include <string.h>

/* ---- shapes ------------------------------------------------------------------------------------------ */

static bool same_group(const me_group *a, const me_group *b) {
    return a->n_columns == b->n_columns && a->n_sources == b->n_sources && a->n_repeats == b->n_repeats;
}

static bool same_layout(const me_graph *graph, const me_layout *layout) {
    if (graph->n_groups != layout->n_groups || graph->n_spans != layout->n_spans ||
        graph->n_base != layout->n_base || graph->n_edits != layout->n_edits || graph->past != layout->past ||
        graph->read_rows->ne[0] != layout->n_reads)
        return false;
    for (int i = 0; i < layout->n_groups; i++)
        if (!same_group(&graph->groups[i], &layout->groups[i])) return false;
    return true;
}

static bool fits(const me_graph *graph, const me_graph_shape *shape) {
    const me_graph_shape *own = &graph->shape;
    if (own->kind != shape->kind || own->layer != shape->layer || own->prefix != shape->prefix) return false;
    return shape->layout ? same_layout(graph, shape->layout) : own->n_rows == shape->n_rows;
}

/* ---- making ------------------------------------------------------------------------------------------ */

static void close_graph(me_ggml *engine, me_graph *graph) {
    if (!graph) return;
    engine->freed = true;
    if (graph->scheduler) ggml_backend_sched_free(graph->scheduler);
    if (graph->context) ggml_free(graph->context);
    for (int i = 0; graph->later && i < engine->base.model->n_layer; i++)
        me_free(graph->later[i].focus);
    me_free(graph->later);
    me_free(graph->groups);
    me_free(graph->sources);
    me_free(graph->select);
    me_free(graph->masks);
    me_free(graph);
}

static bool allocate(const me_ggml *engine, me_graph *graph, const me_graph_shape *shape) {
    const me_layout *layout = shape->layout;
    size_t n_groups = layout ? (size_t)layout->n_groups : 0, n_layer = (size_t)engine->base.model->n_layer;
    graph->groups = me_calloc(n_groups, sizeof *graph->groups);
    graph->sources = me_calloc(n_groups, sizeof(struct ggml_tensor *));
    graph->select = me_calloc(n_groups, sizeof(struct ggml_tensor *));
    graph->masks = me_calloc(n_groups * ME_GGML_MASKS, sizeof(struct ggml_tensor *));
    graph->later = me_calloc(n_layer, sizeof *graph->later);
    if (!graph->groups || !graph->sources || !graph->select || !graph->masks || !graph->later) return false;
    for (size_t i = 0; i < n_layer; i++) {
        graph->later[i].focus = me_calloc(n_groups, sizeof(struct ggml_tensor *));
        if (!graph->later[i].focus) return false;
    }
    if (!layout) return true;
    graph->n_groups = layout->n_groups;
    graph->n_spans = layout->n_spans;
    graph->n_base = layout->n_base;
    graph->n_edits = layout->n_edits;
    graph->past = layout->past;
    memcpy(graph->groups, layout->groups, n_groups * sizeof *graph->groups);
    return true;
}

/* The scheduler gives each operation to a device that can do it, and the tensors their memory. */
static mobiedit_status schedule(const me_ggml *engine, me_graph *graph, mobiedit_error *err) {
    ggml_backend_t backends[ME_GGML_DEVICES];
    for (int i = 0; i < engine->n_devices; i++)
        backends[i] = engine->devices[i].backend;
    size_t n_tensors = 0;
    for (struct ggml_tensor *t = ggml_get_first_tensor(graph->context); t;
         t = ggml_get_next_tensor(graph->context, t))
        n_tensors++;
    /* Leaves of other contexts, the weights, are counted too. */
    size_t weights = (size_t)engine->base.model->n_layer * 24 + 8;
    graph->scheduler =
        ggml_backend_sched_new(backends, NULL, engine->n_devices, n_tensors + weights, false, false);
    if (!graph->scheduler) return me_fail_memory(err, "a graph");
    if (!ggml_backend_sched_alloc_graph(graph->scheduler, graph->graph))
        return me_fail(err, MOBIEDIT_E_MEMORY, "out of memory on %s for a batch",
                       ggml_backend_dev_name(engine->devices[0].device));
    return MOBIEDIT_OK;
}

static mobiedit_status open_graph(me_ggml *engine, const me_graph_shape *shape, me_graph **out,
                                  mobiedit_error *err) {
    me_graph *graph = me_calloc(1, sizeof *graph);
    if (!graph) return me_fail_memory(err, "a graph");
    graph->shape = *shape;
    graph->shape.layout = NULL;
    size_t n_tensors = me_graph_tensors(engine, shape);
    const struct ggml_init_params params = {.mem_size = n_tensors * ggml_tensor_overhead() +
                                                        ggml_graph_overhead_custom(n_tensors, false),
                                            .no_alloc = true};
    bool ok = allocate(engine, graph, shape);
    graph->context = ok ? ggml_init(params) : NULL;
    mobiedit_status status = MOBIEDIT_OK;
    if (graph->context) {
        graph->graph = ggml_new_graph_custom(graph->context, n_tensors, false);
        me_graph_build(engine, graph, shape->layout);
        status = schedule(engine, graph, err);
    } else {
        status = me_fail_memory(err, "a graph");
    }
    if (status != MOBIEDIT_OK) {
        close_graph(engine, graph);
        return status;
    }
    *out = graph;
    return MOBIEDIT_OK;
}

/* ---- the engine's graphs ----------------------------------------------------------------------------- */

/* Puts a graph in front of the first `last`, which move up; what stood at `last` is overwritten. */
static void put_first(me_ggml *engine, me_graph *graph, int last) {
    memmove(engine->graphs + 1, engine->graphs, (size_t)last * sizeof(me_graph *));
    engine->graphs[0] = graph;
}

size_t me_item_bytes(const me_ggml *engine, int n_columns, int n_past) {
    const me_model *m = engine->base.model;
    size_t q = (size_t)m->n_head * (size_t)m->head_dim, kv = (size_t)m->n_head_kv * (size_t)m->head_dim;
    size_t seen = (size_t)n_columns + (size_t)n_past;
    size_t floats =
        4 * (size_t)m->d_model + 3 * (size_t)m->d_ff + 3 * q + 4 * kv + (3 * (size_t)m->n_head + 2) * seen;
    return floats * sizeof(float) * (size_t)n_columns;
}

size_t me_logits_bytes(const me_ggml *engine) {
    return (2 * (size_t)engine->base.model->n_vocab + 3 * (size_t)engine->base.model->d_model) *
           sizeof(float);
}

static size_t bytes_of(const me_ggml *engine, const me_graph_shape *shape) {
    size_t bytes = (size_t)shape->n_rows * me_logits_bytes(engine);
    for (int i = 0; shape->layout && i < shape->layout->n_groups; i++) {
        const me_group *group = &shape->layout->groups[i];
        bytes += (size_t)me_group_items(group) * me_item_bytes(engine, group->n_columns, shape->layout->past);
    }
    return bytes;
}

/* Closes graphs, the longest unused first, until there is a place for one more and its bytes are in the
 * budget, as far as that helps. Returns how many are left. */
static int make_room(me_ggml *engine, size_t bytes) {
    int n = 0;
    while (n < ME_GGML_GRAPHS && engine->graphs[n])
        bytes += engine->graphs[n++]->bytes;
    while (n > 0 && (n == ME_GGML_GRAPHS || bytes > engine->budget)) {
        bytes -= engine->graphs[--n]->bytes;
        close_graph(engine, engine->graphs[n]);
        engine->graphs[n] = NULL;
    }
    return n;
}

mobiedit_status me_graph_get(me_ggml *engine, const me_graph_shape *shape, me_graph **out,
                             mobiedit_error *err) {
    for (int i = 0; i < ME_GGML_GRAPHS && engine->graphs[i]; i++)
        if (fits(engine->graphs[i], shape)) {
            *out = engine->graphs[i];
            put_first(engine, *out, i);
            return MOBIEDIT_OK;
        }
    size_t bytes = bytes_of(engine, shape);
    int n = make_room(engine, bytes);
    ME_TRY(open_graph(engine, shape, out, err));
    (*out)->bytes = bytes;
    put_first(engine, *out, n);
    return MOBIEDIT_OK;
}

void me_graphs_drop(me_ggml *engine, const me_ggml_prefix *prefix) {
    int kept = 0;
    for (int i = 0; i < ME_GGML_GRAPHS; i++) {
        me_graph *graph = engine->graphs[i];
        engine->graphs[i] = NULL;
        if (graph && prefix && graph->shape.prefix != prefix)
            engine->graphs[kept++] = graph;
        else
            close_graph(engine, graph);
    }
}

/* ---- running ----------------------------------------------------------------------------------------- */

/* Inputs that no operation of this graph reads have no memory, and need no values. */
static bool is_read(const struct ggml_tensor *t) {
    return t && t->buffer;
}

static void put_indices(struct ggml_tensor *to, const me_layout *layout,
                        void (*fill)(const me_layout *, int32_t *), int32_t *scratch) {
    if (!is_read(to)) return;
    fill(layout, scratch);
    me_tensor_put(to, scratch);
}

static void put_group(const me_ggml *engine, me_graph *graph, const me_layout *layout, int i,
                      float *scratch) {
    const me_group *group = &layout->groups[i];
    for (int m = 0; m < ME_GGML_MASKS; m++) {
        struct ggml_tensor *mask = graph->masks[i * ME_GGML_MASKS + m];
        if (!is_read(mask)) continue;
        me_layout_mask(layout, group, m ? engine->window : 0, scratch);
        me_tensor_put(mask, scratch);
    }
    if (!is_read(graph->select[i])) return;
    me_layout_select(layout, group, scratch);
    me_tensor_put(graph->select[i], scratch);
}

mobiedit_status me_graph_set_layout(const me_ggml *engine, me_graph *graph, const me_layout *layout,
                                    mobiedit_error *err) {
    size_t most = (size_t)(layout->n_rows > layout->n_reads ? layout->n_rows : layout->n_reads);
    for (int i = 0; i < layout->n_groups; i++) {
        const me_group *group = &layout->groups[i];
        size_t mask = (size_t)me_group_items(group) * (size_t)group->n_columns *
                      (size_t)(layout->past + group->n_columns);
        most = mask > most ? mask : most;
    }
    void *scratch = me_calloc(most, sizeof(float)); /* an index is as large */
    if (!scratch) return me_fail_memory(err, "a batch's inputs");
    put_indices(graph->positions, layout, me_layout_positions, scratch);
    put_indices(graph->base_rows, layout, me_layout_base_rows, scratch);
    put_indices(graph->read_rows, layout, me_layout_read_rows, scratch);
    put_indices(graph->base_reads, layout, me_layout_base_reads, scratch);
    put_indices(graph->edit_rows, layout, me_layout_edit_rows, scratch);
    for (int i = 0; i < layout->n_groups; i++)
        put_group(engine, graph, layout, i, scratch);
    me_free(scratch);
    return MOBIEDIT_OK;
}

/* An RPC server forgets the graph that it ran last when memory is freed. ggml's client does not know: to run
 * the same graph again it would only name it, and the server hangs up. Another graph in between, of one
 * operation, makes the client send it anew. */
static mobiedit_status forget_last_graph(const me_ggml_device *device, mobiedit_error *err) {
    me_ggml_store store = {0};
    size_t room = ggml_graph_overhead_custom(2, false) / ggml_tensor_overhead() + 3;
    ME_TRY(me_store_open(&store, room, err));
    struct ggml_tensor *zero = ggml_new_tensor_1d(store.context, GGML_TYPE_F32, 1);
    struct ggml_tensor *other = ggml_scale(store.context, zero, 1);
    struct ggml_cgraph *graph = ggml_new_graph_custom(store.context, 2, false);
    ggml_build_forward_expand(graph, other);
    mobiedit_status status = me_store_allocate(&store, device, err);
    if (status == MOBIEDIT_OK) {
        me_tensor_put(zero, &(float){0});
        if (ggml_backend_graph_compute(device->backend, graph) != GGML_STATUS_SUCCESS)
            status = me_fail(err, MOBIEDIT_E_RUNTIME, "%s failed", ggml_backend_dev_name(device->device));
    }
    me_store_close(&store);
    return status;
}

mobiedit_status me_graph_run(me_ggml *engine, me_graph *graph, mobiedit_error *err) {
    for (int i = 0; engine->remote && engine->freed && i < engine->n_devices - 1; i++)
        ME_TRY(forget_last_graph(&engine->devices[i], err));
    engine->freed = false;
    enum ggml_status status = ggml_backend_sched_graph_compute(graph->scheduler, graph->graph);
    if (status == GGML_STATUS_SUCCESS) return MOBIEDIT_OK;
    return me_fail(err, status == GGML_STATUS_ALLOC_FAILED ? MOBIEDIT_E_MEMORY : MOBIEDIT_E_RUNTIME,
                   "%s failed: %s", ggml_backend_dev_name(engine->devices[0].device),
                   ggml_status_to_string(status));
}
