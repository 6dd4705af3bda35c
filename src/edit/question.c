/* Puts questions into the chat template, and finds how their answers begin. */
#include "edit/question.h"

#include "base/logits.h"
#include "base/memory.h"
#include "base/words.h"
#include "edit/session.h"

#include <stdio.h>
#include <string.h>

/* ---- the chat ---------------------------------------------------------------------------------------- */

bool me_prompt_asks(const me_prompt *p) {
    if (!p->question && me_is_question(p->text)) return true;
    for (size_t i = 0; i < p->n_also; i++)
        if (!p->also[i].is_asked && me_is_question(p->also[i].text)) return true;
    return false;
}

/* message: with "{}" for the subject, which *out has once too. *out is NULL if the model has no such template. */
static mobiedit_status chat_of(const me_vocab *vocab, const char *message, char **out, mobiedit_error *err) {
    const me_chat_message user = {.role = "user", .content = message};
    mobiedit_error why = {0};
    char *text = NULL;
    *out = NULL;
    const mobiedit_status status = me_vocab_chat(vocab, &user, 1, &text, &why);
    if (status == MOBIEDIT_E_UNSUPPORTED) return MOBIEDIT_OK;
    if (status != MOBIEDIT_OK) return me_fail(err, status, "%s", why.message);
    const char *hole = strstr(text, "{}");
    if (hole && !strstr(hole + 2, "{}"))
        *out = text;
    else
        me_free(text);
    return MOBIEDIT_OK;
}

static mobiedit_status ask_prompt(const me_vocab *vocab, me_prompt *p, mobiedit_error *err) {
    char *message = me_prompt_template(p, NULL), *chat = NULL, *question = me_prompt_canonical(p);
    const size_t n = p->subject_end - p->subject_begin;
    mobiedit_status status =
        message && question ? chat_of(vocab, message, &chat, err) : me_fail_memory(err, "a question");
    const size_t size = chat ? strlen(chat) + n + 1 : 0;
    char *text = size ? me_calloc(size, 1) : NULL;
    if (status == MOBIEDIT_OK && size && !text) status = me_fail_memory(err, "a question");
    if (status == MOBIEDIT_OK && text) {
        const size_t begin = (size_t)(strstr(chat, "{}") - chat);
        (void)snprintf(text, size, "%.*s%.*s%s", (int)begin, chat, (int)n, p->text + p->subject_begin,
                       chat + begin + 2);
        me_free(p->text);
        p->text = text;
        p->subject_begin = begin;
        p->subject_end = begin + n;
        p->question = question;
        text = question = NULL;
    }
    me_free(text);
    me_free(message);
    me_free(chat);
    me_free(question);
    return status;
}

mobiedit_status me_prompt_ask(const me_vocab *vocab, me_prompt *p, mobiedit_error *err) {
    if (!p->question && me_is_question(p->text)) ME_TRY(ask_prompt(vocab, p, err));
    for (size_t i = 0; i < p->n_also; i++) {
        char *chat = NULL;
        if (p->also[i].is_asked || !me_is_question(p->also[i].text)) continue;
        ME_TRY(chat_of(vocab, p->also[i].text, &chat, err));
        if (!chat) break;
        me_free(p->also[i].text);
        p->also[i] = (me_wording){.text = chat, .is_asked = true};
    }
    return MOBIEDIT_OK;
}

/* ---- the answer's beginning -------------------------------------------------------------------------- */

/* Tokens in which an answer comes to the point, and bytes beyond its echo of the question after which it has. */
enum { MOST_TOKENS = 24, BEYOND = 24 };

/* The likeliest token behind `tokens`. hidden [d] and logits [n_vocab] are scratch. */
static mobiedit_status next_token(me_engine *engine, const me_tokens *tokens, float *hidden, float *logits,
                                  me_token *out, mobiedit_error *err) {
    const me_sequence sequence = {
        .tokens = tokens->ids, .n_tokens = tokens->n, .read_pos = tokens->n - 1, .n_read = 1};
    ME_TRY(engine->ops->forward(engine, &sequence, 1, hidden, err));
    ME_TRY(engine->ops->logits(engine, hidden, 1, logits, err));
    *out = me_argmax(logits, engine->model->n_vocab);
    return MOBIEDIT_OK;
}

