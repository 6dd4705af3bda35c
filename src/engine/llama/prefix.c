/* Prefixes and suffixes: of each sequence, the tokens before the edit are a stem, those from it on are run anew
 * for every delta. */
#include "engine/llama/llama_engine.h"

#include "base/memory.h"
#include "engine/sequences.h"

#include <math.h>
#include <string.h>

typedef struct {
    me_prefix base;
    me_stem *stems;       /* [n_sequences]: the tokens before edit_pos */
    me_llama_item *items; /* [n_sequences]: the rest, without deltas */
    int32_t *tokens;      /* [suffix_tokens]: of all items */
    int *edits;           /* columns of all items */
} me_llama_prefix;

void me_llama_prefix_free(me_engine *base, me_prefix *p) {
    me_llama_prefix *prefix = (me_llama_prefix *)p;
    if (!prefix) return;
    for (int i = 0; i < p->n_sequences && prefix->stems; i++)
        me_stem_close((me_llama *)base, &prefix->stems[i]);
    me_free(prefix->stems);
    me_free(prefix->items);
    me_free(prefix->tokens);
    me_free(prefix->edits);
    me_prefix_free_arrays(p);
    me_free(prefix);
}

/* ---- room ---------------------------------------------------------------------------------------------- */

static int n_later(const me_engine *engine, const me_prefix *prefix) {
    return engine->model->n_layer - prefix->layer - 1;
}

static mobiedit_status allocate(const me_engine *engine, const me_sequence *sequences,
                                me_llama_prefix *prefix, mobiedit_error *err) {
    const me_model *model = engine->model;
    me_prefix *base = &prefix->base;
    const size_t d = (size_t)model->d_model, n = (size_t)base->n_sequences,
                 later = (size_t)n_later(engine, base);
    size_t n_edits = 0;
    for (int i = 0; i < base->n_sequences; i++) {
        base->suffix_tokens += (size_t)(me_sequence_columns(&sequences[i]) - sequences[i].edit_pos);
        n_edits += 1 + (size_t)me_sequence_more(&sequences[i]);
    }
    prefix->stems = me_calloc(n, sizeof *prefix->stems);
    prefix->items = me_calloc(n, sizeof *prefix->items);
    prefix->tokens = me_calloc(base->suffix_tokens, sizeof *prefix->tokens);
    prefix->edits = me_calloc(n_edits, sizeof *prefix->edits);
    base->values = me_calloc(n, d * sizeof(float));
    base->hidden = me_calloc(n * (size_t)base->n_read, d * sizeof(float));
    base->attention = me_calloc(later * (size_t)model->n_head, sizeof(float));
    base->rms = me_calloc(later, sizeof(float));
    const bool ok = prefix->stems && prefix->items && prefix->tokens && prefix->edits && base->values &&
                    base->hidden && base->attention && base->rms;
    for (size_t i = 0; i < n && prefix->stems; i++)
        prefix->stems[i].slot = -1;
    return ok ? MOBIEDIT_OK : me_fail_memory(err, "a prefix");
}

static mobiedit_status cut_up(const me_sequence *sequences, me_llama_prefix *prefix, mobiedit_error *err) {
    int32_t *tokens = prefix->tokens;
    int *edits = prefix->edits;
    for (int i = 0; i < prefix->base.n_sequences; i++) {
        const me_sequence *s = &sequences[i];
        const int n_columns = me_sequence_columns(s) - s->edit_pos, n_edits = 1 + me_sequence_more(s);
        ME_TRY(me_stem_open(s->tokens, s->edit_pos, &prefix->stems[i], err));
        memcpy(tokens, s->tokens + s->edit_pos, (size_t)n_columns * sizeof *tokens);
        for (int j = 0; j < n_edits; j++)
            edits[j] = me_edit_at(s->edit_pos, s->more_pos, j) - s->edit_pos;
        prefix->items[i] = (me_llama_item){.stem = &prefix->stems[i],
                                           .tokens = tokens,
                                           .n_columns = n_columns,
                                           .read = s->read_pos - s->edit_pos,
                                           .n_read = s->n_read,
                                           .edits = edits,
                                           .n_edits = n_edits};
        tokens += n_columns;
        edits += n_edits;
    }
    return MOBIEDIT_OK;
}

/* ---- the first pass ------------------------------------------------------------------------------------ */

/* Read positions behind their sequence's edit. */
static int count_readers(const me_llama_prefix *prefix) {
    int n = 0;
    for (int i = 0; i < prefix->base.n_sequences; i++)
        n += prefix->items[i].n_read - (prefix->items[i].read > 0 ? 0 : 1);
    return n;
}

/* libllama adds the bias behind the product that the hook reads. Of experts' biases the mean is near enough:
 * a value says how long a delta may be. */
