/* What several sequences of a batch begin with, so that it is computed once for all of them. */
#ifndef ME_NATIVE_STEMS_H
#define ME_NATIVE_STEMS_H

#include "engine/engine.h"

#include <stdbool.h>

typedef struct {
    int sequence; /* one that begins with it */
    int n;        /* its tokens */
} me_stem;

typedef struct {
    me_stem *stems; /* [n] */
    int n;
    int *stem_of; /* [sequences]: the sequence's stem, or -1 */
} me_stems;

/* Finds the stems with which the sequences [n] have the fewest columns to compute. A stem ends before a position
 * that one of its sequences reads or, if `unedited`, is edited at. No sequence has more than one. To be freed,
 * whatever comes back. */
mobiedit_status me_stems_find(const me_sequence *sequences, int n, bool unedited, me_stems *out,
                              mobiedit_error *err);
void me_stems_free(me_stems *stems);

#endif
