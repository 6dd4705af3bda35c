/* The native engine's prefixes and suffixes. */
#include "engine/native/prefix.h"

#include "base/memory.h"
#include "engine/native/layer.h"
#include "engine/native/vector.h"

#include <math.h>
#include <string.h>

/* One sequence of a prefix: where its shares of the arrays below begin. */
typedef struct {
    int edit_pos, read_pos;
    int n_columns;       /* positions edit_pos .. last read position */
    const int *more_pos; /* [n_more]: those after edit_pos where delta comes in too; in `more_pos` below */
    int n_more;
    size_t first_state; /* rows of `states` before it */
    size_t first_value; /* rows of `values` before it */
    float *past;        /* [n_layer - layer - 1][K, V][n_head_kv][edit_pos][head_dim] */
} kept_sequence;

/* state: the residual after `layer`; where delta comes in, the residual before that layer's MLP output is
 * added: the output is in `values`, and a norm may stand between them. */
typedef struct {
    me_prefix base;
    kept_sequence *sequences; /* [n_sequences] */
    int *more_pos;            /* all sequences' */
    float *states;            /* [suffix_tokens][d_model] */
    float *values;            /* [sum 1 + n_more][d_model] */
} native_prefix;

void me_native_prefix_free(me_engine *engine, me_prefix *base) {
    native_prefix *prefix = (native_prefix *)base;
    (void)engine;
    if (!prefix) return;
    for (int i = 0; prefix->sequences && i < base->n_sequences; i++)
        me_free(prefix->sequences[i].past);
    me_free(prefix->sequences);
    me_free(prefix->more_pos);
    me_free(prefix->states);
    me_free(prefix->values);
    me_prefix_free_arrays(base);
    me_free(prefix);
}

/* Copies the sequences' positions. Returns how many rows `values` needs. */
static size_t copy_edits(native_prefix *prefix, const me_sequence *sequences) {
    int *more_pos = prefix->more_pos;
    size_t n_values = 0;
    for (int i = 0; i < prefix->base.n_sequences; i++) {
        kept_sequence *kept = &prefix->sequences[i];
        kept->first_value = n_values;
        kept->more_pos = more_pos;
        kept->n_more = me_sequence_more(&sequences[i]);
        for (int j = 0; j < kept->n_more; j++)
            *more_pos++ = sequences[i].more_pos[j];
        n_values += 1 + (size_t)kept->n_more;
    }
    return n_values;
}

static bool allocate_edits(const me_model *model, native_prefix *prefix, const me_sequence *sequences) {
    size_t n_more = 0;
    for (int i = 0; i < prefix->base.n_sequences; i++)
        n_more += (size_t)me_sequence_more(&sequences[i]);
    prefix->more_pos = me_calloc(n_more, sizeof *prefix->more_pos);
    if (!prefix->more_pos) return false;
    prefix->values = me_calloc(copy_edits(prefix, sequences), (size_t)model->d_model * sizeof(float));
    return prefix->values != NULL;
}

static bool allocate_sequences(const me_model *model, native_prefix *prefix, const me_sequence *sequences) {
    me_prefix *base = &prefix->base;
    size_t later = (size_t)(model->n_layer - base->layer - 1);
    prefix->sequences = me_calloc((size_t)base->n_sequences, sizeof *prefix->sequences);
    if (!prefix->sequences || !allocate_edits(model, prefix, sequences)) return false;
    for (int i = 0; i < base->n_sequences; i++) {
        kept_sequence *kept = &prefix->sequences[i];
        kept->edit_pos = sequences[i].edit_pos;
        kept->read_pos = sequences[i].read_pos;
        kept->n_columns = me_sequence_columns(&sequences[i]) - kept->edit_pos;
        kept->first_state = base->suffix_tokens;
        kept->past = me_calloc(later * me_past_width(model, kept->edit_pos), sizeof *kept->past);
        if (!kept->past) return false;
        base->suffix_tokens += (size_t)kept->n_columns;
    }
    return true;
}

static mobiedit_status allocate(const me_model *model, int layer, const me_sequence *sequences, int n,
                                native_prefix **out, mobiedit_error *err) {
    native_prefix *prefix = me_calloc(1, sizeof *prefix);
    if (!prefix) return me_fail_memory(err, "a prefix");
    me_prefix *base = &prefix->base;
    *base = (me_prefix){.layer = layer, .n_sequences = n, .n_read = sequences[0].n_read};
    size_t d = (size_t)model->d_model, count = (size_t)n, later = (size_t)(model->n_layer - layer - 1);
    bool ok = allocate_sequences(model, prefix, sequences);
    prefix->states = ok ? me_calloc(base->suffix_tokens, d * sizeof(float)) : NULL;
    base->values = me_calloc(count, d * sizeof(float));
    base->hidden = me_calloc(count * (size_t)base->n_read, d * sizeof(float));
    base->attention = me_calloc(later * (size_t)model->n_head, sizeof(float));
    base->rms = me_calloc(later, sizeof(float));
    if (!prefix->states || !base->values || !base->hidden || !base->attention || !base->rms) {
        me_native_prefix_free(NULL, base);
        return me_fail_memory(err, "a prefix");
    }
    *out = prefix;
    return MOBIEDIT_OK;
}

