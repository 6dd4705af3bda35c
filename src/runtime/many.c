#include "runtime/many.h"

#include "base/memory.h"
#include "base/random.h"
#include "runtime/runtime_private.h"

#include <math.h>
#include <string.h>

/* ---- a tree of tokens -------------------------------------------------------------------------------- */

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
} forest;

static void forest_close(forest *f) {
    if (!f) return;
    me_free(f->nodes);
    me_free(f->paths);
    me_free(f->begins);
    me_free(f->owners);
    me_free(f);
}

static forest *forest_open(me_runtime *runtime, const me_query *queries, me_logits_fn on_logits, void *user) {
    const size_t n_context = (size_t)runtime->n_context, n_sequences = (size_t)runtime->n_sequences;
    forest *f = me_calloc(1, sizeof *f);
    if (!f) return NULL;
    f->runtime = runtime;
    f->queries = queries;
    f->on_logits = on_logits;
    f->user = user;
    f->nodes = me_calloc(n_context, sizeof *f->nodes);
    f->paths = me_calloc(n_sequences * n_context, sizeof *f->paths);
    f->begins = me_calloc(n_context + 1, sizeof *f->begins);
    f->owners = me_calloc(n_sequences * n_context, sizeof *f->owners);
    if (f->nodes && f->paths && f->begins && f->owners) return f;
    forest_close(f);
    return NULL;
}

static void start_group(forest *f, int first) {
    f->first = first;
    f->n = f->n_nodes = 0;
    me_runtime_forget(f->runtime);
}

/* The node of `token` among the children of `parent` (-1: the roots); -1 where there is none. */
static int find(const forest *f, int parent, me_token token) {
    int i = parent >= 0 ? f->nodes[parent].child : f->n_nodes > 0 ? 0 : -1;
    while (i >= 0 && f->nodes[i].token != token)
        i = f->nodes[i].sibling;
    return i;
}

/* Nodes that the query would add. */
static int count_new(const forest *f, const me_query *query) {
    int at = -1;
    for (int i = 0; i < query->n; i++)
        if ((at = find(f, at, query->tokens[i])) < 0) return query->n - i;
    return 0;
}

static int add_node(forest *f, int parent, me_token token, int position) {
    const int added = f->n_nodes++;
    f->nodes[added] = (node){.token = token, .position = position, .child = -1, .sibling = -1};
    int *head = parent >= 0 ? &f->nodes[parent].child : &f->nodes[0].sibling;
    if (parent < 0 && added == 0) return 0; /* the first root heads the others */
    f->nodes[added].sibling = *head;
    *head = added;
    return added;
}

static void add_query(forest *f, const me_query *query) {
    int *path = f->paths + (size_t)f->n * (size_t)f->runtime->n_context;
    int at = -1;
    for (int i = 0; i < query->n; i++) {
        const int next = find(f, at, query->tokens[i]);
        at = next >= 0 ? next : add_node(f, at, query->tokens[i], i);
        f->nodes[at].wanted = f->nodes[at].wanted || i >= query->first;
        path[i] = at;
    }
    f->n++;
}

/* Fills begins and owners: the sequences of each node, in ascending order. */
static void list_owners(forest *f) {
    memset(f->begins, 0, ((size_t)f->n_nodes + 1) * sizeof *f->begins);
    for (int s = 0; s < f->n; s++)
        for (int i = 0; i < f->queries[f->first + s].n; i++)
            f->begins[f->paths[(size_t)s * (size_t)f->runtime->n_context + (size_t)i] + 1]++;
    for (int i = 0; i < f->n_nodes; i++)
        f->begins[i + 1] += f->begins[i];
    /* Each node's begin moves on as it is filled, and ends where the next one's was. */
    for (int s = 0; s < f->n; s++)
        for (int i = 0; i < f->queries[f->first + s].n; i++)
            f->owners[f->begins[f->paths[(size_t)s * (size_t)f->runtime->n_context + (size_t)i]]++] = s;
    memmove(f->begins + 1, f->begins, (size_t)f->n_nodes * sizeof *f->begins);
    f->begins[0] = 0;
}

static mobiedit_status hand_out(forest *f, int index, int row, mobiedit_error *err) {
    const node *at = &f->nodes[index];
    const float *logits;
    ME_TRY(me_runtime_row(f->runtime, row, &logits, err));
    for (int i = f->begins[index]; i < f->begins[index + 1]; i++) {
        const int query = f->first + f->owners[i];
        if (at->position >= f->queries[query].first) f->on_logits(f->user, query, at->position, logits);
    }
    return MOBIEDIT_OK;
}

