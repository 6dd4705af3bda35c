/* Evaluates many sequences at once by a trie: what they have in common is evaluated once. */
#include "runtime/batch.h"

#include "base/memory.h"
#include "base/random.h"
#include "runtime/runtime_private.h"

#include <math.h>
#include <string.h>

/* ---- a trie of tokens -------------------------------------------------------------------------------- */

/* A token of all sequences that begin alike up to it. A parent's index is below its children's, so that
 * evaluating nodes in the order of their indices finds every beginning in the KV cache. */
typedef struct {
    me_token token;
    int position;
    int child, sibling; /* first child, next child of the same parent; -1: none */
    bool wanted;        /* its logits */
} node;

/* A group of queries that fit the context together. Sequence s is query first + s. */
typedef struct {
    me_runtime *runtime;
    const me_query *queries;
    me_logits_fn on_logits;
    void *user;
    int first, n; /* queries of the group */
    int n_nodes;
    node *nodes;          /* [n_context] */
    int *paths;           /* [n_sequences][n_context]: node of each token of each sequence */
    int *begins;          /* [n_context + 1]: where a node's sequences begin in `owners` */
    llama_seq_id *owners; /* [n_sequences * n_context] */
    llama_pos positions[ME_RUNTIME_MAX_BATCH];
    int32_t n_owners[ME_RUNTIME_MAX_BATCH];
    llama_seq_id *owner_lists[ME_RUNTIME_MAX_BATCH];
    me_token tokens[ME_RUNTIME_MAX_BATCH];
} trie;

static void trie_close(trie *t) {
    if (!t) return;
    me_free(t->nodes);
    me_free(t->paths);
    me_free(t->begins);
    me_free(t->owners);
    me_free(t);
}

static trie *trie_open(me_runtime *runtime, const me_query *queries, me_logits_fn on_logits, void *user) {
    const size_t n_context = (size_t)runtime->n_context, n_sequences = (size_t)runtime->n_sequences;
    trie *t = me_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->runtime = runtime;
    t->queries = queries;
    t->on_logits = on_logits;
    t->user = user;
    t->nodes = me_calloc(n_context, sizeof *t->nodes);
    t->paths = me_calloc(n_sequences * n_context, sizeof *t->paths);
    t->begins = me_calloc(n_context + 1, sizeof *t->begins);
    t->owners = me_calloc(n_sequences * n_context, sizeof *t->owners);
    if (t->nodes && t->paths && t->begins && t->owners) return t;
    trie_close(t);
    return NULL;
}

static void start_group(trie *t, int first) {
    t->first = first;
    t->n = t->n_nodes = 0;
    me_runtime_forget(t->runtime);
}

/* The node of `token` among the children of `parent` (-1: the roots); -1 where there is none. */
static int find(const trie *t, int parent, me_token token) {
    int i = parent >= 0 ? t->nodes[parent].child : t->n_nodes > 0 ? 0 : -1;
    while (i >= 0 && t->nodes[i].token != token)
        i = t->nodes[i].sibling;
    return i;
}

/* Nodes that the query would add. */
static int count_new(const trie *t, const me_query *query) {
    int at = -1;
    for (int i = 0; i < query->n; i++)
        if ((at = find(t, at, query->tokens[i])) < 0) return query->n - i;
    return 0;
}

static int add_node(trie *t, int parent, me_token token, int position) {
    const int added = t->n_nodes++;
    t->nodes[added] = (node){.token = token, .position = position, .child = -1, .sibling = -1};
    int *head = parent >= 0 ? &t->nodes[parent].child : &t->nodes[0].sibling;
    if (parent < 0 && added == 0) return 0; /* the first root heads the others */
    t->nodes[added].sibling = *head;
    *head = added;
    return added;
}

static void add_query(trie *t, const me_query *query) {
    int *path = t->paths + (size_t)t->n * (size_t)t->runtime->n_context;
    int at = -1;
    for (int i = 0; i < query->n; i++) {
        const int next = find(t, at, query->tokens[i]);
        at = next >= 0 ? next : add_node(t, at, query->tokens[i], i);
        t->nodes[at].wanted = t->nodes[at].wanted || i >= query->first;
        path[i] = at;
    }
    t->n++;
}

