/* The engine's operations on whole sequences, and its opening. */
#include "engine/ggml/ggml_engine.h"

#include "base/memory.h"
#include "engine/ggml/devices.h"
#include "engine/sequences.h"
#include "model/llama_init.h"

#include <string.h>

/* Of all graphs that are kept. */
static const size_t default_budget = (size_t)256 << 20;

/* ---- operations -------------------------------------------------------------------------------------- */

/* Runs all sequences, as many at a time as fit, and puts the graphs' `hidden`, rows of `width`, together. */
static mobiedit_status run_all(me_ggml *engine, const me_graph_shape *shape, const me_sequence *sequences,
                               int n, size_t width, float *out, mobiedit_error *err) {
    for (int first = 0, taken = 0; first < n; first += taken) {
        me_batch_run run;
        ME_TRY(me_sequences_take(engine, sequences, first, n, &taken, err));
        ME_TRY(me_run_sequences(engine, shape, sequences + first, taken, &run, err));
        me_tensor_take(run.graph->hidden, out);
        out += (size_t)run.layout.n_reads * width;
        me_batch_run_close(&run);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status ggml_engine_keys(me_engine *base, int layer, const me_sequence *sequences, int n,
                                        float *keys, mobiedit_error *err) {
    const me_graph_shape shape = {.kind = ME_GRAPH_KEYS, .layer = layer};
    ME_TRY(me_check_sequences(base->model, layer, sequences, n, err));
    return run_all((me_ggml *)base, &shape, sequences, n, (size_t)base->model->d_model, keys, err);
}

static mobiedit_status ggml_engine_activations(me_engine *base, int layer, const me_sequence *sequences,
                                               int n, float *activations, mobiedit_error *err) {
    const me_graph_shape shape = {.kind = ME_GRAPH_ACTIVATIONS, .layer = layer};
    ME_TRY(me_check_sequences(base->model, layer, sequences, n, err));
    return run_all((me_ggml *)base, &shape, sequences, n, (size_t)base->model->d_ff, activations, err);
}

static mobiedit_status ggml_engine_forward(me_engine *base, const me_sequence *sequences, int n,
                                           float *hidden, mobiedit_error *err) {
    const me_graph_shape shape = {.kind = ME_GRAPH_FORWARD, .layer = -1};
    ME_TRY(me_check_sequences(base->model, 0, sequences, n, err));
    return run_all((me_ggml *)base, &shape, sequences, n, (size_t)base->model->d_model, hidden, err);
}

static mobiedit_status ggml_engine_logits(me_engine *base, const float *hidden, int n, float *logits,
                                          mobiedit_error *err) {
    me_ggml *engine = (me_ggml *)base;
    size_t d = (size_t)base->model->d_model, n_vocab = (size_t)base->model->n_vocab;
    size_t most = engine->budget / me_logits_bytes(engine);
    if (most == 0) return me_fail_budget(engine, 1, me_logits_bytes(engine), err);
    for (int first = 0; first < n;) {
        me_graph *graph;
        int taken = (size_t)(n - first) < most ? n - first : (int)most;
        const me_graph_shape shape = {.kind = ME_GRAPH_LOGITS, .n_rows = taken};
        ME_TRY(me_graph_get(engine, &shape, &graph, err));
        me_tensor_put(graph->x, hidden + (size_t)first * d);
        ME_TRY(me_graph_run(engine, graph, err));
        me_tensor_take(graph->hidden, logits + (size_t)first * n_vocab);
        first += taken;
    }
    return MOBIEDIT_OK;
}

static void ggml_engine_close(me_engine *base) {
    me_ggml *engine = (me_ggml *)base;
    if (!engine) return;
    me_graphs_drop(engine, NULL);
    me_weights_close(engine);
    for (int i = 0; i < engine->n_devices; i++)
        if (engine->devices[i].backend) ggml_backend_free(engine->devices[i].backend);
    me_free(engine);
}

/* ---- opening ----------------------------------------------------------------------------------------- */

static const struct me_engine_ops ggml_ops = {
    .name = "ggml",
    .close = ggml_engine_close,
    .prefix = me_ggml_prefix_run,
    .prefix_free = me_ggml_prefix_free,
    .suffix = me_ggml_suffix,
    .responses = me_ggml_responses,
    .keys = ggml_engine_keys,
    .activations = ggml_engine_activations,
    .forward = ggml_engine_forward,
    .logits = ggml_engine_logits,
};

static void set_threads(const me_ggml_device *device, int threads) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device->device);
    void *address = ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    ggml_backend_set_n_threads_t set;
    memcpy(&set, &address, sizeof set); /* ISO C has no cast from an object's address to a function's */
    if (set) set(device->backend, threads);
}

static mobiedit_status open_devices(me_ggml *engine, const me_ggml_options *options, mobiedit_error *err) {
    ggml_backend_dev_t found[ME_GGML_DEVICES];
    ME_TRY(me_devices_find(options->backend, found, &engine->n_devices, err));
    engine->remote = me_devices_remote(options->backend);
    for (int i = 0; i < engine->n_devices; i++) {
        me_ggml_device *device = &engine->devices[i];
        device->device = found[i];
        device->backend = ggml_backend_dev_init(found[i], NULL);
        if (!device->backend)
            return me_fail(err, MOBIEDIT_E_RUNTIME, "%s cannot be started", ggml_backend_dev_name(found[i]));
        set_threads(device, options->threads ? options->threads : me_processors());
    }
    return MOBIEDIT_OK;
}

/* One width of window serves: no architecture has layers of two. */
static mobiedit_status find_window(me_ggml *engine, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    for (int i = 0; i < model->n_layer; i++) {
        int window = model->layers[i].window;
        if (window > 0 && engine->window > 0 && window != engine->window)
            return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: layers with windows of %d and of %d tokens",
                           model->path, engine->window, window);
        if (window > 0) engine->window = window;
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_ggml_open(const me_model *model, const me_ggml_options *options, me_engine **out,
                             mobiedit_error *err) {
    me_llama_init();
    me_ggml *engine = me_calloc(1, sizeof *engine);
    if (!engine) return me_fail_memory(err, "the engine");
    engine->base = (me_engine){.ops = &ggml_ops, .model = model};
    engine->budget = options->memory_bytes ? options->memory_bytes : default_budget;
    mobiedit_status status = find_window(engine, err);
    if (status == MOBIEDIT_OK) status = open_devices(engine, options, err);
    if (status == MOBIEDIT_OK) status = me_weights_open(engine, err);
    if (status != MOBIEDIT_OK) {
        ggml_engine_close(&engine->base);
        return status;
    }
    *out = &engine->base;
    return MOBIEDIT_OK;
}
