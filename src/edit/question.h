/* Questions as facts: put to the model in its own chat template, the way people ask. */
#ifndef ME_EDIT_QUESTION_H
#define ME_EDIT_QUESTION_H

#include "edit/edit.h"

/* Whether the prompt or another wording of it is a question that is not in a chat yet. */
bool me_prompt_asks(const me_prompt *prompt);

/* Puts the questions among the prompt and its other wordings into the chat template, the assistant's turn opened.
 * If the model has none that takes them, they stay as they are. */
mobiedit_status me_prompt_ask(const me_vocab *vocab, me_prompt *prompt, mobiedit_error *err);

/* Of a question: finds how the model begins its answer before it comes to the point. What follows there is what
 * the target has to replace. If it comes to the point at once, and another wording is a statement, the target is
 * taught with a space before it: its tokens are the same then in an answer as in a statement. *evaluations grows
 * by the prompts that were run. */
mobiedit_status me_prompt_find_opening(me_session *session, me_prompt *prompt, size_t *evaluations,
                                       mobiedit_error *err);

#endif
