/* The prompts of one edit as token sequences: carriers, the essence prompt, and the texts whose keys the key
 * solve needs. */
#ifndef ME_EDIT_CARRIERS_H
#define ME_EDIT_CARRIERS_H

#include "edit/edit.h"
#include "edit/problem.h"

/* Sequences that own their tokens. */
typedef struct {
    me_sequence *items;
    int *kinds; /* of carriers: ME_KIND_... */
    int n, capacity;
    int n_own; /* of carriers: those in the prompt's own words, which come first */
} me_sequences;

void me_sequences_free(me_sequences *sequences);

/* Adds `context` with "{}" replaced by the subject; with a target, its tokens without the last follow, and
 * the target's positions are read. Without one, the subject's last token is read, or every token where all is
 * set. E_ARGUMENT where the subject has no token. */
typedef struct {
    const char *context;
    const char *subject;
    size_t core;        /* bytes from the subject's first to the end of the token that counts, as of
                           me_subject_core; 0: the whole subject */
    const char *target; /* may be NULL */
    bool all;
} me_context;
mobiedit_status me_sequences_add(me_sequences *sequences, const me_vocab *vocab, const me_context *context,
                                 mobiedit_error *err);

/* Adds texts [n] as they are, every token read. */
mobiedit_status me_sequences_add_texts(me_sequences *sequences, const me_vocab *vocab,
                                       const char *const *texts, size_t n, mobiedit_error *err);

/* The prompt as it is to be edited: out borrows its texts. Where the subject is no more than the first token
 * of all, what follows counts to it up to the next token's end ("{GitHub's} CEO is"), and tail says how much
 * that is: the residual at the first position is a hundred times as long as elsewhere, whatever stands there
 * (an attention sink, arXiv 2309.17453; massive activations, arXiv 2402.17762), so that no delta turns it,
 * and its key tells no names apart. */
mobiedit_status me_prompt_settle(const me_vocab *vocab, const me_prompt *prompt, me_prompt *out,
                                 mobiedit_error *err);

/* Bytes of the subject up to the end of its last token that does not reach beyond the subject: "Inc" of
 * "{Inc.}'s" where the tokens are "Inc", ".'", "s". A key must be found again in other texts, where what
 * follows the subject is different. The whole subject where no token ends inside it ("{Japan}ese"). */
mobiedit_status me_subject_core(const me_vocab *vocab, const me_prompt *prompt, size_t *core,
                                mobiedit_error *err);

/* Which carriers a request gets beside the bare prompt. */
typedef struct {
    int n_prefixed; /* the prompt behind neutral prefixes number first_prefix and on (round robin) */
    int first_prefix;
    bool reworded; /* the prompt's content words in other wordings, where it has any: an edit that holds for
                    * one wording only is not what was asked for */
} me_carrier_options;

/* What a sequence with a target should say, [n_read] tokens of its own. */
const me_token *me_sequence_target(const me_sequence *sequence);

/* The carriers of a request: the bare prompt first, then those asked for. In all of them the target is cut
 * into the same tokens. */
mobiedit_status me_carriers_make(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                 const me_carrier_options *options, me_sequences *out, mobiedit_error *err);

/* The words of the prompt around its subject that carry meaning, with spaces between: "official currency" of
 * "The official currency of {Japan} is". Empty where there are none. Freed with me_free. */
char *me_prompt_words(const me_prompt *prompt);

/* The prompt's text with "{}" in the subject's place, behind `prefix` (may be NULL). Freed with me_free. */
char *me_prompt_template(const me_prompt *prompt, const char *prefix);

#endif
