/* The batch of columns: its buffers, its rows, and loops over them by many threads. */
#include "engine/native/batch.h"

#include "base/memory.h"

#include <string.h>

enum {
    LINE_FLOATS = 16,      /* floats of a cache line */
    MAX_COLUMNS = 1 << 20, /* more do not make a batch faster */
    MAX_ROWS_PER_TASK = 32,
};

/* Rows of a buffer lie an odd number of cache lines apart, so that the same place of many rows does not fall
 * into the same cache set. */
static size_t odd_lines(size_t floats) {
    return ((floats + LINE_FLOATS - 1) / LINE_FLOATS | 1) * LINE_FLOATS;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t blocks_of(size_t n_in) {
    return (n_in + ME_BLOCK - 1) / ME_BLOCK;
}

size_t me_q_width(const me_model *model) {
    return (size_t)model->n_head * (size_t)model->head_dim;
}

size_t me_kv_width(const me_model *model) {
    return (size_t)model->n_head_kv * (size_t)model->head_dim;
}

const float *me_batch_k(const me_native *engine, int column) {
    return engine->batch.wide + (size_t)column * engine->wide_stride + me_q_width(engine->base.model);
}

const float *me_batch_v(const me_native *engine, int column) {
    return me_batch_k(engine, column) + me_kv_width(engine->base.model);
}

size_t me_past_width(const me_model *model, int room) {
    return 2 * me_kv_width(model) * (size_t)room;
}

void me_batch_keep(const me_native *engine, int column, float *past, int room, int position) {
    const me_model *model = engine->base.model;
    const size_t head_dim = (size_t)model->head_dim, size = head_dim * sizeof *past;
    const float *k = me_batch_k(engine, column), *v = me_batch_v(engine, column);
    float *to_k = past + (size_t)position * head_dim, *to_v = to_k + me_past_width(model, room) / 2;
    for (int head = 0; head < model->n_head_kv; head++) {
        const size_t to = (size_t)head * (size_t)room * head_dim, from = (size_t)head * head_dim;
        memcpy(to_k + to, k + from, size);
        memcpy(to_v + to, v + from, size);
    }
}

void me_batch_plan(me_native *engine) {
    const me_model *model = engine->base.model;
    size_t d = (size_t)model->d_model, d_ff = (size_t)model->d_ff;
    size_t q = me_q_width(model), kv = me_kv_width(model);
    engine->wide_stride = odd_lines(max_size(q + 2 * kv, 2 * d_ff));
    engine->out_stride = odd_lines(d);
    engine->h_width = max_size(max_size(d, d_ff), q);
    size_t floats = d + engine->h_width + engine->wide_stride + engine->out_stride;
    size_t block_bytes = ME_BLOCK + 2 * sizeof(float) + 2 * sizeof(int16_t);
    engine->bytes_per_column =
        floats * sizeof(float) + blocks_of(engine->h_width) * block_bytes + 3 * sizeof(int) + sizeof(me_span);
}

void me_batch_free(me_batch *batch) {
    me_free(batch->position);
    me_free(batch->span_of);
    me_free(batch->base_row);
    me_free(batch->spans);
    me_free(batch->x);
    me_free(batch->h);
    me_free(batch->wide);
    me_free(batch->out);
    me_free(batch->act.q);
    me_free(batch->act.d);
    me_free(batch->act.s);
    me_free(batch->act.half_sums);
    me_free(batch->fixed);
    *batch = (me_batch){0};
}

static mobiedit_status allocate(me_native *engine, int n_columns, mobiedit_error *err) {
    me_batch *batch = &engine->batch;
    size_t n = (size_t)n_columns, blocks = me_act_blocks(n, engine->h_width);
    me_batch_free(batch);
    batch->position = me_calloc(n, sizeof *batch->position);
    batch->span_of = me_calloc(n, sizeof *batch->span_of);
    batch->base_row = me_calloc(n, sizeof *batch->base_row);
    batch->spans = me_calloc(n, sizeof *batch->spans);
    batch->x = me_calloc(n, (size_t)engine->base.model->d_model * sizeof(float));
    batch->h = me_calloc(n, engine->h_width * sizeof(float));
    batch->wide = me_calloc(n, engine->wide_stride * sizeof(float));
    batch->out = me_calloc(n, engine->out_stride * sizeof(float));
    batch->act.q = me_calloc(blocks, ME_BLOCK);
    batch->act.d = me_calloc(blocks, sizeof(float));
    batch->act.s = me_calloc(blocks, sizeof(float));
    batch->act.half_sums = me_calloc(blocks, 2 * sizeof(int16_t));
    if (engine->profile) batch->fixed = me_calloc(n, engine->h_width * sizeof *batch->fixed);
    if ((engine->profile && !batch->fixed) || !batch->position || !batch->span_of || !batch->base_row ||
        !batch->spans || !batch->x || !batch->h || !batch->wide || !batch->out || !batch->act.q ||
        !batch->act.d || !batch->act.s || !batch->act.half_sums) {
        me_batch_free(batch);
        return me_fail_memory(err, "a batch of columns");
    }
    batch->act.x = batch->h;
    batch->capacity = n_columns;
    return MOBIEDIT_OK;
}

static int max_columns(const me_native *engine) {
    size_t n = engine->budget / engine->bytes_per_column;
    return n > MAX_COLUMNS ? MAX_COLUMNS : (int)n;
}

int me_sequence_columns_at(const void *sequences, int i) {
    return me_sequence_columns((const me_sequence *)sequences + i);
}

mobiedit_status me_batch_take(const me_native *engine, me_columns_fn columns, const void *context, int first,
                              int n, int *taken, mobiedit_error *err) {
    int limit = max_columns(engine), total = 0, count = 0;
    while (first + count < n) {
        int more = columns(context, first + count);
        if (more > limit - total) break;
        total += more;
        count++;
    }
    if (count == 0)
        return me_fail(err, MOBIEDIT_E_MEMORY,
                       "a text of %d tokens needs %zu KiB of working memory, the budget is %zu KiB",
                       columns(context, first),
                       (size_t)columns(context, first) * engine->bytes_per_column / 1024,
                       engine->budget / 1024);
    *taken = count;
    return MOBIEDIT_OK;
}

static mobiedit_status reserve_scores(me_native *engine, int n_positions, mobiedit_error *err) {
    size_t width = odd_lines((size_t)n_positions);
    if (width <= engine->scores_width) return MOBIEDIT_OK;
    float *scores = me_calloc((size_t)me_pool_threads(engine->pool), width * sizeof *scores);
    if (!scores) return me_fail_memory(err, "attention scores");
    me_free(engine->scores);
    engine->scores = scores;
    engine->scores_width = width;
    return MOBIEDIT_OK;
}

mobiedit_status me_batch_begin(me_native *engine, int n_columns, int n_positions, mobiedit_error *err) {
    if (n_columns > engine->batch.capacity) ME_TRY(allocate(engine, n_columns, err));
    ME_TRY(reserve_scores(engine, n_positions, err));
    ME_TRY(me_ropes_reserve(&engine->ropes, n_positions, err));
    engine->batch.n_columns = engine->batch.n_rows = 0;
    engine->batch.n_spans = engine->batch.n_reads = 0;
    engine->batch.varied = false;
    return MOBIEDIT_OK;
}

void me_batch_add(me_batch *batch, me_span span) {
    span.first = batch->n_columns;
    span.first_read = batch->n_reads;
    for (int i = 0; i < span.n; i++) {
        batch->position[span.first + i] = span.n_past + i;
        batch->span_of[span.first + i] = batch->n_spans;
        batch->base_row[span.first + i] = span.base < 0 ? -1 : batch->spans[span.base].first + i;
    }
    batch->varied = batch->varied || span.base >= 0;
    batch->spans[batch->n_spans++] = span;
    batch->n_columns += span.n;
    batch->n_rows = batch->n_columns;
    batch->n_reads += span.n_read;
}

typedef struct {
    me_rows_fn fn;
    void *context;
    int n, rows_per_task;
} rows_job;

static void run_rows(void *context, size_t task, int thread) {
    const rows_job *job = context;
    int first = (int)task * job->rows_per_task, last = first + job->rows_per_task;
    job->fn(job->context, first, last < job->n ? last : job->n, thread);
}

void me_for_rows(me_native *engine, int n, me_rows_fn fn, void *context) {
    int per_task = n / (me_pool_threads(engine->pool) * ME_TASKS_PER_THREAD);
    per_task = per_task < 1 ? 1 : per_task > MAX_ROWS_PER_TASK ? MAX_ROWS_PER_TASK : per_task;
    rows_job job = {fn, context, n, per_task};
    me_pool_run(engine->pool, (size_t)((n + per_task - 1) / per_task), run_rows, &job);
}

typedef struct {
    me_native *engine;
    const me_sequence *sequences;
    const me_stems *stems;
} embed_job;

void me_batch_embed_row(const me_native *engine, int row, int32_t token) {
    const me_model *model = engine->base.model;
    float *x = engine->batch.x + (size_t)row * (size_t)model->d_model;
    me_tensor_row(&model->tok_embd, token, x);
    for (int i = 0; i < model->d_model; i++)
        x[i] *= model->embedding_scale;
}

static void embed_rows(void *context, int first, int last, int thread) {
    const embed_job *job = context;
    const me_batch *batch = &job->engine->batch;
    const me_stems *stems = job->stems;
    (void)thread;
    for (int row = first; row < last; row++) {
        const int span = batch->span_of[row],
                  sequence = span < stems->n ? stems->stems[span].sequence : span - stems->n;
        me_batch_embed_row(job->engine, row, job->sequences[sequence].tokens[batch->position[row]]);
    }
}

/* Tokens of the i-th sequence that are its stem's. */
static int shared_tokens(const me_stems *stems, int i) {
    return stems->stem_of[i] >= 0 ? stems->stems[stems->stem_of[i]].n : 0;
}

static mobiedit_status embed(me_native *engine, const me_sequence *sequences, int n, const me_stems *stems,
                             mobiedit_error *err) {
    int n_columns = 0, longest = 0;
    for (int i = 0; i < stems->n; i++)
        n_columns += stems->stems[i].n;
    for (int i = 0; i < n; i++) {
        int columns = me_sequence_columns(&sequences[i]);
        n_columns += columns - shared_tokens(stems, i);
        if (columns > longest) longest = columns;
    }
    ME_TRY(me_batch_begin(engine, n_columns, longest, err));
    for (int i = 0; i < stems->n; i++)
        me_batch_add(&engine->batch, (me_span){.n = stems->stems[i].n, .base = -1});
    for (int i = 0; i < n; i++) {
        const me_sequence *sequence = &sequences[i];
        const int shared = shared_tokens(stems, i);
        me_batch_add(&engine->batch, (me_span){.n = me_sequence_columns(sequence) - shared,
                                               .n_past = shared,
                                               .stem = shared ? stems->stem_of[i] : 0,
                                               .edit_pos = sequence->edit_pos,
                                               .read_pos = sequence->read_pos,
                                               .n_read = sequence->n_read,
                                               .base = -1});
    }
    embed_job job = {engine, sequences, stems};
    me_for_rows(engine, n_columns, embed_rows, &job);
    return MOBIEDIT_OK;
}

mobiedit_status me_batch_embed(me_native *engine, const me_sequence *sequences, int n, bool unedited,
                               mobiedit_error *err) {
    me_stems stems;
    mobiedit_status status = me_stems_find(sequences, n, unedited, &stems, err);
    if (status == MOBIEDIT_OK) status = embed(engine, sequences, n, &stems, err);
    me_stems_free(&stems);
    return status;
}

const me_span *me_batch_own(const me_batch *batch, int i, int n) {
    return &batch->spans[batch->n_spans - n + i];
}

int me_batch_column(const me_batch *batch, const me_span *span, int position) {
    return position < span->n_past ? batch->spans[span->stem].first + position
                                   : span->first + position - span->n_past;
}

void me_batch_narrow(me_native *engine) {
    me_batch *batch = &engine->batch;
    size_t d = (size_t)engine->base.model->d_model;
    int row = 0;
    for (int i = 0; i < batch->n_spans; i++) {
        const me_span *span = &batch->spans[i];
        for (int r = 0; r < span->n_read; r++, row++) {
            int column = me_batch_column(batch, span, span->read_pos + r);
            memmove(batch->x + (size_t)row * d, batch->x + (size_t)column * d, d * sizeof(float));
            batch->position[row] = span->read_pos + r;
            batch->span_of[row] = i;
            batch->base_row[row] = span->base < 0 ? -1 : batch->spans[span->base].first_read + r;
        }
    }
    batch->n_rows = row;
}
