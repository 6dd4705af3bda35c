/* The llama engine's opening, and its operations on whole sequences. */
#include "engine/llama/llama_engine.h"

#include "base/memory.h"
#include "engine/sequences.h"
#include "model/llama_init.h"
#include "model/sites.h"

#include <string.h>

static const size_t default_budget = (size_t)256 << 20;
/* Differences of two passes drown in rounding where steps are shorter (doc/npu.md). */
static const float LEAST_STEP = 0.5F;

/* ---- whole sequences ----------------------------------------------------------------------------------- */

/* Tokens that all sequences begin with, before anything is read. */
static int common_beginning(const me_sequence *sequences, int n) {
    int common = sequences[0].read_pos;
    for (int i = 1; i < n; i++) {
        if (sequences[i].read_pos < common) common = sequences[i].read_pos;
        for (int j = 0; j < common; j++)
            if (sequences[i].tokens[j] != sequences[0].tokens[j]) common = j;
    }
    return n > 1 ? common : 0;
}

static mobiedit_status run_all(me_engine *base, const me_llama_job *job, const me_sequence *sequences, int n,
                               float *out, int32_t *experts, mobiedit_error *err) {
    ME_TRY(me_check_sequences(base->model, job->layer < 0 ? 0 : job->layer, sequences, n, err));
    if (n < 1) return MOBIEDIT_OK;
    const size_t width = me_llama_width(base->model, job);
    me_stem stem;
    ME_TRY(me_stem_open(sequences[0].tokens, common_beginning(sequences, n), &stem, err));
    me_llama_item *items = me_calloc((size_t)n, sizeof *items);
    for (int i = 0; i < n && items; i++) {
        const me_sequence *s = &sequences[i];
        items[i] = (me_llama_item){.stem = stem.n > 0 ? &stem : NULL,
                                   .tokens = s->tokens + stem.n,
                                   .n_columns = me_sequence_columns(s) - stem.n,
                                   .read = s->read_pos - stem.n,
                                   .n_read = s->n_read,
                                   .out = out,
                                   .experts = experts};
        out += (size_t)s->n_read * width;
        if (experts) experts += (size_t)s->n_read * (size_t)base->model->n_experts_used;
    }
    const mobiedit_status status =
        items ? me_llama_pass((me_llama *)base, job, items, n, err) : me_fail_memory(err, "a batch");
    me_free(items);
    me_stem_close((me_llama *)base, &stem);
    return status;
}

static mobiedit_status llama_keys(me_engine *base, int layer, const me_sequence *sequences, int n,
                                  float *keys, mobiedit_error *err) {
    const me_llama_job job = {.read = ME_LLAMA_KEYS, .layer = layer};
    return run_all(base, &job, sequences, n, keys, NULL, err);
}

static mobiedit_status run_activations(me_engine *base, int layer, bool of_experts,
                                       const me_sequence *sequences, int n, float *activations,
                                       int32_t *experts, mobiedit_error *err) {
    const me_llama_job job = {.read = ME_LLAMA_ACTIVATIONS, .layer = layer};
    ME_TRY(me_check_sequences(base->model, layer, sequences, n, err));
    if (of_experts != (base->model->layers[layer].site == ME_SITE_EXPERTS))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the MLP of layer %d is of another form", layer);
    return run_all(base, &job, sequences, n, activations, experts, err);
}

static mobiedit_status llama_activations(me_engine *base, int layer, const me_sequence *sequences, int n,
                                         float *activations, mobiedit_error *err) {
    return run_activations(base, layer, false, sequences, n, activations, NULL, err);
}

static mobiedit_status llama_expert_activations(me_engine *base, int layer, const me_sequence *sequences,
                                                int n, float *activations, int32_t *experts,
                                                mobiedit_error *err) {
    return run_activations(base, layer, true, sequences, n, activations, experts, err);
}

static mobiedit_status llama_forward(me_engine *base, const me_sequence *sequences, int n, float *hidden,
                                     mobiedit_error *err) {
    const me_llama_job job = {.read = ME_LLAMA_HIDDEN, .layer = -1};
    return run_all(base, &job, sequences, n, hidden, NULL, err);
}