/* ---- filling it: every function keeps something of the batch, which holds n sequences from `first` on -- */

typedef struct {
    me_native *engine;
    native_prefix *prefix;
    int first, n;
} fill_job;

static const me_span *own_span(const fill_job *job, int i) {
    return me_batch_own(&job->engine->batch, i, job->n);
}

/* Stems end before it. */
static size_t edit_row(const me_span *span) {
    return (size_t)(span->first + span->edit_pos - span->n_past);
}

static void keep_past(const fill_job *job, int index) {
    const me_native *engine = job->engine;
    const size_t later = (size_t)(index - job->prefix->base.layer - 1);
    for (int i = 0; i < job->n; i++) {
        const kept_sequence *kept = &job->prefix->sequences[job->first + i];
        float *past = kept->past + later * me_past_width(engine->base.model, kept->edit_pos);
        for (int position = 0; position < kept->edit_pos; position++)
            me_batch_keep(engine, me_batch_column(&engine->batch, own_span(job, i), position), past,
                          kept->edit_pos, position);
    }
}

/* The sequence's column, counted from edit_pos, where delta comes in for the i-th time. */
static size_t edited_column(const kept_sequence *kept, int i) {
    return (size_t)(me_edit_at(kept->edit_pos, kept->more_pos, i) - kept->edit_pos);
}

static void keep_values(const fill_job *job) {
    const me_batch *batch = &job->engine->batch;
    native_prefix *prefix = job->prefix;
    size_t d = (size_t)job->engine->base.model->d_model;
    for (int i = 0; i < job->n; i++) {
        const kept_sequence *kept = &prefix->sequences[job->first + i];
        float *values = prefix->values + kept->first_value * d;
        for (int j = 0; j <= kept->n_more; j++) {
            size_t column = edited_column(kept, j), row = edit_row(own_span(job, i)) + column;
            memcpy(values + (size_t)j * d, batch->out + row * job->engine->out_stride, d * sizeof(float));
            memcpy(prefix->states + (kept->first_state + column) * d, batch->x + row * d, d * sizeof(float));
        }
        memcpy(prefix->base.values + (size_t)(job->first + i) * d, values, d * sizeof(float));
    }
}

/* The columns between those that keep_values kept. */
static void keep_states(const fill_job *job) {
    size_t d = (size_t)job->engine->base.model->d_model;
    for (int i = 0; i < job->n; i++) {
        const kept_sequence *kept = &job->prefix->sequences[job->first + i];
        size_t row = edit_row(own_span(job, i));
        for (int j = 0; j <= kept->n_more; j++) {
            size_t from = edited_column(kept, j) + 1;
            size_t to = j < kept->n_more ? edited_column(kept, j + 1) : (size_t)kept->n_columns;
            memcpy(job->prefix->states + (kept->first_state + from) * d,
                   job->engine->batch.x + (row + from) * d, (to - from) * d * sizeof(float));
        }
    }
}

static void keep_rms(const fill_job *job, int index) {
    me_prefix *base = &job->prefix->base;
    int d = job->engine->base.model->d_model;
    for (int i = 0; i < job->n; i++) {
        const float *x = job->engine->batch.x + edit_row(own_span(job, i)) * (size_t)d;
        base->rms[index - base->layer - 1] += sqrtf(me_dot(x, x, d) / (float)d) / (float)base->n_sequences;
    }
}

/* Adds one layer's attention to edit_pos, focus [n_reads][n_head], over the read positions behind it. */
static void keep_attention(const fill_job *job, int index, const float *focus) {
    const me_prefix *base = &job->prefix->base;
    int n_head = job->engine->base.model->n_head;
    float *sums = base->attention + (size_t)(index - base->layer - 1) * (size_t)n_head;
    for (int i = 0; i < job->n; i++) {
        const me_span *span = own_span(job, i);
        for (int r = span->read_pos > span->edit_pos ? 0 : 1; r < span->n_read; r++)
            me_add_scaled(sums, focus + (size_t)(span->first_read + r) * (size_t)n_head, 1.0f, n_head);
    }
}

