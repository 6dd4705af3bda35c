/* What a session has read of a model before: the joint solve asks again for what an edit's own solve asked for.
 * Entries are told apart by a hash of all that they were read from; the oldest make room for new ones. */
#ifndef ME_EDIT_MEMO_H
#define ME_EDIT_MEMO_H

#include "engine/sequences.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ME_MEMO_ENTRIES = 64, ME_MEMO_BYTES = 32 << 20 };

typedef struct {
    struct {
        uint64_t hash;
        void *data;
        size_t size;
    } entries[ME_MEMO_ENTRIES]; /* a ring */
    int first, n;
    size_t bytes;
} me_memo;

/* What may be read of sequences: keys, keys of what the model goes on with as well, or these tokens. */
enum { ME_MEMO_KEYS, ME_MEMO_ANSWERS, ME_MEMO_TOKENS };

/* Of what is read (`what`), at which layer, and of which sequences: their tokens and read positions. */
uint64_t me_memo_hash(int what, int layer, const me_sequence *items, int n);

/* Copies the entry's bytes to `out` [size]; false: there is none of that size. */
bool me_memo_recall(const me_memo *memo, uint64_t hash, void *out, size_t size);

/* Keeps a copy; where there is no memory or no room for it, nothing. */
void me_memo_keep(me_memo *memo, uint64_t hash, const void *data, size_t size);
void me_memo_free(me_memo *memo);

#endif
