/* Runs items through libllama: each is a sequence behind its stem, many share a batch. */
#include "engine/llama/llama_engine.h"

#include <string.h>

/* ---- how many fit -------------------------------------------------------------------------------------- */

/* In the last layer only outputs go through the MLP. */
static bool outputs_all(const me_llama *engine, const me_llama_job *job) {
    return job->layer == engine->base.model->n_layer - 1;
}

static int count_outputs(const me_llama *engine, const me_llama_job *job, const me_llama_item *item) {
    if (outputs_all(engine, job)) return item->n_columns;
    return job->read == ME_LLAMA_HIDDEN ? item->n_read : 0;
}

static int item_position(const me_llama_item *item) {
    return item->stem ? item->stem->n : 0;
}

static mobiedit_status fail_size(const me_llama *engine, const me_llama_item *item, mobiedit_error *err) {
    return me_fail(
        err, MOBIEDIT_E_MEMORY,
        "a text of %d tokens does not fit a batch of %d tokens, %d of them read (working memory of "
        "%zu KiB)",
        item_position(item) + item->n_columns, engine->n_batch, engine->n_outputs, engine->budget / 1024);
}

/* How many of the items fit into a batch. */
static mobiedit_status count_items(const me_llama *engine, const me_llama_job *job,
                                   const me_llama_item *items, int n, int *taken, mobiedit_error *err) {
    int tokens = 0, outputs = 0, stems = 0, count = 0;
    while (count < n && count < engine->n_sequences) {
        const me_llama_item *item = &items[count];
        tokens += item->n_columns;
        outputs += count_outputs(engine, job, item);
        if (count == 0 || item->stem != items[count - 1].stem) stems += item_position(item);
        if (tokens > engine->n_batch || outputs > engine->n_outputs) break;
        if (count > 0 && tokens + stems > ME_LLAMA_CELLS) break;
        /* Else libllama would put their tokens into another order. */
        if (engine->recurrent && item->n_columns != items->n_columns) break;
        count++;
    }
    if (count == 0) return fail_size(engine, items, err);
    *taken = count;
    return MOBIEDIT_OK;
}

/* ---- a batch ------------------------------------------------------------------------------------------- */

static void add_column(me_llama *engine, const me_llama_item *item, int sequence, int column, bool output) {
    struct llama_batch *batch = &engine->batch;
    const int i = batch->n_tokens++;
    batch->token[i] = item->tokens[column];
    batch->pos[i] = item_position(item) + column;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = sequence;
    batch->logits[i] = output;
}

size_t me_llama_width(const me_model *model, const me_llama_job *job) {
    if (job->read != ME_LLAMA_ACTIVATIONS) return (size_t)model->d_model;
    return (size_t)model->d_ff * (size_t)me_mlp_experts_used(model, job->layer);
}

/* What the hook does at an item's columns, whose first is token `begin` of the batch. */
static void add_work(me_llama *engine, const me_llama_job *job, const me_llama_item *item, int begin) {
    me_llama_hook *hook = &engine->hook;
    const size_t width = me_llama_width(engine->base.model, job);
    int output = hook->n_outputs;
    for (int c = 0, next = 0; c < item->n_columns; c++) {
        const bool is_read = c >= item->read && c < item->read + item->n_read;
        const bool is_output = engine->batch.logits[begin + c];
        const me_row row = {.token = begin + c, .output = is_output ? output++ : -1};
        if (next < item->n_edits && item->edits[next] == c) {
            hook->edits[hook->n_edits++] =
                (me_llama_edit){.row = row, .delta = item->delta, .value = next == 0 ? item->value : NULL};
            next++;
        }
        if (!is_read) continue;
        const int edit = item->n_edits > 0 ? item->edits[0] : -1, read = c - item->read;
        const size_t used = (size_t)engine->base.model->n_experts_used;
        hook->readers[hook->n_readers++] =
            (me_llama_reader){.row = row,
                              .out = item->out + (size_t)read * width,
                              .experts = item->experts ? item->experts + (size_t)read * used : NULL,
                              .edit = edit < 0 ? -1 : begin + edit,
                              .share = c > edit ? job->reader_share : 0};
    }
    hook->n_outputs = output;
}