/* Nodes from `from` on, as many as fit a batch; *end is the first that did not. */
static mobiedit_status decode_nodes(forest *f, int from, int *end, mobiedit_error *err) {
    me_runtime *runtime = f->runtime;
    int n = 0, n_wanted = 0;
    for (; from + n < f->n_nodes && n < runtime->n_batch; n++) {
        const node *at = &f->nodes[from + n];
        if (at->wanted && ++n_wanted > ME_RUNTIME_MAX_OUTPUTS) break;
        f->tokens[n] = at->token;
        f->positions[n] = at->position;
        f->n_owners[n] = f->begins[from + n + 1] - f->begins[from + n];
        f->owner_lists[n] = f->owners + f->begins[from + n];
        runtime->outputs[n] = at->wanted;
    }
    const struct llama_batch batch = {.n_tokens = n,
                                      .token = f->tokens,
                                      .pos = f->positions,
                                      .n_seq_id = f->n_owners,
                                      .seq_id = f->owner_lists,
                                      .logits = runtime->outputs};
    ME_TRY(me_runtime_decode(runtime, batch, err));
    for (int i = 0; i < n; i++)
        if (f->nodes[from + i].wanted) ME_TRY(hand_out(f, from + i, i, err));
    *end = from + n;
    return MOBIEDIT_OK;
}

static mobiedit_status decode_group(forest *f, mobiedit_error *err) {
    list_owners(f);
    for (int done = 0; done < f->n_nodes;)
        ME_TRY(decode_nodes(f, done, &done, err));
    return MOBIEDIT_OK;
}

static mobiedit_status check_queries(const me_runtime *runtime, const me_query *queries, int n,
                                     mobiedit_error *err) {
    for (int i = 0; i < n; i++) {
        if (queries[i].n < 1) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has no tokens");
        if (queries[i].n > runtime->n_context)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has %d tokens, the context holds %d",
                           queries[i].n, runtime->n_context);
    }
    return MOBIEDIT_OK;
}

/* All queries from the group's first on that fit it. */
static int fill_group(forest *f, int first, int n) {
    start_group(f, first);
    while (first + f->n < n && f->n < f->runtime->n_sequences &&
           count_new(f, &f->queries[first + f->n]) <= f->runtime->n_context - f->n_nodes)
        add_query(f, &f->queries[first + f->n]);
    return first + f->n;
}

mobiedit_status me_runtime_logits_of_many(me_runtime *runtime, const me_query *queries, int n,
                                          me_logits_fn on_logits, void *user, mobiedit_error *err) {
    ME_TRY(check_queries(runtime, queries, n, err));
    forest *f = forest_open(runtime, queries, on_logits, user);
    if (!f) return me_fail_memory(err, "the tokens of prompts");
    mobiedit_status status = MOBIEDIT_OK;
    for (int done = 0; done < n && status == MOBIEDIT_OK;) {
        done = fill_group(f, done, n);
        status = decode_group(f, err);
    }
    forest_close(f);
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
} strand;

typedef struct {
    me_runtime *runtime;
    const me_opening *openings;
    strand *strands;
    me_query *queries;
    mobiedit_error *err;
    mobiedit_status status; /* of the strands that grow in a callback */
} loom;

/* The k greatest logits of tokens that may be chosen, greatest first; how many there are. */
static int best_tokens(const loom *l, const me_opening *opening, const float *logits,
                       me_token best[MAX_TOP_K]) {
    const int k = opening->top_k < 1 ? 1 : opening->top_k < MAX_TOP_K ? opening->top_k : MAX_TOP_K;
    int n = 0;
    for (me_token t = 0; t < l->runtime->n_vocab; t++) {
        if (n == k && logits[t] <= logits[best[n - 1]]) continue;
        if (opening->never_end && me_vocab_is_end(l->runtime->vocab, t)) continue;
        int at = n < k ? n++ : n - 1;
        for (; at > 0 && logits[best[at - 1]] < logits[t]; at--)
            best[at] = best[at - 1];
        best[at] = t;
    }
    return n;
}

static me_token choose(const loom *l, const me_opening *opening, strand *s, const float *logits) {
    me_token best[MAX_TOP_K] = {0};
    const int n = best_tokens(l, opening, logits, best);
    double weights[MAX_TOP_K] = {0}, total = 0;
    for (int i = 0; i < n; i++)
        total += weights[i] = exp((double)logits[best[i]] - (double)logits[best[0]]);
    double point = n > 1 ? me_random_uniform(&s->random) * total : 0;
    int chosen = 0;
    while (chosen < n - 1 && point >= weights[chosen])
        point -= weights[chosen++];
    return best[chosen];
}

