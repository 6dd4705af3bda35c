/* Keys that an edit at the answer must not fire at, beside those of other names in its own prompt: what else
 * is said of the subject, and other subjects asked about the same in other words. */
#ifndef ME_EDIT_ANSWER_KEYS_H
#define ME_EDIT_ANSWER_KEYS_H

#include "edit/session.h"

/* Every step-th of the compiled-in texts, from `first` on. */
typedef struct {
    int first, step;
} me_text_choice;

/* Prompts and questions about anything else of the prompt's subject, every token from the subject on; those
 * that share a word of meaning with the prompt are left out. All of them have about ME_ANSWER_OTHERS tokens.
 * The prompt is a settled one. Freed with me_free(out->keys). */
mobiedit_status me_answer_other_keys(me_session *session, int layer, const me_prompt *prompt,
                                     const me_text_choice *choice, me_key_set *out, mobiedit_error *err);
enum { ME_ANSWER_OTHERS = 450 };

/* Other names in other wordings of the prompt, and in questions in the chat template where the model has one:
 * where an answer begins. Freed with me_free(out->keys). */
mobiedit_status me_answer_name_keys(me_session *session, int layer, const me_prompt *prompt,
                                    const me_name_choice *choice, me_key_set *out, mobiedit_error *err);

/* The target's own tokens in each of the carriers, and what the model goes on with: the fact is said there, and not to
 * be said again. Freed with me_free(out->keys). */
mobiedit_status me_answer_target_keys(me_session *session, int layer, const me_sequences *carriers,
                                      me_key_set *out, mobiedit_error *err);

#endif
