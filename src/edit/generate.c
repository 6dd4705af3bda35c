/* Goes on with sequences by an engine: its own way, or a whole pass for each token. */
#include "edit/generate.h"

#include "base/memory.h"
#include "engine/likeliest.h"

#include <string.h>

/* Copies that grow. */
typedef struct {
    me_engine *engine;
    me_sequence *items; /* [n] */
    me_token **texts;   /* [n]: their tokens, with room for all of them */
    int n, n_tokens;
    float *hidden; /* [n][d_model] */
    float *logits; /* [me_logit_rows(n)][n_vocab] */
    me_token *tokens;
} growth;

static void growth_free(growth *g) {
    for (int i = 0; g->texts && i < g->n; i++)
        me_free(g->texts[i]);
    me_free(g->texts);
    me_free(g->items);
    me_free(g->hidden);
    me_free(g->logits);
}

static bool growth_begin(growth *g, const me_sequences *from) {
    const me_model *model = g->engine->model;
    g->items = me_calloc((size_t)g->n, sizeof *g->items);
    g->texts = me_calloc((size_t)g->n, sizeof *g->texts);
    g->hidden = me_calloc((size_t)g->n, (size_t)model->d_model * sizeof *g->hidden);
    g->logits =
        me_calloc((size_t)me_logit_rows(model, (size_t)g->n), (size_t)model->n_vocab * sizeof *g->logits);
    if (!g->items || !g->texts || !g->hidden || !g->logits) return false;
    for (int i = 0; i < g->n; i++) {
        const me_sequence *one = &from->items[i];
        g->texts[i] = me_calloc((size_t)one->n_tokens + (size_t)g->n_tokens, sizeof(me_token));
        if (!g->texts[i]) return false;
        memcpy(g->texts[i], one->tokens, (size_t)one->n_tokens * sizeof(me_token));
        g->items[i] = (me_sequence){
            .tokens = g->texts[i], .n_tokens = one->n_tokens, .read_pos = one->n_tokens - 1, .n_read = 1};
    }
    return true;
}

/* The k-th token of each. */
static mobiedit_status grow(growth *g, int k, mobiedit_error *err) {
    me_token *said = g->tokens + k;
    ME_TRY(g->engine->ops->forward(g->engine, g->items, g->n, g->hidden, err));
    ME_TRY(me_likeliest(g->engine, g->hidden, g->n, g->logits, said, g->n_tokens, err));
    for (int i = 0; i < g->n; i++) {
        g->texts[i][g->items[i].n_tokens++] = said[(size_t)i * (size_t)g->n_tokens];
        g->items[i].read_pos++;
    }
    return MOBIEDIT_OK;
}

/* The last token that was said is not read. */
static mobiedit_status read_keys(growth *g, const me_sequences *sequences, int layer, float *keys,
                                 mobiedit_error *err) {
    for (int i = 0; i < g->n; i++) {
        g->items[i].n_tokens--;
        g->items[i].read_pos = sequences->items[i].read_pos;
        g->items[i].n_read = g->items[i].n_tokens - g->items[i].read_pos;
    }
    return g->engine->ops->keys(g->engine, layer, g->items, g->n, keys, err);
}

mobiedit_status me_generate(me_engine *engine, const me_sequences *sequences, int n_tokens, me_token *tokens,
                            int layer, float *keys, mobiedit_error *err) {
    if (engine->ops->generate)
        return engine->ops->generate(engine, sequences->items, sequences->n, n_tokens, tokens, layer, keys,
                                     err);
    growth g = {.engine = engine, .n = sequences->n, .n_tokens = n_tokens, .tokens = tokens};
    mobiedit_status status =
        growth_begin(&g, sequences) ? MOBIEDIT_OK : me_fail_memory(err, "what the model says");
    for (int k = 0; k < n_tokens && status == MOBIEDIT_OK; k++)
        status = grow(&g, k, err);
    if (keys && status == MOBIEDIT_OK) status = read_keys(&g, sequences, layer, keys, err);
    growth_free(&g);
    return status;
}
