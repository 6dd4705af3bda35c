/* libllama's context: opened when it is needed, with the states of stems while there is room. */
#include "engine/llama/llama_engine.h"

#include "base/memory.h"
#include "model/llama_init.h"
#include "model/sites.h"

#include <string.h>

/* LEARN: tokens of the pass from which the graph is learnt. */
enum { LEAST_CELLS = 1024, LEARN = 3 };

/* ---- model and context --------------------------------------------------------------------------------- */

static struct llama_context *make_context(me_llama *engine, int cells) {
    struct llama_context_params params = llama_context_default_params();
    const int n_sequences = 2 * engine->n_sequences;
    params.n_ctx = (uint32_t)cells;
    params.n_batch = params.n_ubatch = (uint32_t)(engine->n_batch > LEARN ? engine->n_batch : LEARN);
    params.n_seq_max = (uint32_t)n_sequences;
    params.kv_unified = true; /* items share the cells of their stem */
    params.swa_full = true;   /* and these stay, also behind a sliding window */
    params.n_outputs_max = (uint32_t)(engine->n_outputs > n_sequences ? engine->n_outputs : n_sequences);
    params.type_k = params.type_v = GGML_TYPE_F32; /* differences are small: no more rounding than needed */
    params.n_threads = params.n_threads_batch = engine->threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.offload_kqv = params.op_offload = false;
    params.no_perf = true;
    params.cb_eval = me_hook_call;
    params.cb_eval_user_data = &engine->hook;
    return llama_init_from_model(engine->model, params);
}

static void close_context(me_llama *engine) {
    if (engine->context) llama_free(engine->context);
    engine->context = NULL;
    for (int i = 0; i < ME_LLAMA_SEQUENCES; i++) {
        if (engine->stems[i]) engine->stems[i]->slot = -1;
        engine->stems[i] = NULL;
    }
    engine->n_used = 0;
}

void me_llama_unload(me_llama *engine) {
    close_context(engine);
    me_head_close(&engine->head);
    llama_model_free(engine->model);
    engine->model = NULL;
}

static mobiedit_status open_model(me_llama *engine, mobiedit_error *err) {
    const char *path = engine->base.model->path;
    me_llama_init();
    engine->model = me_llama_load(path);
    if (!engine->model) return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama cannot load %s", path);
    if (llama_model_has_encoder(engine->model) || !llama_model_has_decoder(engine->model))
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: a model with an encoder cannot be edited", path);
    const struct llama_vocab *vocab = llama_model_get_vocab(engine->model);
    if (llama_vocab_n_tokens(vocab) != engine->base.model->n_vocab ||
        llama_model_n_embd(engine->model) != engine->base.model->d_model ||
        llama_model_n_layer(engine->model) != engine->base.model->n_layer)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: libllama reads other sizes from it", path);
    engine->recurrent = llama_model_is_recurrent(engine->model) || llama_model_is_hybrid(engine->model);
    engine->n_sequences = engine->recurrent ? ME_LLAMA_STATES : ME_LLAMA_SEQUENCES;
    return MOBIEDIT_OK;
}

static mobiedit_status run_whole(me_llama *engine, mobiedit_error *err) {
    struct llama_batch *batch = &engine->batch;
    batch->n_tokens = LEARN;
    for (int i = 0; i < LEARN; i++) {
        batch->token[i] = i % engine->base.model->n_vocab;
        batch->pos[i] = i;
        batch->n_seq_id[i] = 1;
        batch->seq_id[i][0] = 0;
        batch->logits[i] = 1;
    }
    me_hook_reset(&engine->hook);
    const int code = llama_decode(engine->context, *batch);
    llama_memory_clear(llama_get_memory(engine->context), true);
    return code == 0 ? MOBIEDIT_OK
                     : me_fail(err, MOBIEDIT_E_RUNTIME, "libllama failed to evaluate tokens (code %d)", code);
}

static bool is_glu(const struct ggml_tensor *t, enum ggml_glu_op op) {
    const bool swapped = t->op_params[1] != 0;
    return t->op == GGML_OP_GLU && !swapped && ggml_get_glu_op(t) == op;
}

