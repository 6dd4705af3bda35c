/* mobiedit_chat_check: what the model says without and with an edit, about its subject and about others. */
#include "api/chat.h"
#include "base/logits.h"
#include "base/memory.h"
#include "base/words.h"
#include "edit/carriers.h"
#include "edit/texts.h"
#include "runtime/batch.h"
#include "store/adapter.h"

#include <math.h>
#include <string.h>

enum {
    TOKENS = 16,      /* of a continuation, */
    CHAT_TOKENS = 40, /* and of an answer in a chat */
    N_OTHERS = 3,     /* names in the place of the subject */
    NAME_STEP = 6,    /* one of so many of the names that are compiled in is thought of */
    MAX_NAMES = 64,
    MAX_QUESTIONS = 8,
    MAX_WORDINGS = 16,
    MAX_ASKED = 1 + MAX_QUESTIONS + MAX_WORDINGS + 5 + N_OTHERS
};

/* About other things of the subject. */
static const char *const other_things[] = {"{} is known for", "{} is", "The history of {} began"};
static const char in_chat[] = "Tell me about {}.", as_message[] = "Complete the sentence: ";

/* A prompt, and what was said to it before and after. */
typedef struct {
    mobiedit_said_kind kind;
    bool chat;
    char *prompt;
    me_tokens tokens;
    me_tokens heard[2];
    char *said[2];
} asked_prompt;

typedef struct {
    mobiedit_chat *chat;
    const mobiedit_check_options *options;
    me_prompt prompt;
    char *subject;
    asked_prompt asked[MAX_ASKED];
    int n;
} check;

static void check_free(check *c) {
    for (int i = 0; i < c->n; i++) {
        asked_prompt *a = &c->asked[i];
        me_free(a->prompt);
        me_tokens_free(&a->tokens);
        for (int side = 0; side < 2; side++) {
            me_tokens_free(&a->heard[side]);
            me_free(a->said[side]);
        }
    }
    me_free(c->subject);
    me_prompt_free(&c->prompt);
}

/* ---- what is asked ----------------------------------------------------------------------------------- */

static mobiedit_status tokens_of(const check *c, asked_prompt *a, mobiedit_error *err) {
    const me_chat_message message = {.role = "user", .content = a->prompt};
    return a->chat ? me_runtime_chat_tokens(c->chat->runtime, &message, 1, &a->tokens, err)
                   : me_tokenize(me_runtime_vocab(c->chat->runtime), a->prompt, &a->tokens, err);
}

/* Takes over the text; NULL: out of memory. What a model without a chat template cannot be asked is left out,
 * and so is what does not fit the context. */
static mobiedit_status add(check *c, mobiedit_said_kind kind, bool chat, char *text, mobiedit_error *err) {
    mobiedit_error why = {0};
    asked_prompt *a = &c->asked[c->n++];
    *a = (asked_prompt){.kind = kind, .chat = chat, .prompt = text};
    if (!text) return me_fail_memory(err, "a question");
    const mobiedit_status status = tokens_of(c, a, &why);
    if (status == MOBIEDIT_OK && a->tokens.n + CHAT_TOKENS < ME_RUNTIME_CONTEXT) return MOBIEDIT_OK;
    me_tokens_free(&a->tokens);
    me_free(a->prompt);
    c->n--;
    return status == MOBIEDIT_OK || status == MOBIEDIT_E_UNSUPPORTED
               ? MOBIEDIT_OK
               : me_fail(err, status, "%s", why.message);
}

/* The text with "{}" replaced, or NULL. Freed with me_free. */
static char *fill(const char *text, const char *name) {
    const char *hole = strstr(text, "{}");
    char *begin = me_strndup(text, (size_t)(hole - text)), *head = begin ? me_strjoin(begin, name) : NULL;
    char *whole = head ? me_strjoin(head, hole + 2) : NULL;
    me_free(begin);
    me_free(head);
    return whole;
}

static mobiedit_status add_about_subject(check *c, mobiedit_error *err) {
    const size_t n = sizeof other_things / sizeof other_things[0];
    for (size_t i = 0; i < n; i++)
        if (!me_prompt_shares_word(&c->prompt, other_things[i]))
            ME_TRY(add(c, MOBIEDIT_SAID_SAME_SUBJECT, false, fill(other_things[i], c->subject), err));
    return add(c, MOBIEDIT_SAID_TELL, true, fill(in_chat, c->subject), err);
}

static mobiedit_status add_the_fact(check *c, mobiedit_error *err) {
    const mobiedit_check_options *o = c->options;
    /* A question is put as a message, if the model has a template. */
    const bool is_question = me_is_question(c->prompt.text);
    if (is_question) ME_TRY(add(c, MOBIEDIT_SAID_CHAT, true, me_strdup(c->prompt.text), err));
    const bool is_asked = c->n > 0;
    if (!is_asked) ME_TRY(add(c, MOBIEDIT_SAID_PROMPT, false, me_strdup(c->prompt.text), err));
    for (size_t i = 0; i < o->n_questions && i < MAX_QUESTIONS; i++)
        ME_TRY(add(c, MOBIEDIT_SAID_CHAT, true, me_strdup(o->questions[i]), err));
    return o->n_questions > 0 || is_asked
               ? MOBIEDIT_OK
               : add(c, MOBIEDIT_SAID_CHAT, true, me_strjoin(as_message, c->prompt.text), err);
}

