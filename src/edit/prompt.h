/* The prompt of a request: its text, where its subject is, and its target. */
#ifndef ME_EDIT_PROMPT_H
#define ME_EDIT_PROMPT_H

#include "model/vocab.h"

/* The same fact in other words. */
typedef struct {
    char *text;    /* "{}" in the subject's place */
    bool is_asked; /* a user's message in the model's chat template: the answer begins behind it */
} me_wording;

/* The request's own text, cut at the braces. Freed with me_prompt_free. */
typedef struct {
    char *text;           /* without the braces */
    size_t subject_begin; /* bytes of text */
    size_t subject_end;
    size_t tail;       /* the subject's last bytes that are not its own: see me_prompt_settle */
    size_t head, foot; /* bytes of a chat template before and behind the message that names the subject, as
                          me_prompt_settle finds them */
    char *target;      /* without white space at its end, nor the one space that the prompt asks for anyway */
    bool teach_follow; /* the target is taught with `follow`, the token behind it that ends it: else the model
                          may make a longer word or number of it */
    bool at_answer;    /* edited at the text's last token, where the answer begins, not at the subject; the
                          caller sets it */
    me_token follow;
    me_wording *also; /* [n_also] */
    size_t n_also;
    /* Of a question that is put to the model in its chat template (question.h); else NULL. */
    char *question; /* the prompt as it is recorded; `text` is the chat */
    char *opening;  /* how the answer begins, "{}" for the subject; NULL: with the target */
    char *taught;   /* the target as it is taught: with a space before it; NULL: as it is */
} me_prompt;

/* Checks the request: E_ARGUMENT with the reason (no braces, more than one
 * pair, empty subject or target ...). */
mobiedit_status me_prompt_parse(const mobiedit_request *request, me_prompt *out, mobiedit_error *err);
void me_prompt_free(me_prompt *prompt);

/* A request's prompt as it is recorded: "The capital of {Japan} is". Freed with me_free. */
char *me_prompt_canonical(const me_prompt *prompt);

/* The text up to where the target is to follow: with the opening of the answer. Freed with me_free. */
char *me_prompt_before_target(const me_prompt *prompt);

/* Bytes of the answer's beginning that repeat the prompt's message: with no word but the message's own and those
 * that carry no meaning. "The capital of Japan is" of "The capital of Japan is Tokyo." 0 if it repeats none that
 * carries meaning. */
size_t me_prompt_echo(const me_prompt *prompt, const char *answer);

/* Whether the text is a question. */
bool me_is_question(const char *text);

/* Whether the subject begins with a word that is written small inside a sentence: "My sister", "The Hague". */
bool me_begins_small(const char *subject);

/* The words of the prompt's message around its subject that carry meaning, with spaces between: "official
 * currency" of "The official currency of {Japan} is". Empty where there are none. Freed with me_free. */
char *me_prompt_words(const me_prompt *prompt);

/* Whether one of these words stands in the text too. */
bool me_prompt_shares_word(const me_prompt *prompt, const char *text);

/* The prompt's text with "{}" in the subject's place, its message behind `prefix` (may be NULL), and the opening
 * of the answer. Freed with me_free. */
char *me_prompt_template(const me_prompt *prompt, const char *prefix);

/* The prompt as it is to be edited: out borrows its texts. In a chat template's form, other wordings and
 * prefixes belong into the message. Where the subject is no more than the first token
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

#endif