static bool is_unary(const struct ggml_tensor *t, enum ggml_unary_op op) {
    return t->op == GGML_OP_UNARY && ggml_get_unary_op(t) == op;
}

/* swiglu_oai's slope and limit are in its parameters. */
static bool has_swish_parameters(const struct ggml_tensor *t) {
    float parameters[2];
    memcpy(parameters, &t->op_params[2], sizeof parameters);
    return parameters[0] == ME_SWISH_SLOPE && parameters[1] == ME_SWISH_LIMIT;
}

/* Whether t, an MLP's activations, is the gate's activation times up, or up's activation. */
static bool is_activated(const struct ggml_tensor *t, me_activation activation) {
    switch (activation) {
    case ME_ACTIVATION_SILU:
        return is_glu(t, GGML_GLU_OP_SWIGLU);
    case ME_ACTIVATION_GELU_TANH:
        return is_glu(t, GGML_GLU_OP_GEGLU);
    case ME_ACTIVATION_RELU:
        return is_glu(t, GGML_GLU_OP_REGLU);
    case ME_ACTIVATION_CLAMPED_SWISH:
        return is_glu(t, GGML_GLU_OP_SWIGLU_OAI) && has_swish_parameters(t);
    case ME_ACTIVATION_UP_GELU_TANH:
        return is_unary(t, GGML_UNARY_OP_GELU);
    case ME_ACTIVATION_UP_RELU_SQUARED:
        return t->op == GGML_OP_SQR && is_unary(t->src[0], GGML_UNARY_OP_RELU);
    }
    return false;
}

/* Whether what goes into the layer's down projection has the form that an edit's neuron counts on. */
static bool has_sound_mlp(const me_llama *engine, int layer) {
    char wanted[GGML_MAX_NAME], name[GGML_MAX_NAME];
    me_mlp_tensor_name(engine->base.model, layer, ME_MLP_DOWN, wanted);
    for (size_t i = 0; i < engine->hook.n_asked; i++) {
        const struct ggml_tensor *t = engine->hook.asked[i];
        if (!me_is_product(t)) continue;
        me_weight_name(t->src[0], name);
        if (strcmp(name, wanted) == 0) return is_activated(t->src[1], engine->base.model->activation);
    }
    return false;
}

static mobiedit_status check_activations(const me_llama *engine, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    for (int i = 0; i < model->n_layer; i++)
        if (me_site_is_there(model, i) && !has_sound_mlp(engine, i))
            return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                           "%s: libllama's MLP of layer %d has another form than an edit needs", model->path,
                           i);
    return MOBIEDIT_OK;
}

static mobiedit_status learn(me_llama *engine, mobiedit_error *err) {
    engine->hook.active = false;
    ME_TRY(run_whole(engine, err));
    for (size_t i = 0; i < engine->hook.n_asked; i++) {
        const struct ggml_tensor *hidden = me_final_hidden(engine->base.model, engine->hook.asked[i]);
        for (size_t j = 0; hidden && j < i; j++)
            if (engine->hook.asked[j] == hidden) engine->hook.hidden_at = j;
    }
    ME_TRY(check_activations(engine, err));
    ME_TRY(me_head_learn(&engine->head, &engine->hook, LEARN, err));
    engine->base.logit_scale = me_head_scale(&engine->head);
    return MOBIEDIT_OK;
}

mobiedit_status me_llama_ready(me_llama *engine, int cells, mobiedit_error *err) {
    if (engine->context && cells <= engine->n_cells) return MOBIEDIT_OK;
    if (cells > ME_LLAMA_CELLS)
        return me_fail(err, MOBIEDIT_E_MEMORY, "texts of %d tokens together are too many", cells);
    if (!engine->model) ME_TRY(open_model(engine, err));
    close_context(engine);
    int n = LEAST_CELLS;
    while (n < cells)
        n *= 2;
    engine->context = make_context(engine, n);
    if (!engine->context)
        return me_fail(err, MOBIEDIT_E_MEMORY, "libllama has no context of %d tokens for %s", n,
                       engine->base.model->path);
    engine->n_cells = n;
    return engine->head.n_nodes ? MOBIEDIT_OK : learn(engine, err);
}