/* Fills begins and owners: the sequences of each node, in ascending order. */
static void list_owners(trie *t) {
    memset(t->begins, 0, ((size_t)t->n_nodes + 1) * sizeof *t->begins);
    for (int s = 0; s < t->n; s++)
        for (int i = 0; i < t->queries[t->first + s].n; i++)
            t->begins[t->paths[(size_t)s * (size_t)t->runtime->n_context + (size_t)i] + 1]++;
    for (int i = 0; i < t->n_nodes; i++)
        t->begins[i + 1] += t->begins[i];
    /* Each node's begin moves on as it is filled, and ends where the next one's was. */
    for (int s = 0; s < t->n; s++)
        for (int i = 0; i < t->queries[t->first + s].n; i++)
            t->owners[t->begins[t->paths[(size_t)s * (size_t)t->runtime->n_context + (size_t)i]]++] = s;
    memmove(t->begins + 1, t->begins, (size_t)t->n_nodes * sizeof *t->begins);
    t->begins[0] = 0;
}

static mobiedit_status hand_out(trie *t, int index, int row, mobiedit_error *err) {
    const node *at = &t->nodes[index];
    const float *logits;
    ME_TRY(me_runtime_row(t->runtime, row, &logits, err));
    for (int i = t->begins[index]; i < t->begins[index + 1]; i++) {
        const int query = t->first + t->owners[i];
        if (at->position >= t->queries[query].first) t->on_logits(t->user, query, at->position, logits);
    }
    return MOBIEDIT_OK;
}

/* Nodes from `from` on, as many as fit a batch; *end is the first that did not. */
static mobiedit_status decode_nodes(trie *t, int from, int *end, mobiedit_error *err) {
    me_runtime *runtime = t->runtime;
    int n = 0, n_wanted = 0;
    for (; from + n < t->n_nodes && n < runtime->n_batch; n++) {
        const node *at = &t->nodes[from + n];
        if (at->wanted && ++n_wanted > ME_RUNTIME_MAX_OUTPUTS) break;
        t->tokens[n] = at->token;
        t->positions[n] = at->position;
        t->n_owners[n] = t->begins[from + n + 1] - t->begins[from + n];
        t->owner_lists[n] = t->owners + t->begins[from + n];
        runtime->outputs[n] = at->wanted;
    }
    const struct llama_batch batch = {.n_tokens = n,
                                      .token = t->tokens,
                                      .pos = t->positions,
                                      .n_seq_id = t->n_owners,
                                      .seq_id = t->owner_lists,
                                      .logits = runtime->outputs};
    ME_TRY(me_runtime_decode(runtime, batch, err));
    for (int i = 0; i < n; i++)
        if (t->nodes[from + i].wanted) ME_TRY(hand_out(t, from + i, i, err));
    *end = from + n;
    return MOBIEDIT_OK;
}

static mobiedit_status decode_group(trie *t, mobiedit_error *err) {
    list_owners(t);
    for (int done = 0; done < t->n_nodes;)
        ME_TRY(decode_nodes(t, done, &done, err));
    return MOBIEDIT_OK;
}

static mobiedit_status check_queries(const me_runtime *runtime, const me_query *queries, int n,
                                     mobiedit_error *err) {
    for (int i = 0; i < n; i++) {
        if (queries[i].n < 1) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has no tokens");
        if (queries[i].n > runtime->n_context)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has %d tokens, but the context holds %d",
                           queries[i].n, runtime->n_context);
    }
    return MOBIEDIT_OK;
}

/* All queries from the group's first on that fit it. */
static int fill_group(trie *t, int first, int n) {
    start_group(t, first);
    while (first + t->n < n && t->n < t->runtime->n_sequences &&
           count_new(t, &t->queries[first + t->n]) <= t->runtime->n_context - t->n_nodes)
        add_query(t, &t->queries[first + t->n]);
    return first + t->n;
}