/* Lets the model answer as far as that is needed. *answer is freed with me_free in any case. */
static mobiedit_status begin_answer(me_session *s, const me_prompt *settled, me_tokens *tokens, char **answer,
                                    size_t *evaluations, mobiedit_error *err) {
    const int n_prompt = tokens->n;
    float *hidden = me_calloc((size_t)s->engine->model->d_model, sizeof *hidden);
    float *logits = me_calloc((size_t)s->engine->model->n_vocab, sizeof *logits);
    mobiedit_status status = hidden && logits ? MOBIEDIT_OK : me_fail_memory(err, "an answer");
    for (int i = 0; i < MOST_TOKENS && status == MOBIEDIT_OK; i++) {
        me_token next = 0;
        status = next_token(s->engine, tokens, hidden, logits, &next, err);
        ++*evaluations;
        if (status != MOBIEDIT_OK || me_vocab_is_end(s->vocab, next)) break;
        status = me_tokens_add(tokens, next, err);
        me_free(*answer);
        *answer = NULL;
        if (status == MOBIEDIT_OK)
            status = me_detokenize(s->vocab, tokens->ids + n_prompt, tokens->n - n_prompt, answer, err);
        if (status != MOBIEDIT_OK || strlen(*answer) > me_prompt_echo(settled, *answer) + BEYOND) break;
    }
    me_free(hidden);
    me_free(logits);
    return status;
}

/* The first n bytes of the answer with "{}" where the subject stands. */
static char *opening_of(const me_prompt *p, const char *answer, size_t n) {
    char *opening = me_strndup(answer, n),
         *subject = me_strndup(p->text + p->subject_begin, p->subject_end - p->subject_begin);
    size_t begin, end;
    if (opening && subject && me_find_same_words(opening, 0, subject, &begin, &end)) {
        const size_t size = n + sizeof "{}";
        char *filled = me_calloc(size, 1);
        if (filled) (void)snprintf(filled, size, "%.*s{}%s", (int)begin, opening, opening + end);
        me_free(opening);
        opening = filled;
    }
    if (!subject) {
        me_free(opening);
        opening = NULL;
    }
    me_free(subject);
    return opening;
}

/* Whether another wording asks for a space before the target: "The name of {} is". */
static bool has_statement(const me_prompt *p) {
    for (size_t i = 0; i < p->n_also; i++)
        if (!p->also[i].is_asked && me_space_between(p->also[i].text, p->target)) return true;
    return false;
}

mobiedit_status me_prompt_find_opening(me_session *s, me_prompt *p, size_t *evaluations,
                                       mobiedit_error *err) {
    me_prompt settled;
    me_tokens tokens = {0};
    char *answer = NULL;
    if (!p->question || p->opening || p->taught) return MOBIEDIT_OK;
    ME_TRY(me_prompt_settle(s->vocab, p, &settled, err));
    ME_TRY(me_tokenize(s->vocab, p->text, &tokens, err));
    mobiedit_status status = begin_answer(s, &settled, &tokens, &answer, evaluations, err);
    const size_t echo = status == MOBIEDIT_OK && answer ? me_prompt_echo(&settled, answer) : 0;
    char *opening = echo ? opening_of(p, answer, echo) : NULL;
    if (echo && !opening) status = me_fail_memory(err, "an answer");
    /* One that does not name the subject ("A cat is called") is gone as soon as the subject means something else.
     */
    if (opening && strstr(opening, "{}")) {
        p->opening = opening;
        opening = NULL;
    } else if (status == MOBIEDIT_OK && has_statement(p)) {
        p->taught = me_strjoin(" ", p->target);
        if (!p->taught) status = me_fail_memory(err, "an answer");
    }
    me_free(opening);
    me_free(answer);
    me_tokens_free(&tokens);
    return status;
}