/* ---- stems --------------------------------------------------------------------------------------------- */

mobiedit_status me_stem_open(const int32_t *tokens, int n, me_stem *out, mobiedit_error *err) {
    *out = (me_stem){.tokens = me_calloc((size_t)n, sizeof *out->tokens), .n = n, .slot = -1};
    if (!out->tokens) return me_fail_memory(err, "tokens");
    memcpy(out->tokens, tokens, (size_t)n * sizeof *tokens);
    return MOBIEDIT_OK;
}

static void drop(me_llama *engine, me_stem *stem) {
    if (stem->slot < 0) return;
    llama_memory_seq_rm(llama_get_memory(engine->context), stem->slot, -1, -1);
    engine->stems[stem->slot] = NULL;
    engine->n_used -= stem->n;
    stem->slot = -1;
}

void me_stem_close(me_llama *engine, me_stem *stem) {
    drop(engine, stem);
    me_free(stem->tokens);
    stem->tokens = NULL;
}

/* The one that has not been used for the longest time, and not at this clock; NULL: there is none. */
static me_stem *oldest(const me_llama *engine) {
    me_stem *found = NULL;
    for (int i = 0; i < engine->n_sequences; i++) {
        me_stem *stem = engine->stems[i];
        if (stem && stem->used < engine->clock && (!found || stem->used < found->used)) found = stem;
    }
    return found;
}

mobiedit_status me_llama_make_room(me_llama *engine, int n, mobiedit_error *err) {
    while (engine->n_used + n > engine->n_cells) {
        me_stem *stem = oldest(engine);
        if (!stem)
            return me_fail(err, MOBIEDIT_E_MEMORY, "texts of %d tokens do not fit a context of %d",
                           engine->n_used + n, engine->n_cells);
        drop(engine, stem);
    }
    return MOBIEDIT_OK;
}

static int free_slot(me_llama *engine) {
    for (;;) {
        for (int i = 0; i < engine->n_sequences; i++)
            if (!engine->stems[i]) return i;
        me_stem *stem = oldest(engine);
        if (!stem) return -1;
        drop(engine, stem);
    }
}

static mobiedit_status decode_stem(me_llama *engine, const me_stem *stem, mobiedit_error *err) {
    struct llama_batch *batch = &engine->batch;
    for (int done = 0; done < stem->n; done += batch->n_tokens) {
        batch->n_tokens = stem->n - done < engine->n_batch ? stem->n - done : engine->n_batch;
        for (int i = 0; i < batch->n_tokens; i++) {
            batch->token[i] = stem->tokens[done + i];
            batch->pos[i] = done + i;
            batch->n_seq_id[i] = 1;
            batch->seq_id[i][0] = stem->slot;
            batch->logits[i] = 0;
        }
        me_hook_reset(&engine->hook);
        engine->hook.active = false;
        const int code = llama_decode(engine->context, *batch);
        if (code != 0)
            return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama failed to evaluate tokens (code %d)", code);
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_stem_load(me_llama *engine, me_stem *stem, mobiedit_error *err) {
    stem->used = engine->clock;
    if (stem->slot >= 0) return MOBIEDIT_OK;
    ME_TRY(me_llama_make_room(engine, stem->n, err));
    const int slot = free_slot(engine);
    if (slot < 0) return me_fail(err, MOBIEDIT_E_MEMORY, "the context holds too few sequences");
    stem->slot = slot;
    const mobiedit_status status = decode_stem(engine, stem, err);
    if (status != MOBIEDIT_OK) {
        llama_memory_seq_rm(llama_get_memory(engine->context), slot, -1, -1);
        stem->slot = -1;
        return status;
    }
    engine->stems[slot] = stem;
    engine->n_used += stem->n;
    return MOBIEDIT_OK;
}