mobiedit_status me_runtime_batch_logits(me_runtime *runtime, const me_query *queries, int n,
                                        me_logits_fn on_logits, void *user, mobiedit_error *err) {
    ME_TRY(check_queries(runtime, queries, n, err));
    trie *t = trie_open(runtime, queries, on_logits, user);
    if (!t) return me_fail_memory(err, "the tokens of prompts");
    mobiedit_status status = MOBIEDIT_OK;
    for (int done = 0; done < n && status == MOBIEDIT_OK;) {
        done = fill_group(t, done, n);
        status = decode_group(t, err);
    }
    trie_close(t);
    return status;
}

/* ---- continuations ----------------------------------------------------------------------------------- */

enum { MAX_TOP_K = 64 };

/* One text that grows. */
typedef struct {
    me_text text;
    me_random random;
    me_token token; /* the last one */
    int n_tokens, max_tokens;
    bool ended;
} growing_text;

typedef struct {
    me_runtime *runtime;
    const me_opening *openings;
    growing_text *texts;
    me_query *queries;
    mobiedit_error *err;
    mobiedit_status status; /* of the texts that grow in a callback */
} generation;

/* The k greatest logits of tokens that may be chosen, greatest first; how many there are. */
static int best_tokens(const generation *g, const me_opening *opening, const float *logits,
                       me_token best[MAX_TOP_K]) {
    const int k = opening->top_k < 1 ? 1 : opening->top_k < MAX_TOP_K ? opening->top_k : MAX_TOP_K;
    int n = 0;
    for (me_token t = 0; t < g->runtime->n_vocab; t++) {
        if (n == k && logits[t] <= logits[best[n - 1]]) continue;
        if (opening->never_end && me_vocab_is_end(g->runtime->vocab, t)) continue;
        int at = n < k ? n++ : n - 1;
        for (; at > 0 && logits[best[at - 1]] < logits[t]; at--)
            best[at] = best[at - 1];
        best[at] = t;
    }
    return n;
}

static me_token choose(const generation *g, const me_opening *opening, growing_text *s, const float *logits) {
    me_token best[MAX_TOP_K] = {0};
    const int n = best_tokens(g, opening, logits, best);
    double weights[MAX_TOP_K] = {0}, total = 0;
    for (int i = 0; i < n; i++)
        total += weights[i] = exp((double)logits[best[i]] - (double)logits[best[0]]);
    double point = n > 1 ? me_random_uniform(&s->random) * total : 0;
    int chosen = 0;
    while (chosen < n - 1 && point >= weights[chosen])
        point -= weights[chosen++];
    return best[chosen];
}

/* Adds the token that follows, by the logits after the growing_text's last one. */
static void grow(void *user, int index, int position, const float *logits) {
    generation *g = user;
    growing_text *s = &g->texts[index];
    const me_opening *opening = &g->openings[index];
    (void)position;
    if (g->status != MOBIEDIT_OK) return;
    s->token = choose(g, opening, s, logits);
    s->n_tokens++;
    if (opening->said) g->status = me_tokens_add(opening->said, s->token, g->err);
    s->ended = me_vocab_is_end(g->runtime->vocab, s->token);
    if (s->ended || g->status != MOBIEDIT_OK) return;
    const size_t from = s->text.n;
    g->status = me_runtime_add_piece(g->runtime, s->token, &s->text, g->err);
    s->ended = s->n_tokens >= s->max_tokens ||
               (opening->stop_at_newline && me_text_cut_at_newline(&s->text, from)) ||
               (opening->enough && opening->enough(opening->user, s->text.bytes));
}

