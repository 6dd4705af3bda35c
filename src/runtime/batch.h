/* Many sequences in the runtime at once. What sequences have in common from their beginning on is evaluated
 * once, and their tokens share batches: on small models a batch costs little more than a token. The runtime
 * is as it was attached (me_runtime_set_adapter). */
#ifndef ME_RUNTIME_BATCH_H
#define ME_RUNTIME_BATCH_H

#include "runtime/runtime.h"

/* A sequence, and where its logits are wanted: after tokens[first], ..., tokens[n - 1]. */
typedef struct {
    const me_token *tokens; /* [n], n >= 1 */
    int n;
    int first;
} me_query;

/* Called once with the logits [n_vocab] after tokens[position] of each query, in no order across queries but
 * ascending in each. */
typedef void (*me_logits_fn)(void *user, int query, int position, const float *logits);

/* E_ARGUMENT where a query has no tokens or does not fit the context. */
mobiedit_status me_runtime_batch_logits(me_runtime *runtime, const me_query *queries, int n,
                                        me_logits_fn on_logits, void *user, mobiedit_error *err);

/* A prompt to go on with. */
typedef struct {
    const me_token *tokens; /* [n], n >= 1 */
    int n;
    int max_tokens; /* at least 1; fewer where the context ends */
    bool stop_at_newline;
    bool never_end; /* the model's end tokens are never chosen */
    int top_k;      /* each token is drawn from the top_k likeliest; 0 or 1: greedy. At most 64 */
    uint64_t seed;  /* of the drawing */
    bool (*enough)(void *user, const char *text); /* whether the text so far is enough; may be NULL */
    void *user;
    me_tokens *said; /* the continuation's tokens, its end token among them, are added; may be NULL */
} me_opening;

/* Continuations of n openings: texts[i] is freed with me_free. On failure none is left. */
mobiedit_status me_runtime_batch_continue(me_runtime *runtime, const me_opening *openings, int n,
                                          char **texts, mobiedit_error *err);

#endif
