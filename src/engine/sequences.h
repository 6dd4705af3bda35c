/* What every engine asks of the sequences that it is given. */
#ifndef ME_ENGINE_SEQUENCES_H
#define ME_ENGINE_SEQUENCES_H

#include "engine/engine.h"

/* E_ARGUMENT unless the layer exists and the sequences' tokens and read positions do. */
static inline mobiedit_status me_check_sequences(const me_model *model, int layer,
                                                 const me_sequence *sequences, int n, mobiedit_error *err) {
    if (layer < 0 || layer >= model->n_layer)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "layer %d is not in 0 to %d", layer, model->n_layer - 1);
    for (int i = 0; i < n; i++) {
        const me_sequence *s = &sequences[i];
        if (s->n_tokens < 1 || s->n_read < 1 || s->read_pos < 0 || s->read_pos > s->n_tokens - s->n_read)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "sequence %d: cannot read %d positions from %d on of %d",
                           i, s->n_read, s->read_pos, s->n_tokens);
        for (int t = 0; t < s->n_tokens; t++)
            if (s->tokens[t] < 0 || s->tokens[t] >= model->n_vocab)
                return me_fail(err, MOBIEDIT_E_ARGUMENT, "sequence %d: token %d is not in 0 to %d", i,
                               s->tokens[t], model->n_vocab - 1);
    }
    return MOBIEDIT_OK;
}

/* E_ARGUMENT unless more_pos is as engine.h says. */
static inline mobiedit_status me_check_more(const me_sequence *s, int i, mobiedit_error *err) {
    if (s->n_more < 0 || (s->n_more > 0 && !s->more_pos))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "sequence %d: cannot edit %d further positions", i,
                       s->n_more);
    for (int j = 0; j < s->n_more; j++) {
        int before = j == 0 ? s->edit_pos : s->more_pos[j - 1];
        if (s->more_pos[j] <= before || s->more_pos[j] >= s->n_tokens)
            return me_fail(err, MOBIEDIT_E_ARGUMENT,
                           "sequence %d: position %d cannot be edited behind position %d of %d tokens", i,
                           s->more_pos[j], before, s->n_tokens);
    }
    return MOBIEDIT_OK;
}

/* The same for a prefix, whose sequences are edited before they are read, and read alike. */
static inline mobiedit_status me_check_prefix(const me_model *model, int layer, const me_sequence *sequences,
                                              int n, mobiedit_error *err) {
    if (n < 1) return me_fail(err, MOBIEDIT_E_ARGUMENT, "a prefix needs at least one sequence");
    ME_TRY(me_check_sequences(model, layer, sequences, n, err));
    for (int i = 0; i < n; i++) {
        const me_sequence *s = &sequences[i];
        if (s->edit_pos < 0 || s->edit_pos > s->read_pos)
            return me_fail(err, MOBIEDIT_E_ARGUMENT,
                           "sequence %d: position %d cannot be edited when reading starts at %d", i,
                           s->edit_pos, s->read_pos);
        ME_TRY(me_check_more(s, i, err));
        if (s->n_read != sequences[0].n_read)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "sequence %d: reads %d positions, the first one %d", i,
                           s->n_read, sequences[0].n_read);
    }
    return MOBIEDIT_OK;
}

/* And for a suffix: `which` [n_which] names sequences of the prefix, and the items can be counted. */
static inline mobiedit_status me_check_suffix(const me_prefix *prefix, int n_deltas, const int *which,
                                              int n_which, mobiedit_error *err) {
    for (int i = 0; i < n_which; i++)
        if (which[i] < 0 || which[i] >= prefix->n_sequences)
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "sequence %d is not in 0 to %d", which[i],
                           prefix->n_sequences - 1);
    int n_items;
    if (__builtin_mul_overflow(n_deltas, n_which, &n_items))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "%d deltas on %d sequences are too many", n_deltas, n_which);
    return MOBIEDIT_OK;
}

/* Columns of the sequence that matter: those up to the last read position. */
static inline int me_sequence_columns(const me_sequence *sequence) {
    return sequence->read_pos + sequence->n_read;
}

/* How many of more_pos matter: those among these columns. */
static inline int me_sequence_more(const me_sequence *sequence) {
    int n = 0;
    while (n < sequence->n_more && sequence->more_pos[n] < me_sequence_columns(sequence))
        n++;
    return n;
}

/* The i-th position where delta is added: edit_pos, then those of more_pos. */
static inline int me_edit_at(int edit_pos, const int *more_pos, int i) {
    return i == 0 ? edit_pos : more_pos[i - 1];
}

#endif