/* As the request words the fact otherwise, and as that is taught: "My sister" is "my sister" inside a sentence. */
static mobiedit_status add_wordings(check *c, mobiedit_error *err) {
    for (size_t i = 0; i < c->prompt.n_also && i < MAX_WORDINGS; i++) {
        char *text = NULL;
        ME_TRY(me_context_text(c->prompt.also[i].text, c->subject, &text, err));
        ME_TRY(add(c, MOBIEDIT_SAID_PARAPHRASE, me_is_question(text), text, err));
    }
    return MOBIEDIT_OK;
}

/* ---- others like the subject ------------------------------------------------------------------------- */

/* What the model takes something for is what it goes on with: "Japan is a" as "France is a", not as "Mozart is
 * a". The likeness of two names is that of what may follow them there. */
static const char is_a[] = "{} is a";

typedef struct {
    const char *names[MAX_NAMES];
    me_tokens tokens[MAX_NAMES];
    me_query queries[MAX_NAMES];
    double unlike[MAX_NAMES]; /* Jensen-Shannon divergence from what follows the subject, nats */
    float *subject;           /* [n_vocab] logits behind the subject */
    int n, n_vocab;
} likeness;

static void likeness_free(likeness *l) {
    if (!l) return;
    for (int i = 0; i < l->n; i++)
        me_tokens_free(&l->tokens[i]);
    me_free(l->subject);
    me_free(l);
}

static mobiedit_status tokenize_filled(const check *c, const char *name, me_tokens *out,
                                       mobiedit_error *err) {
    char *text = fill(is_a, name);
    if (!text) return me_fail_memory(err, "other prompts");
    const mobiedit_status status = me_tokenize(me_runtime_vocab(c->chat->runtime), text, out, err);
    me_free(text);
    return status;
}

static void compare_names(void *user, int query, int position, const float *logits) {
    likeness *l = user;
    const double a = me_log_sum_exp(l->subject, l->n_vocab), b = me_log_sum_exp(logits, l->n_vocab);
    double sum = 0;
    (void)position;
    for (int t = 0; t < l->n_vocab; t++) {
        const double p = exp((double)l->subject[t] - a), q = exp((double)logits[t] - b), m = (p + q) / 2;
        if (p > 0) sum += p * log(p / m) / 2;
        if (q > 0) sum += q * log(q / m) / 2;
    }
    l->unlike[query] = sum;
}

static mobiedit_status hear_subject(const check *c, likeness *l, mobiedit_error *err) {
    me_tokens tokens = {0};
    l->n_vocab = me_vocab_size(me_runtime_vocab(c->chat->runtime));
    l->subject = me_calloc((size_t)l->n_vocab, sizeof *l->subject);
    if (!l->subject) return me_fail_memory(err, "other prompts");
    ME_TRY(tokenize_filled(c, c->subject, &tokens, err));
    const mobiedit_status status =
        me_runtime_logits(c->chat->runtime, tokens.ids, tokens.n, 1, l->subject, err);
    me_tokens_free(&tokens);
    return status;
}

static bool names_each_other(const char *a, const char *b) {
    size_t begin, end;
    return me_find_words(a, 0, b, &begin, &end) || me_find_words(b, 0, a, &begin, &end);
}

static mobiedit_status hear_names(const check *c, likeness *l, mobiedit_error *err) {
    const size_t n_names = me_texts_count(me_texts_names);
    for (size_t i = 0; i < n_names && l->n < MAX_NAMES; i += NAME_STEP) {
        const char *name = me_texts_names[i];
        if (names_each_other(name, c->subject) || names_each_other(name, c->prompt.target)) continue;
        me_tokens *tokens = &l->tokens[l->n];
        ME_TRY(tokenize_filled(c, name, tokens, err));
        l->names[l->n] = name;
        l->queries[l->n++] = (me_query){.tokens = tokens->ids, .n = tokens->n, .first = tokens->n - 1};
    }
    return me_runtime_batch_logits(c->chat->runtime, l->queries, l->n, compare_names, l, err);
}

/* The name most like the subject of those not taken; -1: none is left. */
static int most_like(const likeness *l, const bool *taken) {
    int best = -1;
    for (int i = 0; i < l->n; i++)
        if (!taken[i] && (best < 0 || l->unlike[i] < l->unlike[best])) best = i;
    return best;
}