/* Adds the token that follows, by the logits after the strand's last one. */
static void grow(void *user, int index, int position, const float *logits) {
    loom *l = user;
    strand *s = &l->strands[index];
    const me_opening *opening = &l->openings[index];
    (void)position;
    if (l->status != MOBIEDIT_OK) return;
    s->token = choose(l, opening, s, logits);
    s->n_tokens++;
    s->ended = me_vocab_is_end(l->runtime->vocab, s->token);
    if (s->ended) return;
    const size_t from = s->text.n;
    l->status = me_runtime_add_piece(l->runtime, s->token, &s->text, l->err);
    s->ended =
        s->n_tokens >= s->max_tokens || (opening->stop_at_newline && me_text_cut_at_newline(&s->text, from));
}

/* One more token for every strand of the group that has not ended; *more: whether there was one. */
static mobiedit_status step(loom *l, const forest *f, bool *more, mobiedit_error *err) {
    llama_seq_id ids[ME_RUNTIME_MAX_SEQUENCES], *lists[ME_RUNTIME_MAX_SEQUENCES];
    llama_pos positions[ME_RUNTIME_MAX_SEQUENCES];
    int32_t ones[ME_RUNTIME_MAX_SEQUENCES];
    me_token tokens[ME_RUNTIME_MAX_SEQUENCES];
    int n = 0;
    for (int s = 0; s < f->n; s++) {
        const strand *growing = &l->strands[f->first + s];
        if (growing->ended) continue;
        ids[n] = s;
        lists[n] = &ids[n];
        ones[n] = 1;
        tokens[n] = growing->token;
        positions[n] = l->openings[f->first + s].n + growing->n_tokens - 1;
        l->runtime->outputs[n++] = 1;
    }
    *more = n > 0;
    if (n == 0) return MOBIEDIT_OK;
    const struct llama_batch batch = {.n_tokens = n,
                                      .token = tokens,
                                      .pos = positions,
                                      .n_seq_id = ones,
                                      .seq_id = lists,
                                      .logits = l->runtime->outputs};
    ME_TRY(me_runtime_decode(l->runtime, batch, err));
    for (int i = 0; i < n; i++) {
        const float *logits;
        ME_TRY(me_runtime_row(l->runtime, i, &logits, err));
        grow(l, f->first + ids[i], 0, logits);
    }
    return l->status;
}

/* All openings from `first` on whose prompts and continuations fit the context together. */
static int fill_loom(const loom *l, forest *f, int first, int n) {
    int room = l->runtime->n_context;
    start_group(f, first);
    while (first + f->n < n && f->n < l->runtime->n_sequences) {
        const int need = count_new(f, &l->queries[first + f->n]) + l->strands[first + f->n].max_tokens;
        if (f->n > 0 && need > room) break;
        room -= need;
        add_query(f, &l->queries[first + f->n]);
    }
    return first + f->n;
}

static mobiedit_status weave(loom *l, forest *f, int n, mobiedit_error *err) {
    for (int done = 0; done < n;) {
        done = fill_loom(l, f, done, n);
        ME_TRY(decode_group(f, err));
        ME_TRY(l->status);
        for (bool more = true; more;)
            ME_TRY(step(l, f, &more, err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status prepare(loom *l, int n, mobiedit_error *err) {
    const int n_context = l->runtime->n_context;
    for (int i = 0; i < n; i++) {
        const me_opening *opening = &l->openings[i];
        const int room = n_context - opening->n;
        if (opening->max_tokens < 1 || room < 1)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "%d tokens after %d do not fit a context of %d",
                           opening->max_tokens, opening->n, n_context);
        l->strands[i].max_tokens = opening->max_tokens < room ? opening->max_tokens : room;
        if (!me_text_add(&l->strands[i].text, "", 0)) return me_fail_memory(err, "the text");
        me_random_seed(&l->strands[i].random, opening->seed);
        l->queries[i] = (me_query){.tokens = opening->tokens, .n = opening->n, .first = opening->n - 1};
    }
    return check_queries(l->runtime, l->queries, n, err);
}

mobiedit_status me_runtime_continue_many(me_runtime *runtime, const me_opening *openings, int n, char **texts,
                                         mobiedit_error *err) {
    loom l = {.runtime = runtime, .openings = openings, .err = err};
    l.strands = me_calloc((size_t)n, sizeof *l.strands);
    l.queries = me_calloc((size_t)n, sizeof *l.queries);
    forest *f = forest_open(runtime, l.queries, grow, &l);
    mobiedit_status status =
        l.strands && l.queries && f ? prepare(&l, n, err) : me_fail_memory(err, "the texts");
    if (status == MOBIEDIT_OK) status = weave(&l, f, n, err);
    for (int i = 0; l.strands && i < n; i++) {
        me_text_end(&l.strands[i].text);
        if (status == MOBIEDIT_OK)
            texts[i] = l.strands[i].text.bytes;
        else
            me_free(l.strands[i].text.bytes);
    }
    me_free(l.strands);
    me_free(l.queries);
    forest_close(f);
    return status;
}
