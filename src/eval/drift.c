/* Measures how far an edit moves the next-token distributions of unrelated text. */
#include "eval/drift.h"

#include "base/memory.h"
#include "eval/sketch.h"
#include "runtime/batch.h"

enum { MAX_TEXTS = 32 };

struct me_drift {
    int n_texts;
    me_tokens tokens[MAX_TEXTS];
    me_query queries[MAX_TEXTS];
    int begins[MAX_TEXTS]; /* position of a text's first token among those of all */
    int n_positions;
    me_sketches *before;
};

/* ---- before ------------------------------------------------------------------------------------------ */

static void keep_position(void *user, int query, int position, const float *logits) {
    const me_drift *drift = user;
    me_sketch_take(drift->before, (size_t)(drift->begins[query] + position), logits);
}

static mobiedit_status read_texts(me_drift *drift, const me_vocab *vocab, mobiedit_error *err) {
    for (; drift->n_texts < MAX_TEXTS && me_drift_texts[drift->n_texts]; drift->n_texts++) {
        const int i = drift->n_texts;
        ME_TRY(me_tokenize(vocab, me_drift_texts[i], &drift->tokens[i], err));
        drift->queries[i] = (me_query){.tokens = drift->tokens[i].ids, .n = drift->tokens[i].n};
        drift->begins[i] = drift->n_positions;
        drift->n_positions += drift->tokens[i].n;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status take(me_drift *drift, me_runtime *runtime, mobiedit_error *err) {
    const me_vocab *vocab = me_runtime_vocab(runtime);
    ME_TRY(read_texts(drift, vocab, err));
    ME_TRY(me_sketches_open(me_vocab_size(vocab), ME_DRIFT_TOP, (size_t)drift->n_positions, &drift->before,
                            err));
    return me_runtime_batch_logits(runtime, drift->queries, drift->n_texts, keep_position, drift, err);
}

mobiedit_status me_drift_open(me_runtime *runtime, me_drift **out, mobiedit_error *err) {
    me_drift *drift = me_calloc(1, sizeof *drift);
    if (!drift) return me_fail_memory(err, "the distributions of generic text");
    const mobiedit_status status = take(drift, runtime, err);
    if (status == MOBIEDIT_OK)
        *out = drift;
    else
        me_drift_close(drift);
    return status;
}

void me_drift_close(me_drift *drift) {
    if (!drift) return;
    for (int i = 0; i < drift->n_texts; i++)
        me_tokens_free(&drift->tokens[i]);
    me_sketches_close(drift->before);
    me_free(drift);
}

int me_drift_positions(const me_drift *drift) {
    return drift->n_positions;
}

/* ---- after ------------------------------------------------------------------------------------------- */

typedef struct {
    const me_drift *before;
    double sum;
} comparison;

static void compare_position(void *user, int query, int position, const float *logits) {
    comparison *c = user;
    const me_drift *drift = c->before;
    c->sum += me_sketch_kl(drift->before, (size_t)(drift->begins[query] + position), logits);
}

mobiedit_status me_drift_measure(const me_drift *drift, me_runtime *runtime, double *kl,
                                 mobiedit_error *err) {
    comparison c = {.before = drift};
    ME_TRY(me_runtime_batch_logits(runtime, drift->queries, drift->n_texts, compare_position, &c, err));
    *kl = c.sum / drift->n_positions;
    return MOBIEDIT_OK;
}
