/* Batches of whole sequences: how many fit, and a run of them. */
#include "engine/ggml/ggml_engine.h"

#include "base/memory.h"
#include "engine/sequences.h"

mobiedit_status me_fail_budget(const me_ggml *engine, int n_tokens, size_t bytes, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_MEMORY,
                   "a text of %d tokens needs %zu KiB of working memory, the budget is %zu KiB", n_tokens,
                   bytes / 1024, engine->budget / 1024);
}

me_ggml_span me_whole_span(const me_sequence *sequence, int index) {
    return (me_ggml_span){.sequence = index,
                          .n_columns = me_sequence_columns(sequence),
                          .edit_pos = sequence->edit_pos,
                          .read_pos = sequence->read_pos,
                          .n_read = sequence->n_read};
}

/* Only a prefix's sequences have had their more_pos checked, and only a prefix needs it. */
me_ggml_span me_edited_span(const me_sequence *sequence, int index) {
    me_ggml_span span = me_whole_span(sequence, index);
    span.more_pos = sequence->more_pos;
    span.n_more = me_sequence_more(sequence);
    return span;
}

mobiedit_status me_sequences_take(const me_ggml *engine, const me_sequence *sequences, int first, int n,
                                  int *taken, mobiedit_error *err) {
    size_t bytes = 0;
    int count = 0;
    while (first + count < n) {
        size_t more = me_item_bytes(engine, me_sequence_columns(&sequences[first + count]), 0);
        if (more > engine->budget - bytes) break;
        bytes += more;
        count++;
    }
    if (count == 0) {
        int columns = me_sequence_columns(&sequences[first]);
        return me_fail_budget(engine, columns, me_item_bytes(engine, columns, 0), err);
    }
    *taken = count;
    return MOBIEDIT_OK;
}

/* x = embeddings, made here: few devices can look tokens up in a quantised table. */
static mobiedit_status put_embeddings(const me_model *model, const me_sequence *sequences,
                                      const me_layout *layout, struct ggml_tensor *x, mobiedit_error *err) {
    size_t d = (size_t)model->d_model;
    float *rows = me_calloc((size_t)layout->n_rows, d * sizeof *rows);
    if (!rows) return me_fail_memory(err, "embeddings");
    for (int i = 0; i < layout->n_spans; i++)
        for (int c = 0; c < layout->spans[i].n_columns; c++) {
            float *row = rows + (size_t)(layout->first_row[i] + c) * d;
            me_tensor_row(&model->tok_embd, sequences[i].tokens[c], row);
            for (size_t j = 0; j < d; j++)
                row[j] *= model->embedding_scale;
        }
    me_tensor_put(x, rows);
    me_free(rows);
    return MOBIEDIT_OK;
}

static mobiedit_status run_layout(me_ggml *engine, const me_graph_shape *shape, const me_sequence *sequences,
                                  me_graph **out, mobiedit_error *err) {
    ME_TRY(me_graph_get(engine, shape, out, err));
    ME_TRY(me_graph_set_layout(engine, *out, shape->layout, err));
    ME_TRY(put_embeddings(engine->base.model, sequences, shape->layout, (*out)->x, err));
    return me_graph_run(engine, *out, err);
}

mobiedit_status me_run_sequences(me_ggml *engine, const me_graph_shape *shape, const me_sequence *sequences,
                                 int n, me_batch_run *run, mobiedit_error *err) {
    *run = (me_batch_run){.spans = me_calloc((size_t)n, sizeof *run->spans)};
    if (!run->spans) return me_fail_memory(err, "a batch");
    for (int i = 0; i < n; i++)
        run->spans[i] = shape->kind == ME_GRAPH_PREFIX ? me_edited_span(&sequences[i], i)
                                                       : me_whole_span(&sequences[i], i);
    mobiedit_status status = me_layout_open(run->spans, n, 0, 1, 0, &run->layout, err);
    me_graph_shape whole = *shape;
    whole.layout = &run->layout;
    if (status == MOBIEDIT_OK) status = run_layout(engine, &whole, sequences, &run->graph, err);
    if (status != MOBIEDIT_OK) me_batch_run_close(run);
    return status;
}

void me_batch_run_close(me_batch_run *run) {
    me_layout_close(&run->layout);
    me_free(run->spans);
    run->spans = NULL;
}