static mobiedit_status llama_logits(me_engine *base, const float *hidden, int n, float *logits,
                                    mobiedit_error *err) {
    me_llama *engine = (me_llama *)base;
    const size_t d = (size_t)base->model->d_model, n_vocab = (size_t)base->model->n_vocab;
    ME_TRY(me_llama_ready(engine, 0, err));
    for (int first = 0; first < n;) {
        const int taken = n - first < engine->n_outputs ? n - first : engine->n_outputs;
        ME_TRY(me_head_run(&engine->head, hidden + (size_t)first * d, taken, logits + (size_t)first * n_vocab,
                           err));
        first += taken;
    }
    return MOBIEDIT_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static void llama_engine_close(me_engine *base) {
    me_llama *engine = (me_llama *)base;
    if (!engine) return;
    me_llama_unload(engine);
    if (engine->head.backend) ggml_backend_free(engine->head.backend);
    if (engine->batch.token) llama_batch_free(engine->batch);
    me_free(engine->hook.edits);
    me_free(engine->hook.readers);
    me_free(engine->hook.cells);
    me_free(engine->hook.asked);
    me_free(engine->hook.scratch);
    me_free(engine);
}

static void llama_engine_release(me_engine *base) {
    me_llama_unload((me_llama *)base);
}

static const struct me_engine_ops llama_ops = {
    .name = "llama",
    .close = llama_engine_close,
    .release = llama_engine_release,
    .prefix = me_llama_prefix_run,
    .prefix_free = me_llama_prefix_free,
    .suffix = me_llama_suffix,
    .responses = me_llama_responses,
    .keys = llama_keys,
    .activations = llama_activations,
    .expert_activations = llama_expert_activations,
    .forward = llama_forward,
    .logits = llama_logits,
};

static int at_most(size_t n, int most) {
    return n > (size_t)most ? most : (int)n;
}

/* What a token takes of libllama's working memory, and the logits that it keeps room for. */
static void share_budget(me_llama *engine) {
    const me_model *m = engine->base.model;
    const size_t mlps = (size_t)me_mlp_experts_used(m, me_site_near(m, 0));
    const size_t width = (3 + mlps) * (size_t)m->d_model + 3 * mlps * (size_t)m->d_ff + (size_t)m->n_vocab;
    const size_t token = width * sizeof(float);
    const size_t output = 4 * (size_t)m->n_vocab * sizeof(float);
    engine->n_batch = at_most(engine->budget / token, ME_LLAMA_BATCH);
    engine->n_outputs = at_most(engine->budget / output, engine->n_batch);
}

static mobiedit_status start_backend(me_llama *engine, mobiedit_error *err) {
    engine->head.backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    if (!engine->head.backend)
        return me_fail(err, MOBIEDIT_E_RUNTIME, "ggml's CPU backend cannot be started");
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(engine->head.backend));
    void *address = ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    ggml_backend_set_n_threads_t set;
    memcpy(&set, &address, sizeof set); /* ISO C has no cast from an object's address to a function's */
    if (set) set(engine->head.backend, engine->threads);
    return MOBIEDIT_OK;
}

static mobiedit_status open_parts(me_llama *engine, mobiedit_error *err) {
    me_llama_hook *hook = &engine->hook;
    hook->model = engine->base.model;
    hook->edits = me_calloc(ME_LLAMA_BATCH, sizeof *hook->edits);
    hook->readers = me_calloc(ME_LLAMA_BATCH, sizeof *hook->readers);
    hook->cells = me_calloc(ME_LLAMA_BATCH, sizeof *hook->cells);
    hook->scratch = me_calloc(2 * (size_t)engine->base.model->d_model, sizeof *hook->scratch);
    if (!hook->edits || !hook->readers || !hook->cells || !hook->scratch)
        return me_fail_memory(err, "the engine");
    share_budget(engine);
    if (engine->n_batch < 1 || engine->n_outputs < 1) engine->n_batch = engine->n_outputs = 1;
    engine->batch = llama_batch_init(ME_LLAMA_BATCH, 0, 1);
    if (!engine->batch.token) return me_fail_memory(err, "the engine");
    ME_TRY(start_backend(engine, err));
    return me_llama_ready(engine, 0, err);
}

mobiedit_status me_llama_open(const me_model *model, const me_llama_options *options, me_engine **out,
                              mobiedit_error *err) {
    me_llama_init();
    me_llama *engine = me_calloc(1, sizeof *engine);
    if (!engine) return me_fail_memory(err, "the engine");
    engine->base = (me_engine){.ops = &llama_ops, .model = model, .least_step = LEAST_STEP};
    engine->budget = options->memory_bytes ? options->memory_bytes : default_budget;
    engine->threads = options->threads ? options->threads : me_processors();
    const mobiedit_status status = open_parts(engine, err);
    if (status != MOBIEDIT_OK) {
        llama_engine_close(&engine->base);
        return status;
    }
    *out = &engine->base;
    return MOBIEDIT_OK;
}
