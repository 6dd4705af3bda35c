/* A ring of what was read before. */
#include "edit/memo.h"

#include "base/hash.h"
#include "base/memory.h"

#include <string.h>

uint64_t me_memo_hash(int what, int layer, const me_sequence *items, int n) {
    const int kind[] = {what, layer, n};
    uint64_t hash = me_hash(kind, sizeof kind);
    for (int i = 0; i < n; i++) {
        const me_sequence *s = &items[i];
        const int places[] = {s->n_tokens, s->edit_pos, s->read_pos, s->n_read};
        const uint64_t parts[] = {hash, me_hash(places, sizeof places),
                                  me_hash(s->tokens, (size_t)s->n_tokens * sizeof *s->tokens)};
        hash = me_hash(parts, sizeof parts);
    }
    return hash;
}

bool me_memo_recall(const me_memo *memo, uint64_t hash, void *out, size_t size) {
    for (int i = 0; i < memo->n; i++) {
        const int at = (memo->first + i) % ME_MEMO_ENTRIES;
        if (memo->entries[at].hash != hash || memo->entries[at].size != size) continue;
        memcpy(out, memo->entries[at].data, size);
        return true;
    }
    return false;
}

static void forget_oldest(me_memo *memo) {
    me_free(memo->entries[memo->first].data);
    memo->bytes -= memo->entries[memo->first].size;
    memo->first = (memo->first + 1) % ME_MEMO_ENTRIES;
    memo->n--;
}

void me_memo_keep(me_memo *memo, uint64_t hash, const void *data, size_t size) {
    if (size == 0 || size > ME_MEMO_BYTES) return;
    void *copy = me_calloc(size, 1);
    if (!copy) return;
    memcpy(copy, data, size);
    while (memo->n == ME_MEMO_ENTRIES || memo->bytes + size > ME_MEMO_BYTES)
        forget_oldest(memo);
    const int at = (memo->first + memo->n++) % ME_MEMO_ENTRIES;
    memo->entries[at].hash = hash;
    memo->entries[at].data = copy;
    memo->entries[at].size = size;
    memo->bytes += size;
}

void me_memo_free(me_memo *memo) {
    while (memo->n)
        forget_oldest(memo);
}
