/* The prompts of one edit as token sequences: carriers, the essence prompt, and the texts whose keys the key
 * solve needs. */
#ifndef ME_EDIT_CARRIERS_H
#define ME_EDIT_CARRIERS_H

#include "edit/problem.h"
#include "edit/prompt.h"
#include "edit/texts.h"

/* What a carrier is like: what calibration has measured of other prompts of the kind is a guess at it. */
enum {
    ME_KIND_OWN,      /* a prompt as it is written, behind a prefix or not */
    ME_KIND_REWORDED, /* the first of me_texts_wordings; the others follow */
    ME_KINDS = ME_KIND_REWORDED + ME_TEXTS_WORDINGS
};

/* Sequences that own their tokens. */
typedef struct {
    me_sequence *items;
    int *kinds; /* of carriers: ME_KIND_... */
    size_t capacity;
    int n, n_own; /* n_own: of carriers, those in the prompt's own words, which come first */
} me_sequences;

void me_sequences_free(me_sequences *sequences);

/* Adds `context` with each "{}" replaced by the subject; with a target, its tokens without the last follow,
 * and the target's positions are read. Without one, the subject's last token is read, or every token where
 * all is set. The first place of the subject is edit_pos, the others are more_pos. E_ARGUMENT where the
 * subject has no token. */
typedef struct {
    const char *context;
    const char *subject;
    size_t core;             /* bytes from the subject's first to the end of the token that counts, as of
                               me_subject_core; 0: the whole subject */
    const char *target;      /* may be NULL */
    const me_sequence *like; /* its target's tokens in place of a target; may be NULL */
    const me_token *follow;  /* to be said behind the target; may be NULL */
    bool all;
    bool at_answer;   /* edit_pos is the text's last token, and there is no other place */
    bool in_sentence; /* "My sister" is "my sister" inside a sentence, and the other way round */
} me_context;
mobiedit_status me_sequences_add(me_sequences *sequences, const me_vocab *vocab, const me_context *context,
                                 mobiedit_error *err);

/* The context's text with its subject, written as inside a sentence. *out is freed with me_free. */
mobiedit_status me_context_text(const char *context, const char *subject, char **out, mobiedit_error *err);

/* Adds texts [n] as they are, every token read. */
mobiedit_status me_sequences_add_texts(me_sequences *sequences, const me_vocab *vocab,
                                       const char *const *texts, size_t n, mobiedit_error *err);

/* The texts that a calibrated model wrote itself, as sequences of which every token is read, in memory of
 * their own (me_free); NULL: out of memory. */
me_sequence *me_calibration_text_sequences(const me_calibration *calibration);

/* How many of an edit's carriers stand behind a neutral prefix. */
enum { ME_PREFIXED_CARRIERS = 2 };

/* Which carriers a request gets beside the bare prompt. */
typedef struct {
    int n_prefixed; /* the prompt behind neutral prefixes number first_prefix and on (round robin) */
    int first_prefix;
    bool reworded; /* the prompt's content words in other wordings, where it has any: an edit that holds for
                    * one wording only is not what was asked for */
    bool all;      /* of an edit at the answer: also those that only its key is to know */
} me_carrier_options;

/* An exchange about the prompt's subject in the model's chat template, up to the answer's beginning, with
 * "{}" for the subject. *out is freed with me_free. E_UNSUPPORTED: the model has no template. */
mobiedit_status me_prompt_chat_text(const me_vocab *vocab, const me_prompt *prompt, const me_texts_chat *chat,
                                    char **out, mobiedit_error *err);

/* One of me_texts_askings with the prompt's content words filled in, "{}" for the subject. *out is freed with
 * me_free; NULL: the prompt has no such words. */
mobiedit_status me_prompt_asking(const me_prompt *prompt, const char *asking, char **out,
                                 mobiedit_error *err);

/* What a sequence with a target should say, [n_read] tokens of its own. */
const me_token *me_sequence_target(const me_sequence *sequence);

/* The carriers of a request: the bare prompt first, then those asked for; of an edit at the answer also
 * questions in the model's chat template, if it has one and the prompt is none itself. In all of them the
 * target has the same tokens. */
mobiedit_status me_carriers_make(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                 const me_carrier_options *options, me_sequences *out, mobiedit_error *err);

#endif