static void average_attention(const me_model *model, native_prefix *prefix) {
    const me_prefix *base = &prefix->base;
    int readers = 0, n = (model->n_layer - base->layer - 1) * model->n_head;
    for (int i = 0; i < base->n_sequences; i++)
        readers += base->n_read - (prefix->sequences[i].read_pos > prefix->sequences[i].edit_pos ? 0 : 1);
    for (int i = 0; readers > 0 && i < n; i++)
        base->attention[i] /= (float)readers;
}

static void run_edited_layer(const fill_job *job) {
    int layer = job->prefix->base.layer;
    me_layer_attention(job->engine, layer, false, NULL);
    me_layer_key(job->engine, layer);
    me_layer_value(job->engine, layer);
    keep_values(job);
    me_layer_residual(job->engine, layer);
    keep_states(job);
}

/* K and V stay in the batch only until the MLP. */
static void run_later_layer(const fill_job *job, int index, float *focus) {
    keep_rms(job, index);
    me_layer_attention(job->engine, index, index == job->engine->base.model->n_layer - 1, focus);
    keep_past(job, index);
    keep_attention(job, index, focus);
    me_layer_mlp(job->engine, index);
}

static void run_layers(const fill_job *job, float *focus) {
    int n_layer = job->engine->base.model->n_layer, layer = job->prefix->base.layer;
    for (int i = 0; i < layer; i++)
        me_layer_run(job->engine, i, false, NULL);
    run_edited_layer(job);
    for (int i = layer + 1; i < n_layer; i++)
        run_later_layer(job, i, focus);
    if (layer == n_layer - 1) me_batch_narrow(job->engine);
}

static mobiedit_status fill(me_native *engine, native_prefix *prefix, const me_sequence *sequences,
                            float *focus, mobiedit_error *err) {
    int n = prefix->base.n_sequences;
    float *hidden = prefix->base.hidden;
    fill_job job = {.engine = engine, .prefix = prefix};
    for (; job.first < n; job.first += job.n) {
        ME_TRY(me_batch_take(engine, me_sequence_columns_at, sequences, job.first, n, &job.n, err));
        ME_TRY(me_batch_embed(engine, sequences + job.first, job.n, true, err));
        run_layers(&job, focus);
        size_t count = (size_t)engine->batch.n_rows * (size_t)engine->base.model->d_model;
        memcpy(hidden, engine->batch.x, count * sizeof *hidden);
        hidden += count;
    }
    average_attention(engine->base.model, prefix);
    return MOBIEDIT_OK;
}

mobiedit_status me_native_prefix(me_engine *base, int layer, const me_sequence *sequences, int n,
                                 me_prefix **out, mobiedit_error *err) {
    me_native *engine = (me_native *)base;
    native_prefix *prefix = NULL;
    ME_TRY(me_check_prefix(base->model, layer, sequences, n, err));
    ME_TRY(allocate(base->model, layer, sequences, n, &prefix, err));
    float *focus =
        me_calloc((size_t)n * (size_t)prefix->base.n_read, (size_t)base->model->n_head * sizeof *focus);
    mobiedit_status status =
        focus ? fill(engine, prefix, sequences, focus, err) : me_fail_memory(err, "attention weights");
    me_free(focus);
    if (status != MOBIEDIT_OK) {
        me_native_prefix_free(base, &prefix->base);
        return status;
    }
    *out = &prefix->base;
    return MOBIEDIT_OK;
}

/* ---- suffix: item i is delta i / n_which on sequence which[i % n_which] -------------------------------- */

typedef struct {
    me_native *engine;
    const native_prefix *prefix;
    const float *base;   /* [d_model]: every batch begins with it on each sequence of which; NULL: without */
    const float *deltas; /* [n_deltas][d_model] */
    const int *which;    /* [n_which] */
    int n_which;
    int first; /* item of the batch's first span after the bases */
} suffix_job;

static const kept_sequence *sequence_of(const suffix_job *job, int item) {
    return &job->prefix->sequences[job->which[item % job->n_which]];
}

static int n_bases(const suffix_job *job) {
    return job->base ? job->n_which : 0;
}

/* A batch's spans are the bases, then items from `first` on; a base stands on the sequence of the item of the
 * same number. */
static int item_of(const suffix_job *job, int index) {
    return index < n_bases(job) ? index : job->first + index - n_bases(job);
}

/* The batch's first item also pays for the bases. */
static int suffix_columns(const void *context, int item) {
    const suffix_job *job = context;
    int columns = sequence_of(job, item)->n_columns;
    for (int i = 0; item == job->first && i < n_bases(job); i++)
        columns += sequence_of(job, i)->n_columns;
    return columns;
}