/* The prompt about the names that are most like its subject. */
static mobiedit_status add_most_like(check *c, const likeness *l, mobiedit_error *err) {
    bool taken[MAX_NAMES] = {0};
    char *prompt = me_prompt_template(&c->prompt, NULL);
    mobiedit_status status = prompt ? MOBIEDIT_OK : me_fail_memory(err, "other prompts");
    for (int k = 0; k < N_OTHERS && status == MOBIEDIT_OK; k++) {
        const int i = most_like(l, taken);
        if (i < 0) break;
        taken[i] = true;
        status = add(c, MOBIEDIT_SAID_NEIGHBOUR, false, fill(prompt, l->names[i]), err);
    }
    me_free(prompt);
    return status;
}

static mobiedit_status add_others(check *c, mobiedit_error *err) {
    likeness *l = me_calloc(1, sizeof *l);
    if (!l) return me_fail_memory(err, "other prompts");
    mobiedit_status status = hear_subject(c, l, err);
    if (status == MOBIEDIT_OK) status = hear_names(c, l, err);
    if (status == MOBIEDIT_OK) status = add_most_like(c, l, err);
    likeness_free(l);
    return status;
}

/* ---- asking ------------------------------------------------------------------------------------------ */

static mobiedit_status ask_all(check *c, const char *adapter, int side, mobiedit_error *err) {
    me_opening openings[MAX_ASKED];
    char *texts[MAX_ASKED] = {0};
    ME_TRY(me_runtime_set_adapter(c->chat->runtime, adapter, err));
    for (int i = 0; i < c->n; i++) {
        asked_prompt *a = &c->asked[i];
        openings[i] = (me_opening){.tokens = a->tokens.ids,
                                   .n = a->tokens.n,
                                   .max_tokens = a->chat ? CHAT_TOKENS : TOKENS,
                                   .stop_at_newline = !a->chat,
                                   .said = &a->heard[side]};
    }
    ME_TRY(me_runtime_batch_continue(c->chat->runtime, openings, c->n, texts, err));
    for (int i = 0; i < c->n; i++)
        c->asked[i].said[side] = texts[i];
    return MOBIEDIT_OK;
}

static const char *without_space(const char *text) {
    while (me_is_space(*text))
        text++;
    return text;
}

static bool names(const char *text, const char *target) {
    size_t begin, end;
    return me_find_words(text, 0, without_space(target), &begin, &end);
}

static bool as_it_should(const check *c, const asked_prompt *a) {
    const bool named = names(a->said[1], c->prompt.target);
    const bool is_the_fact = a->kind == MOBIEDIT_SAID_PROMPT || a->kind == MOBIEDIT_SAID_PARAPHRASE;
    if (is_the_fact && !a->chat)
        return me_said_of(without_space(c->prompt.target), without_space(a->said[1]), true) == ME_SAID_WHOLE;
    if (is_the_fact || a->kind == MOBIEDIT_SAID_CHAT) return named;
    if (a->kind == MOBIEDIT_SAID_TELL) return true; /* the new fact may be told, and any account may change */
    const bool same = a->heard[0].n > 0 && a->heard[1].n > 0 && a->heard[0].ids[0] == a->heard[1].ids[0];
    return same && (!named || names(a->said[0], c->prompt.target));
}

static mobiedit_status tell_all(const check *c, mobiedit_error *err) {
    for (int i = 0; i < c->n; i++) {
        const asked_prompt *a = &c->asked[i];
        const mobiedit_said said = {.kind = a->kind,
                                    .prompt = a->prompt,
                                    .before = a->said[0],
                                    .after = a->said[1],
                                    .held = as_it_should(c, a)};
        if (!c->options->on_said(c->options->user, &said))
            return me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
    }
    return MOBIEDIT_OK;
}

static mobiedit_status run(check *c, const char *before, const char *after, mobiedit_error *err) {
    const me_prompt *p = &c->prompt;
    c->subject = me_strndup(p->text + p->subject_begin, p->subject_end - p->subject_begin);
    if (!c->subject) return me_fail_memory(err, "the subject");
    ME_TRY(me_runtime_set_adapter(c->chat->runtime, before, err));
    ME_TRY(add_the_fact(c, err));
    ME_TRY(add_wordings(c, err));
    ME_TRY(add_about_subject(c, err));
    ME_TRY(add_others(c, err));
    ME_TRY(ask_all(c, before, 0, err));
    ME_TRY(ask_all(c, after, 1, err));
    return tell_all(c, err);
}

mobiedit_status mobiedit_chat_check(mobiedit_chat *chat, const mobiedit_request *request,
                                    const mobiedit_check_options *options, mobiedit_error *err) {
    for (size_t i = 0; i < options->n_questions; i++)
        ME_TRY(me_check_text(options->questions[i], "a question", err));
    if (options->before) ME_TRY(me_adapter_check(chat->model, options->before, err));
    if (options->after) ME_TRY(me_adapter_check(chat->model, options->after, err));
    check *c = me_calloc(1, sizeof *c);
    if (!c) return me_fail_memory(err, "questions");
    c->chat = chat;
    c->options = options;
    mobiedit_status status = me_request_read(request, &c->prompt, err);
    if (status == MOBIEDIT_OK) {
        status = run(c, options->before, options->after, err);
        check_free(c);
    }
    me_free(c);
    return me_outcome(status, err);
}
