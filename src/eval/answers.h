/* Whole answers: what the model says about other things of a fact's subject, and to questions in its chat
 * template, before an edit and with it. */
#ifndef ME_EVAL_ANSWERS_H
#define ME_EVAL_ANSWERS_H

#include "eval/fact.h"
#include "runtime/runtime.h"

enum {
    ME_ANSWER_SUBJECT_TOKENS = 16,  /* of what is said about other things of the subject */
    ME_ANSWER_SUBJECT_COMPARED = 8, /* of these, the tokens whose distributions are compared */
    ME_ANSWER_CHAT_TOKENS = 64,     /* of an answer in chat, */
    ME_ANSWER_OTHER_TOKENS = 16,    /* of one to a question about others */
    ME_ANSWER_YES_TOKENS = 12,      /* and of one that should be yes or no */
    ME_ANSWER_TOP = 2048,           /* tokens of a distribution that are compared by name (sketch.h) */
};

/* A system prompt such as people give, unless they give their own. */
extern const char me_answers_system[];

typedef struct me_answers me_answers;

/* Asks the runtime as it is, unedited. Questions in chat are left out if the model has no template that
 * renders them. The fact and the system prompt of some of these questions are borrowed. */
mobiedit_status me_answers_open(me_runtime *runtime, const me_fact *fact, const char *system,
                                me_answers **out, mobiedit_error *err);
void me_answers_close(me_answers *answers);

/* Asks again: the runtime is edited, or, where `context` is not NULL, is told this before: in the system
 * prompt, and of prompts outside a chat in front of them. E_UNSUPPORTED: the model's chat template takes no
 * system prompt. */
mobiedit_status me_answers_ask_again(me_answers *answers, me_runtime *runtime, const char *context,
                                     mobiedit_error *err);

/* In the place of asking again: the model is as it was. E_MEMORY. */
mobiedit_status me_answers_stay(me_answers *answers, mobiedit_error *err);

/* After either, the metrics of answers. NULL stands for nothing asked: all are NaN. */
mobiedit_status me_answers_sum_up(const me_answers *answers, mobiedit_metrics *out, mobiedit_error *err);

/* How many answers there are (0 of NULL), and number i as texts that are borrowed. */
size_t me_answers_count(const me_answers *answers);
mobiedit_said me_answers_said(const me_answers *answers, size_t i);

#endif