/* x of one span: the kept states, with the edited layer's MLP output plus delta where delta comes in. */
static void load_span(const suffix_job *job, int index) {
    me_native *engine = job->engine;
    size_t d = (size_t)engine->base.model->d_model, row = (size_t)engine->batch.spans[index].first;
    int item = item_of(job, index);
    const float *delta = index < n_bases(job) ? job->base : job->deltas + (size_t)(item / job->n_which) * d;
    const kept_sequence *kept = sequence_of(job, item);
    float *x = engine->batch.x + row * d, *out = engine->batch.out + row * engine->out_stride;
    memcpy(x, job->prefix->states + kept->first_state * d, (size_t)kept->n_columns * d * sizeof *x);
    for (int i = 0; i <= kept->n_more; i++) {
        memcpy(out, job->prefix->values + (kept->first_value + (size_t)i) * d, d * sizeof *out);
        me_add_scaled(out, delta, 1.0f, (int)d);
        me_residual_row(engine, job->prefix->base.layer, x + edited_column(kept, i) * d, out);
    }
}

static void load_spans(void *context, int first, int last, int thread) {
    (void)thread;
    for (int i = first; i < last; i++)
        load_span(context, i);
}

static mobiedit_status begin_suffix(suffix_job *job, int n_items, mobiedit_error *err) {
    int n_spans = n_bases(job) + n_items, n_columns = 0, longest = 0;
    for (int i = 0; i < n_spans; i++) {
        const kept_sequence *kept = sequence_of(job, item_of(job, i));
        n_columns += kept->n_columns;
        if (kept->edit_pos + kept->n_columns > longest) longest = kept->edit_pos + kept->n_columns;
    }
    ME_TRY(me_batch_begin(job->engine, n_columns, longest, err));
    for (int i = 0; i < n_spans; i++) {
        const kept_sequence *kept = sequence_of(job, item_of(job, i));
        me_batch_add(&job->engine->batch,
                     (me_span){.n = kept->n_columns,
                               .n_past = kept->edit_pos,
                               .past = kept->past,
                               .past_room = kept->edit_pos,
                               .past_layer = job->prefix->base.layer + 1,
                               .edit_pos = kept->edit_pos,
                               .read_pos = kept->read_pos,
                               .n_read = job->prefix->base.n_read,
                               .base = i < n_bases(job) || !job->base ? -1 : item_of(job, i) % job->n_which});
    }
    me_for_rows(job->engine, n_spans, load_spans, job);
    return MOBIEDIT_OK;
}

static void run_later_layers(me_native *engine, int layer) {
    int last = engine->base.model->n_layer - 1;
    for (int i = layer + 1; i <= last; i++)
        me_layer_run(engine, i, i == last, NULL);
    if (layer == last) me_batch_narrow(engine);
}

/* The batch's final hidden vectors, behind the bases', or their differences from the bases'. */
static float *take_hidden(const suffix_job *job, float *out) {
    const me_batch *batch = &job->engine->batch;
    int d = job->engine->base.model->d_model, first = n_bases(job) * job->prefix->base.n_read;
    for (int row = first; row < batch->n_rows; row++, out += d) {
        memcpy(out, batch->x + (size_t)row * (size_t)d, (size_t)d * sizeof *out);
        if (batch->base_row[row] >= 0)
            me_add_scaled(out, batch->x + (size_t)batch->base_row[row] * (size_t)d, -1.0f, d);
    }
    return out;
}

static mobiedit_status run_suffix(suffix_job *job, int n_deltas, float *out, mobiedit_error *err) {
    ME_TRY(me_check_suffix(&job->prefix->base, n_deltas, job->which, job->n_which, err));
    int n_items = n_deltas * job->n_which;
    for (int taken = 0; job->first < n_items; job->first += taken) {
        ME_TRY(me_batch_take(job->engine, suffix_columns, job, job->first, n_items, &taken, err));
        ME_TRY(begin_suffix(job, taken, err));
        run_later_layers(job->engine, job->prefix->base.layer);
        out = take_hidden(job, out);
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_native_suffix(me_engine *base, const me_prefix *prefix, const float *deltas, int n_deltas,
                                 const int *which, int n_which, float *hidden, mobiedit_error *err) {
    suffix_job job = {.engine = (me_native *)base,
                      .prefix = (const native_prefix *)prefix,
                      .deltas = deltas,
                      .which = which,
                      .n_which = n_which};
    return run_suffix(&job, n_deltas, hidden, err);
}

mobiedit_status me_native_responses(me_engine *engine, const me_prefix *prefix, const float *base,
                                    const float *deltas, int n_deltas, const int *which, int n_which,
                                    float *responses, mobiedit_error *err) {
    suffix_job job = {.engine = (me_native *)engine,
                      .prefix = (const native_prefix *)prefix,
                      .base = base,
                      .deltas = deltas,
                      .which = which,
                      .n_which = n_which};
    return run_suffix(&job, n_deltas, responses, err);
}
