/* Keys that an edit at the answer must not fire at, beside those of other names in its own prompt: what else
 * is said of the subject, and other subjects asked about the same in other words. */
#ifndef ME_EDIT_ANSWER_KEYS_H
#define ME_EDIT_ANSWER_KEYS_H

#include "edit/session.h"

/* Every step-th of the compiled-in texts, from `first` on. */
typedef struct {
    int first, step;
} me_text_choice;

/* What is wanted; NULL: not that. */
typedef struct {
    const me_text_choice *others;
    const me_name_choice *names;
    const me_sequences *carriers;
} me_answer_choice;

typedef struct {
    /* Prompts and questions about anything else of the prompt's subject, every token from the subject on; those
     * that share a word of meaning with the prompt are left out. All of them have about ME_ANSWER_OTHERS tokens. */
    me_key_set others;
    /* Other names in other wordings of the prompt, and in questions in the chat template where the model has one:
     * where an answer begins. */
    me_key_set asked;
    /* The target's own tokens in each of the carriers, and what the model goes on with: the fact is said there,
     * and not to be said again. */
    me_key_set said;
} me_answer_keys;
enum { ME_ANSWER_OTHERS = 450 };

/* The prompt is a settled one. Freed with me_answer_keys_free. */
mobiedit_status me_answer_keys_read(me_session *session, int layer, const me_prompt *prompt,
                                    const me_answer_choice *choice, me_answer_keys *out, mobiedit_error *err);
void me_answer_keys_free(me_answer_keys *keys);

#endif
