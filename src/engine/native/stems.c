/* What several sequences of a batch begin with: neighbours in the order of their tokens share it. */
#include "engine/native/stems.h"

#include "base/memory.h"

#include <stdlib.h>

typedef struct {
    const me_sequence *sequence;
    int index;
    int most;   /* tokens that it may share */
    int common; /* tokens that it and the one before begin with, and neither reads */
    int saved;  /* the most columns that those before this one can save */
    int first;  /* where the group that ends before this one begins, for that */
} item;

static int shorter(int a, int b) {
    return a < b ? a : b;
}

static int common_tokens(const item *a, const item *b) {
    const int most = shorter(a->most, b->most);
    int n = 0;
    while (n < most && a->sequence->tokens[n] == b->sequence->tokens[n])
        n++;
    return n;
}

static int by_tokens(const void *a, const void *b) {
    const item *x = a, *y = b;
    const int n = common_tokens(x, y);
    if (n < x->most && n < y->most) return x->sequence->tokens[n] < y->sequence->tokens[n] ? -1 : 1;
    if (x->most != y->most) return x->most < y->most ? -1 : 1;
    return x->index - y->index;
}

/* The best parting of the items [n] into groups of neighbours; items[n] is its end. */
static void part(item *items, int n) {
    items[0].saved = 0;
    for (int end = 1; end <= n; end++) {
        int common = items[end - 1].most;
        items[end].saved = -1;
        for (int first = end - 1; first >= 0; first--) {
            const int saved = items[first].saved + common * (end - first - 1);
            if (saved > items[end].saved) {
                items[end].saved = saved;
                items[end].first = first;
            }
            common = shorter(common, items[first].common);
        }
    }
}

/* The group [first, end) as a stem, if it shares anything. */
static void add_group(const item *items, int first, int end, me_stems *out) {
    int common = items[first].most;
    for (int i = first + 1; i < end; i++)
        common = shorter(common, items[i].common);
    const int stem = end - first > 1 && common > 0 ? out->n : -1;
    for (int i = first; i < end; i++)
        out->stem_of[items[i].index] = stem;
    if (stem >= 0) out->stems[out->n++] = (me_stem){.sequence = items[first].index, .n = common};
}

mobiedit_status me_stems_find(const me_sequence *sequences, int n, bool unedited, me_stems *out,
                              mobiedit_error *err) {
    item *items = me_calloc((size_t)n + 1, sizeof *items);
    *out = (me_stems){.stems = me_calloc((size_t)n, sizeof *out->stems),
                      .stem_of = me_calloc((size_t)n, sizeof *out->stem_of)};
    if (!items || !out->stems || !out->stem_of) {
        me_free(items);
        return me_fail_memory(err, "a batch of columns");
    }
    for (int i = 0; i < n; i++) {
        const me_sequence *s = &sequences[i];
        items[i] = (item){
            .sequence = s, .index = i, .most = unedited ? shorter(s->edit_pos, s->read_pos) : s->read_pos};
    }
    qsort(items, (size_t)n, sizeof *items, by_tokens);
    for (int i = 1; i < n; i++)
        items[i].common = common_tokens(&items[i - 1], &items[i]);
    part(items, n);
    for (int end = n; end > 0; end = items[end].first)
        add_group(items, items[end].first, end, out);
    me_free(items);
    return MOBIEDIT_OK;
}

void me_stems_free(me_stems *stems) {
    me_free(stems->stems);
    me_free(stems->stem_of);
    *stems = (me_stems){0};
}
