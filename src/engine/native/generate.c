/* What the model says behind sequences: one pass over them that keeps K and V, and one column a token then. */
#include "base/memory.h"
#include "engine/likeliest.h"
#include "engine/native/layer.h"
#include "engine/native/prefix.h"

#include <string.h>

/* Some of the sequences, which run together. */
typedef struct {
    me_native *engine;
    const me_sequence *sequences; /* each is read at its last token */
    int n, n_tokens;
    float **past;             /* [n][n_layer][K, V][n_head_kv][room][head_dim] */
    int32_t *tokens;          /* [n][n_tokens] */
    const me_sequence *reads; /* the same sequences with the positions whose keys are read */
    int layer;                /* of the keys */
    float *keys;              /* each sequence's own, behind those of the one before; NULL: not wanted */
    float *logits;            /* [me_logit_rows(n)][n_vocab] */
} talk;

/* Positions that a sequence's past has room for. */
static int room_of(const talk *t, int i) {
    return t->sequences[i].n_tokens + t->n_tokens;
}

static float *past_of(const talk *t, int i, int layer) {
    return t->past[i] + (size_t)layer * me_past_width(t->engine->base.model, room_of(t, i));
}

/* Column of a sequence's position. */
static int column_of(const talk *t, int i, int position) {
    const me_batch *batch = &t->engine->batch;
    return me_batch_column(batch, me_batch_own(batch, i, t->n), position);
}

/* Keeps a layer's K and V of the batch. */
static void keep(const talk *t, int layer) {
    for (int i = 0; i < t->n; i++) {
        const me_span *own = me_batch_own(&t->engine->batch, i, t->n);
        float *past = past_of(t, i, layer);
        for (int p = own->past ? own->n_past : 0; p < own->n_past + own->n; p++)
            me_batch_keep(t->engine, column_of(t, i, p), past, room_of(t, i), p);
    }
}

/* What the MLP is about to read: of the sequences if k is 0, else of the tokens that were said last. */
static void take_keys(const talk *t, int k) {
    const size_t d = (size_t)t->engine->base.model->d_model;
    const float *inputs = t->engine->batch.h;
    float *to = t->keys;
    for (int i = 0; i < t->n; i++) {
        const me_sequence *read = &t->reads[i];
        if (k) memcpy(to + (size_t)(read->n_read + k - 1) * d, inputs + (size_t)i * d, d * sizeof *to);
        for (int j = 0; !k && j < read->n_read; j++)
            memcpy(to + (size_t)j * d, inputs + (size_t)column_of(t, i, read->read_pos + j) * d,
                   d * sizeof *to);
        to += (size_t)(read->n_read + t->n_tokens - 1) * d;
    }
}

static void run_layers(const talk *t, int k) {
    const int n_layer = t->engine->base.model->n_layer;
    for (int i = 0; i < n_layer; i++) {
        me_layer_attention(t->engine, i, i == n_layer - 1, NULL);
        keep(t, i);
        if (t->keys && i == t->layer) take_keys(t, k);
        me_layer_mlp(t->engine, i);
    }
}

/* The k-th token of each sequence, by the batch's rows. hidden [n][d_model] is scratch: the batch is used anew. */
static mobiedit_status choose(const talk *t, int k, float *hidden, mobiedit_error *err) {
    const size_t d = (size_t)t->engine->base.model->d_model;
    memcpy(hidden, t->engine->batch.x, (size_t)t->n * d * sizeof *hidden);
    return me_likeliest(&t->engine->base, hidden, t->n, t->logits, t->tokens + k, t->n_tokens, err);
}