/* One more token for every growing_text of the group that has not ended; *more: whether there was one. */
static mobiedit_status step(generation *g, const trie *t, bool *more, mobiedit_error *err) {
    llama_seq_id ids[ME_RUNTIME_MAX_SEQUENCES], *lists[ME_RUNTIME_MAX_SEQUENCES];
    llama_pos positions[ME_RUNTIME_MAX_SEQUENCES];
    int32_t ones[ME_RUNTIME_MAX_SEQUENCES];
    me_token tokens[ME_RUNTIME_MAX_SEQUENCES];
    int n = 0;
    for (int s = 0; s < t->n; s++) {
        const growing_text *growing = &g->texts[t->first + s];
        if (growing->ended) continue;
        ids[n] = s;
        lists[n] = &ids[n];
        ones[n] = 1;
        tokens[n] = growing->token;
        positions[n] = g->openings[t->first + s].n + growing->n_tokens - 1;
        g->runtime->outputs[n++] = 1;
    }
    *more = n > 0;
    if (n == 0) return MOBIEDIT_OK;
    const struct llama_batch batch = {.n_tokens = n,
                                      .token = tokens,
                                      .pos = positions,
                                      .n_seq_id = ones,
                                      .seq_id = lists,
                                      .logits = g->runtime->outputs};
    ME_TRY(me_runtime_decode(g->runtime, batch, err));
    for (int i = 0; i < n; i++) {
        const float *logits;
        ME_TRY(me_runtime_row(g->runtime, i, &logits, err));
        grow(g, t->first + ids[i], 0, logits);
    }
    return g->status;
}

/* All openings from `first` on whose prompts and continuations fit the context together. */
static int fill_generation(const generation *g, trie *t, int first, int n) {
    int room = g->runtime->n_context;
    start_group(t, first);
    while (first + t->n < n && t->n < g->runtime->n_sequences) {
        const int need = count_new(t, &g->queries[first + t->n]) + g->texts[first + t->n].max_tokens;
        if (t->n > 0 && need > room) break;
        room -= need;
        add_query(t, &g->queries[first + t->n]);
    }
    return first + t->n;
}

static mobiedit_status generate(generation *g, trie *t, int n, mobiedit_error *err) {
    for (int done = 0; done < n;) {
        done = fill_generation(g, t, done, n);
        ME_TRY(decode_group(t, err));
        ME_TRY(g->status);
        for (bool more = true; more;)
            ME_TRY(step(g, t, &more, err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status prepare(generation *g, int n, mobiedit_error *err) {
    const int n_context = g->runtime->n_context;
    for (int i = 0; i < n; i++) {
        const me_opening *opening = &g->openings[i];
        const int room = n_context - opening->n;
        if (opening->max_tokens < 1 || room < 1)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "%d tokens after %d do not fit a context of %d",
                           opening->max_tokens, opening->n, n_context);
        g->texts[i].max_tokens = opening->max_tokens < room ? opening->max_tokens : room;
        if (!me_text_add(&g->texts[i].text, "", 0)) return me_fail_memory(err, "the text");
        me_random_seed(&g->texts[i].random, opening->seed);
        g->queries[i] = (me_query){.tokens = opening->tokens, .n = opening->n, .first = opening->n - 1};
    }
    return check_queries(g->runtime, g->queries, n, err);
}

mobiedit_status me_runtime_batch_continue(me_runtime *runtime, const me_opening *openings, int n,
                                          char **texts, mobiedit_error *err) {
    generation g = {.runtime = runtime, .openings = openings, .err = err};
    g.texts = me_calloc((size_t)n, sizeof *g.texts);
    g.queries = me_calloc((size_t)n, sizeof *g.queries);
    trie *t = trie_open(runtime, g.queries, grow, &g);
    mobiedit_status status =
        g.texts && g.queries && t ? prepare(&g, n, err) : me_fail_memory(err, "the texts");
    if (status == MOBIEDIT_OK) status = generate(&g, t, n, err);
    for (int i = 0; g.texts && i < n; i++) {
        me_text_end(&g.texts[i].text);
        if (status == MOBIEDIT_OK)
            texts[i] = g.texts[i].text.bytes;
        else
            me_free(g.texts[i].text.bytes);
    }
    me_free(g.texts);
    me_free(g.queries);
    trie_close(t);
    return status;
}