static void fill_batch(me_llama *engine, const me_llama_job *job, const me_llama_item *items, int n) {
    me_llama_hook *hook = &engine->hook;
    engine->batch.n_tokens = 0;
    hook->n_edits = hook->n_readers = hook->n_outputs = 0;
    for (int i = 0; i < n; i++) {
        const me_llama_item *item = &items[i];
        const int begin = engine->batch.n_tokens;
        for (int c = 0; c < item->n_columns; c++) {
            const bool is_read = c >= item->read && c < item->read + item->n_read;
            add_column(engine, item, engine->n_sequences + i, c,
                       outputs_all(engine, job) || (is_read && job->read == ME_LLAMA_HIDDEN));
        }
        add_work(engine, job, item, begin);
    }
    hook->n_tokens = engine->batch.n_tokens;
    hook->read = job->read;
    hook->layer = job->layer;
    hook->focus = job->focus;
    hook->active = true;
    hook->down[0] = hook->input[0] = '\0';
    if (job->layer < 0) return;
    me_mlp_tensor_name(engine->base.model, job->layer, ME_MLP_DOWN, hook->down);
    me_mlp_tensor_name(engine->base.model, job->layer, ME_MLP_UP, hook->input);
}

static mobiedit_status decode(me_llama *engine, mobiedit_error *err) {
    me_llama_hook *hook = &engine->hook;
    me_hook_reset(hook);
    const int code = llama_decode(engine->context, engine->batch);
    hook->active = false;
    if (hook->trouble[0])
        return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama's graph is not as expected: %s", hook->trouble);
    if (code != 0)
        return me_fail(err, code == -2 ? MOBIEDIT_E_MEMORY : MOBIEDIT_E_RUNTIME,
                       "libllama failed to evaluate %d tokens (code %d)", engine->batch.n_tokens, code);
    if (hook->n_edits > 0 && !hook->edited)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "libllama's graph has no product with %s", hook->down);
    if (!hook->found && !hook->moved)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "libllama's graph has not what is to be read at layer %d",
                       hook->layer);
    return MOBIEDIT_OK;
}

/* A context that has room for the batch, with its stems. */
static mobiedit_status load_stems(me_llama *engine, const me_llama_item *items, int n, mobiedit_error *err) {
    int columns = 0, behind = 0;
    engine->clock++;
    for (int i = 0; i < n; i++) {
        me_stem *stem = items[i].stem;
        columns += items[i].n_columns;
        if (!stem || stem->used == engine->clock) continue;
        stem->used = engine->clock;
        behind += stem->n;
    }
    ME_TRY(me_llama_ready(engine, behind + columns, err));
    for (int i = 0; i < n; i++)
        if (items[i].stem && items[i].stem->n > 0) ME_TRY(me_stem_load(engine, items[i].stem, err));
    return me_llama_make_room(engine, columns, err);
}

/* The items' sequences begin as their stems. */
static void begin_sequences(me_llama *engine, const me_llama_item *items, int n) {
    llama_memory_t memory = llama_get_memory(engine->context);
    for (int i = 0; i < n; i++)
        if (items[i].stem && items[i].stem->n > 0)
            llama_memory_seq_cp(memory, items[i].stem->slot, engine->n_sequences + i, -1, -1);
}

static void end_sequences(me_llama *engine, int n) {
    for (int i = 0; i < n; i++)
        (void)llama_memory_seq_rm(llama_get_memory(engine->context), engine->n_sequences + i, -1, -1);
}

static mobiedit_status run_batch(me_llama *engine, const me_llama_job *job, const me_llama_item *items, int n,
                                 mobiedit_error *err) {
    ME_TRY(load_stems(engine, items, n, err));
    mobiedit_status status = MOBIEDIT_OK;
    /* Where the final hidden vectors were not where they had been, they are now. */
    for (int attempt = 0; attempt < 2 && status == MOBIEDIT_OK; attempt++) {
        begin_sequences(engine, items, n);
        fill_batch(engine, job, items, n);
        if (attempt > 0) engine->hook.focus = NULL; /* it has been measured */
        status = decode(engine, err);
        end_sequences(engine, n);
        if (!engine->hook.moved) return status;
    }
    if (status != MOBIEDIT_OK) return status;
    return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama's graph changes from pass to pass");
}

mobiedit_status me_llama_pass(me_llama *engine, const me_llama_job *job, const me_llama_item *items, int n,
                              mobiedit_error *err) {
    for (int first = 0, taken = 0; first < n; first += taken) {
        ME_TRY(count_items(engine, job, items + first, n - first, &taken, err));
        ME_TRY(run_batch(engine, job, items + first, taken, err));
    }
    return MOBIEDIT_OK;
}