/* A batch of the (k - 1)-th tokens. */
static mobiedit_status begin_next(const talk *t, int k, mobiedit_error *err) {
    int longest = 0;
    for (int i = 0; i < t->n; i++)
        if (room_of(t, i) > longest) longest = room_of(t, i);
    ME_TRY(me_batch_begin(t->engine, t->n, longest, err));
    for (int i = 0; i < t->n; i++) {
        const int position = t->sequences[i].n_tokens + k - 1;
        me_batch_add(&t->engine->batch, (me_span){.n = 1,
                                                  .n_past = position,
                                                  .past = t->past[i],
                                                  .past_room = room_of(t, i),
                                                  .read_pos = position,
                                                  .n_read = 1,
                                                  .base = -1});
        me_batch_embed_row(t->engine, i, t->tokens[(size_t)i * (size_t)t->n_tokens + (size_t)k - 1]);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status run(talk *t, float *hidden, mobiedit_error *err) {
    ME_TRY(me_batch_embed(t->engine, t->sequences, t->n, false, err));
    for (int k = 0; k < t->n_tokens; k++) {
        if (k) ME_TRY(begin_next(t, k, err));
        run_layers(t, k);
        ME_TRY(choose(t, k, hidden, err));
    }
    return MOBIEDIT_OK;
}

/* Makes room for the sequences' pasts, runs them, and gives the room back. */
static mobiedit_status run_some(talk *t, mobiedit_error *err) {
    const me_model *model = t->engine->base.model;
    float *hidden = me_calloc((size_t)t->n, (size_t)model->d_model * sizeof *hidden);
    t->past = me_calloc((size_t)t->n, sizeof *t->past);
    bool ok = hidden && t->past;
    for (int i = 0; ok && i < t->n; i++) {
        t->past[i] = me_calloc((size_t)model->n_layer, me_past_width(model, room_of(t, i)) * sizeof(float));
        ok = t->past[i] != NULL;
    }
    const mobiedit_status status = ok ? run(t, hidden, err) : me_fail_memory(err, "keys and values");
    for (int i = 0; t->past && i < t->n; i++)
        me_free(t->past[i]);
    me_free(t->past);
    me_free(hidden);
    return status;
}

static mobiedit_status run_all(talk *t, const me_sequence *sequences, const me_sequence *reads, int n,
                               int32_t *tokens, mobiedit_error *err) {
    const size_t d = (size_t)t->engine->base.model->d_model;
    for (int first = 0; first < n; first += t->n) {
        ME_TRY(me_batch_take(t->engine, me_sequence_columns_at, sequences, first, n, &t->n, err));
        t->sequences = sequences + first;
        t->reads = reads + first;
        t->tokens = tokens + (size_t)first * (size_t)t->n_tokens;
        ME_TRY(run_some(t, err));
        for (int i = 0; t->keys && i < t->n; i++)
            t->keys += (size_t)(t->reads[i].n_read + t->n_tokens - 1) * d;
    }
    return MOBIEDIT_OK;
}

/* Keys are read up to a sequence's end, of a layer that runs for all of it. */
static mobiedit_status check_reads(const me_model *model, const me_sequence *sequences, int n, int layer,
                                   mobiedit_error *err) {
    ME_TRY(me_check_sequences(model, layer, sequences, n, err));
    if (layer >= model->n_layer - 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "no keys of the last layer while a model goes on with a text");
    for (int i = 0; i < n; i++)
        if (sequences[i].read_pos + sequences[i].n_read != sequences[i].n_tokens)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "sequence %d is not read up to its end", i);
    return MOBIEDIT_OK;
}

mobiedit_status me_native_generate(me_engine *base, const me_sequence *sequences, int n, int n_tokens,
                                   int32_t *tokens, int layer, float *keys, mobiedit_error *err) {
    if (keys) ME_TRY(check_reads(base->model, sequences, n, layer, err));
    me_sequence *last = me_calloc((size_t)n, sizeof *last);
    talk t = {.engine = (me_native *)base,
              .n_tokens = n_tokens,
              .layer = layer,
              .keys = keys,
              .logits =
                  me_calloc((size_t)me_logit_rows(base->model, (size_t)n) * (size_t)base->model->n_vocab,
                            sizeof *t.logits)};
    mobiedit_status status = last && t.logits ? MOBIEDIT_OK : me_fail_memory(err, "what the model says");
    for (int i = 0; status == MOBIEDIT_OK && i < n; i++)
        last[i] = (me_sequence){.tokens = sequences[i].tokens,
                                .n_tokens = sequences[i].n_tokens,
                                .read_pos = sequences[i].n_tokens - 1,
                                .n_read = 1};
    if (status == MOBIEDIT_OK) status = me_check_sequences(base->model, 0, last, n, err);
    if (status == MOBIEDIT_OK) status = run_all(&t, last, sequences, n, tokens, err);
    me_free(t.logits);
    me_free(last);
    return status;
}