static mobiedit_status add_bias(const me_model *model, me_prefix *base, mobiedit_error *err) {
    const me_tensor *bias = &model->layers[base->layer].down_b;
    const size_t d = (size_t)model->d_model;
    if (!bias->data) return MOBIEDIT_OK;
    float *row = me_calloc(d, sizeof *row);
    if (!row) return me_fail_memory(err, "a prefix");
    for (int64_t r = 0; r < bias->n_out; r++) {
        me_tensor_row(bias, r, row);
        for (size_t i = 0; i < (size_t)base->n_sequences * d; i++)
            base->values[i] += row[i % d] / (float)bias->n_out;
    }
    me_free(row);
    return MOBIEDIT_OK;
}

static mobiedit_status measure(me_llama *engine, me_llama_prefix *prefix, mobiedit_error *err) {
    me_prefix *base = &prefix->base;
    const size_t d = (size_t)engine->base.model->d_model;
    const int n_readers = count_readers(prefix);
    const me_llama_focus focus = {
        .attention = base->attention, .rms = base->rms, .share = 1 / (float)base->n_sequences};
    const me_llama_job job = {.read = ME_LLAMA_HIDDEN,
                              .layer = base->layer,
                              .focus = n_later(&engine->base, base) > 0 ? &focus : NULL,
                              .reader_share = n_readers > 0 ? 1 / (float)n_readers : 0};
    for (int i = 0; i < base->n_sequences; i++) {
        prefix->items[i].out = base->hidden + (size_t)i * (size_t)base->n_read * d;
        prefix->items[i].value = base->values + (size_t)i * d;
    }
    ME_TRY(me_llama_pass(engine, &job, prefix->items, base->n_sequences, err));
    for (int i = 0; i < base->n_sequences; i++)
        prefix->items[i].value = NULL;
    /* A layer without such a norm counts like the others. */
    for (int i = 0; i < n_later(&engine->base, base); i++)
        if (!(base->rms[i] > 0)) base->rms[i] = 1;
    return add_bias(engine->base.model, base, err);
}

mobiedit_status me_llama_prefix_run(me_engine *base, int layer, const me_sequence *sequences, int n,
                                    me_prefix **out, mobiedit_error *err) {
    ME_TRY(me_check_prefix(base->model, layer, sequences, n, err));
    me_llama_prefix *prefix = me_calloc(1, sizeof *prefix);
    if (!prefix) return me_fail_memory(err, "a prefix");
    prefix->base = (me_prefix){.layer = layer, .n_sequences = n, .n_read = sequences[0].n_read};
    mobiedit_status status = allocate(base, sequences, prefix, err);
    if (status == MOBIEDIT_OK) status = cut_up(sequences, prefix, err);
    if (status == MOBIEDIT_OK) status = measure((me_llama *)base, prefix, err);
    if (status != MOBIEDIT_OK) {
        me_llama_prefix_free(base, &prefix->base);
        return status;
    }
    *out = &prefix->base;
    return MOBIEDIT_OK;
}

/* ---- suffixes ------------------------------------------------------------------------------------------ */

/* Items of one length side by side fill a batch also where sequences have recurrent states: so the sequences
 * are the outer loop. */
mobiedit_status me_llama_suffix(me_engine *base, const me_prefix *p, const float *deltas, int n_deltas,
                                const int *which, int n_which, float *hidden, mobiedit_error *err) {
    const me_llama_prefix *prefix = (const me_llama_prefix *)p;
    const size_t d = (size_t)base->model->d_model, rows = (size_t)p->n_read * d;
    ME_TRY(me_check_suffix(p, n_deltas, which, n_which, err));
    if (n_deltas < 1 || n_which < 1) return MOBIEDIT_OK;
    me_llama_item *items = me_calloc((size_t)n_deltas * (size_t)n_which, sizeof *items);
    if (!items) return me_fail_memory(err, "a batch");
    for (int w = 0; w < n_which; w++)
        for (int i = 0; i < n_deltas; i++) {
            me_llama_item *item = &items[w * n_deltas + i];
            *item = prefix->items[which[w]];
            item->delta = deltas + (size_t)i * d;
            item->out = hidden + ((size_t)i * (size_t)n_which + (size_t)w) * rows;
        }
    const me_llama_job job = {.read = ME_LLAMA_HIDDEN, .layer = p->layer};
    const mobiedit_status status = me_llama_pass((me_llama *)base, &job, items, n_deltas * n_which, err);
    me_free(items);
    return status;
}

/* The difference of two passes: libllama rounds each by itself. */
mobiedit_status me_llama_responses(me_engine *base, const me_prefix *prefix, const float *from,
                                   const float *deltas, int n_deltas, const int *which, int n_which,
                                   float *responses, mobiedit_error *err) {
    const size_t width = (size_t)n_which * (size_t)prefix->n_read * (size_t)base->model->d_model;
    float *at = me_calloc(width, sizeof *at);
    mobiedit_status status = at ? me_llama_suffix(base, prefix, from, 1, which, n_which, at, err)
                                : me_fail_memory(err, "responses");
    if (status == MOBIEDIT_OK)
        status = me_llama_suffix(base, prefix, deltas, n_deltas, which, n_which, responses, err);
    for (size_t i = 0; status == MOBIEDIT_OK && i < (size_t)n_deltas * width; i++)
        responses[i] -= at[i % width];
    me_free(at);
    return status;
}
