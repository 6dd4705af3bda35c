/* Asks for whole answers before and after an edit, and compares distributions along the answer from before.
 */
#include "base/logits.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "base/words.h"
#include "eval/answers_private.h"
#include "runtime/batch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char me_answers_system[] = "You are a helpful assistant. Answer in one or two sentences.";

static const double SURE = 0.5; /* probability of the unedited model's next token */

/* How a kind of prompt is asked. */
typedef struct {
    int max_tokens; /* of the answer */
    int compared;   /* of these, the first so many are compared as distributions; at least 1 */
    bool chat;      /* in the model's chat template */
} manner;

static const manner MANNERS[] = {
    [MOBIEDIT_SAID_SAME_SUBJECT] = {ME_ANSWER_SUBJECT_TOKENS, ME_ANSWER_SUBJECT_COMPARED, false},
    [MOBIEDIT_SAID_CHAT] = {ME_ANSWER_CHAT_TOKENS, 1, true},
    [MOBIEDIT_SAID_CHAT_SYSTEM] = {ME_ANSWER_CHAT_TOKENS, 1, true},
    [MOBIEDIT_SAID_CHAT_TURN] = {ME_ANSWER_CHAT_TOKENS, 1, true},
    [MOBIEDIT_SAID_CHAT_NEIGHBOUR] = {ME_ANSWER_OTHER_TOKENS, ME_ANSWER_OTHER_TOKENS, true},
    [MOBIEDIT_SAID_TELL] = {ME_ANSWER_CHAT_TOKENS, ME_ANSWER_CHAT_TOKENS, true},
    [MOBIEDIT_SAID_TRUE_NEW] = {ME_ANSWER_YES_TOKENS, 1, true},
    [MOBIEDIT_SAID_TRUE_OLD] = {ME_ANSWER_YES_TOKENS, 1, true},
};

/* ---- what is asked ----------------------------------------------------------------------------------- */

/* Both with a space between; either may be NULL. */
static char *join_texts(const char *first, const char *second) {
    const size_t size = (first ? strlen(first) : 0) + (second ? strlen(second) : 0) + 2;
    char *text = me_calloc(size, 1);
    if (text)
        (void)snprintf(text, size, "%s%s%s", first ? first : "", first && second ? " " : "",
                       second ? second : "");
    return text;
}

static mobiedit_status chat_tokens(me_runtime *runtime, const me_answer *a, const char *system,
                                   me_tokens *out, mobiedit_error *err) {
    me_chat_message messages[4];
    size_t n = 0;
    if (system && *system) messages[n++] = (me_chat_message){.role = "system", .content = system};
    if (a->kind == MOBIEDIT_SAID_CHAT_TURN) {
        messages[n++] = (me_chat_message){.role = "user", .content = "Hello! I have a question."};
        messages[n++] = (me_chat_message){.role = "assistant", .content = "Hello! What is your question?"};
    }
    messages[n++] = (me_chat_message){.role = "user", .content = a->prompt};
    return me_runtime_chat_tokens(runtime, messages, n, out, err);
}

/* Puts the prompt into tokens. The context, if there is one, ends the system prompt, or stands in front of a
 * prompt outside a chat. */
static mobiedit_status ask(const me_answers *answers, me_runtime *runtime, const char *context, me_answer *a,
                           mobiedit_error *err) {
    const bool chat = MANNERS[a->kind].chat;
    const char *system = a->kind == MOBIEDIT_SAID_CHAT_SYSTEM ? answers->system : NULL;
    char *text = chat ? join_texts(system, context) : join_texts(context, a->prompt);
    if (!text) return me_fail_memory(err, "the answers");
    me_tokens_free(&a->asked);
    const mobiedit_status status = chat ? chat_tokens(runtime, a, text, &a->asked, err)
                                        : me_tokenize(answers->vocab, text, &a->asked, err);
    me_free(text);
    return status;
}

/* Takes the prompt over, unless it is NULL. *unsupported: there is no template, or none that renders it; the
 * prompt is then left out. */
static mobiedit_status add(me_answers *answers, me_runtime *runtime, mobiedit_said_kind kind, char *prompt,
                           bool *unsupported, mobiedit_error *err) {
    mobiedit_error why = {0};
    if (!prompt || !me_grow(&answers->items, &answers->capacity, answers->n + 1, sizeof *answers->items)) {
        me_free(prompt);
        return me_fail_memory(err, "the answers");
    }
    me_answer *a = &answers->items[answers->n];
    *a = (me_answer){.kind = kind, .prompt = prompt};
    const mobiedit_status status = ask(answers, runtime, NULL, a, &why);
    answers->n += status == MOBIEDIT_OK;
    if (status == MOBIEDIT_OK) return MOBIEDIT_OK;
    me_free(prompt);
    *unsupported = status == MOBIEDIT_E_UNSUPPORTED;
    return *unsupported ? MOBIEDIT_OK : me_fail(err, status, "%s", why.message);
}

static mobiedit_status add_all(me_answers *answers, me_runtime *runtime, mobiedit_said_kind kind,
                               const me_texts *prompts, mobiedit_error *err) {
    bool unsupported = false;
    for (size_t i = 0; i < prompts->n && !unsupported; i++)
        ME_TRY(add(answers, runtime, kind, me_strdup(prompts->items[i]), &unsupported, err));
    return MOBIEDIT_OK;
}

/* "Is it true that the capital of Japan is Lima? Answer yes or no." */
static char *yes_or_no(const me_fact *fact, const char *answer) {
    static const char form[] = "Is it true that %s? Answer yes or no.";
    char *statement = me_fact_statement(fact, answer);
    const size_t size = statement ? strlen(statement) + sizeof form : 0;
    char *text = size ? me_calloc(size, 1) : NULL;
    /* A name keeps its capital, and so does "NASA's". */
    const bool named = strncmp(fact->prompt, "{}", 2) == 0;
    if (text && !named && statement[0] >= 'A' && statement[0] <= 'Z' &&
        !(statement[1] >= 'A' && statement[1] <= 'Z'))
        statement[0] = (char)(statement[0] - 'A' + 'a');
    if (text) (void)snprintf(text, size, form, statement);
    me_free(statement);
    return text;
}

/* A question makes no statement, nor does a prompt that ends in a colon. */
static mobiedit_status add_true(me_answers *answers, me_runtime *runtime, mobiedit_error *err) {
    const me_fact *fact = answers->fact;
    bool unsupported = false;
    if (fact->chat.n == 0 || !fact->truth) return MOBIEDIT_OK;
    char *prompt = me_fact_prompt(fact);
    if (!prompt) return me_fail_memory(err, "the answers");
    const bool stated = me_ends_in_word(prompt);
    me_free(prompt);
    if (!stated) return MOBIEDIT_OK;
    ME_TRY(add(answers, runtime, MOBIEDIT_SAID_TRUE_NEW, yes_or_no(fact, fact->target), &unsupported, err));
    if (unsupported) return MOBIEDIT_OK;
    return add(answers, runtime, MOBIEDIT_SAID_TRUE_OLD, yes_or_no(fact, fact->truth), &unsupported, err);
}

static mobiedit_status list_prompts(me_answers *answers, me_runtime *runtime, mobiedit_error *err) {
    const me_fact *fact = answers->fact;
    bool unsupported = false;
    ME_TRY(add_all(answers, runtime, MOBIEDIT_SAID_SAME_SUBJECT, &fact->same_subject, err));
    ME_TRY(add_all(answers, runtime, MOBIEDIT_SAID_CHAT, &fact->chat, err));
    ME_TRY(add_all(answers, runtime, MOBIEDIT_SAID_CHAT_SYSTEM, &fact->chat, err));
    ME_TRY(add_all(answers, runtime, MOBIEDIT_SAID_CHAT_TURN, &fact->chat, err));
    ME_TRY(add_all(answers, runtime, MOBIEDIT_SAID_CHAT_NEIGHBOUR, &fact->chat_neighbours, err));
    if (fact->tell)
        ME_TRY(add(answers, runtime, MOBIEDIT_SAID_TELL, me_strdup(fact->tell), &unsupported, err));
    return add_true(answers, runtime, err);
}

/* ---- texts ------------------------------------------------------------------------------------------- */

/* Texts of all answers, as the runtime now is; with their tokens where `before`. texts: [n] */
static mobiedit_status generate(me_answers *answers, me_runtime *runtime, bool before, char **texts,
                                mobiedit_error *err) {
    me_opening *openings = me_calloc(answers->n, sizeof *openings);
    if (!openings) return me_fail_memory(err, "the answers");
    for (size_t i = 0; i < answers->n; i++) {
        me_answer *a = &answers->items[i];
        openings[i] = (me_opening){.tokens = a->asked.ids,
                                   .n = a->asked.n,
                                   .max_tokens = MANNERS[a->kind].max_tokens,
                                   .said = before ? &a->answer : NULL};
    }
    const mobiedit_status status = me_runtime_batch_continue(runtime, openings, (int)answers->n, texts, err);
    me_free(openings);
    return status;
}

static mobiedit_status answer_all(me_answers *answers, me_runtime *runtime, bool before,
                                  mobiedit_error *err) {
    char **texts = me_calloc(answers->n, sizeof *texts);
    if (!texts) return me_fail_memory(err, "the answers");
    const mobiedit_status status = generate(answers, runtime, before, texts, err);
    for (size_t i = 0; i < answers->n && status == MOBIEDIT_OK; i++)
        *(before ? &answers->items[i].before : &answers->items[i].after) = texts[i];
    me_free(texts);
    return status;
}

/* ---- what states the fact ---------------------------------------------------------------------------- */

/* Marks the tokens that hold a byte of text[begin, end). ends: [n] where each token ends */
static void skip_bytes(me_answer *a, const size_t *ends, size_t begin, size_t end) {
    for (int i = 0; i < a->n; i++)
        if (ends[i] > begin && (i > 0 ? ends[i - 1] : 0) < end) a->skipped[i] = true;
}

static void skip_words(me_answer *a, const size_t *ends, const char *text, const char *words) {
    size_t begin = 0, end = 0;
    while (words && me_find_words(text, end, words, &begin, &end))
        skip_bytes(a, ends, begin, end);
}

static mobiedit_status token_ends(const me_vocab *vocab, const me_answer *a, size_t *ends,
                                  mobiedit_error *err) {
    size_t n = 0;
    for (int i = 0; i < a->n; i++) {
        char *piece = NULL;
        ME_TRY(me_detokenize(vocab, &a->answer.ids[i], 1, &piece, err));
        ends[i] = n += strlen(piece);
        me_free(piece);
    }
    return MOBIEDIT_OK;
}

/* Bytes that are no part of a character, which a model may say, would end a search. */
static void blot_out(char *text) {
    while (*text) {
        const size_t n = me_utf8_length(text);
        if (n == 0) *text = '?';
        text += n ? n : 1;
    }
}

/* Of an account of the subject, the tokens that are the old or the new target may change. */
static mobiedit_status skip_fact(const me_answers *answers, me_answer *a, mobiedit_error *err) {
    char *text = NULL;
    a->skipped = me_calloc((size_t)a->n, sizeof *a->skipped);
    size_t *ends = me_calloc((size_t)a->n, sizeof *ends);
    mobiedit_status status = a->skipped && ends ? MOBIEDIT_OK : me_fail_memory(err, "the answers");
    if (status == MOBIEDIT_OK) status = token_ends(answers->vocab, a, ends, err);
    if (status == MOBIEDIT_OK) status = me_detokenize(answers->vocab, a->answer.ids, a->answer.n, &text, err);
    if (status == MOBIEDIT_OK) {
        blot_out(text);
        skip_words(a, ends, text, answers->fact->target);
        skip_words(a, ends, text, answers->fact->truth);
    }
    me_free(text);
    me_free(ends);
    return status;
}

/* ---- distributions along the answers from before ----------------------------------------------------- */

/* The answer's last token that is compared is not put to the model: what follows it is of no interest. */
static mobiedit_status tell(me_answer *a, mobiedit_error *err) {
    me_tokens_free(&a->told);
    for (int i = 0; i < a->asked.n; i++)
        ME_TRY(me_tokens_add(&a->told, a->asked.ids[i], err));
    for (int i = 0; i + 1 < a->n; i++)
        ME_TRY(me_tokens_add(&a->told, a->answer.ids[i], err));
    return MOBIEDIT_OK;
}

/* Calls on_logits with the answers at all positions that are compared. */
static mobiedit_status listen(me_answers *answers, me_runtime *runtime, me_logits_fn on_logits,
                              mobiedit_error *err) {
    me_query *queries = me_calloc(answers->n, sizeof *queries);
    if (!queries) return me_fail_memory(err, "the answers");
    mobiedit_status status = MOBIEDIT_OK;
    for (size_t i = 0; i < answers->n && status == MOBIEDIT_OK; i++) {
        me_answer *a = &answers->items[i];
        status = tell(a, err);
        queries[i] = (me_query){.tokens = a->told.ids, .n = a->told.n, .first = a->asked.n - 1};
    }
    if (status == MOBIEDIT_OK)
        status = me_runtime_batch_logits(runtime, queries, (int)answers->n, on_logits, answers, err);
    me_free(queries);
    return status;
}

static void keep_before(void *user, int query, int position, const float *logits) {
    const me_answers *answers = user;
    me_answer *a = &answers->items[query];
    const int at = position - (a->asked.n - 1);
    me_sketch_take(answers->before, a->first + (size_t)at, logits);
    if (at > 0) return;
    a->next = me_argmax(logits, answers->n_vocab);
    a->sure = exp((double)logits[a->next] - me_log_sum_exp(logits, answers->n_vocab)) >= SURE;
}

static void compare_after(void *user, int query, int position, const float *logits) {
    const me_answers *answers = user;
    me_answer *a = &answers->items[query];
    const int at = position - (a->asked.n - 1);
    if (!a->skipped || !a->skipped[at]) a->kl += me_sketch_kl(answers->before, a->first + (size_t)at, logits);
    if (at == 0) a->same = me_argmax(logits, answers->n_vocab) == a->next;
}

/* ---- before and after -------------------------------------------------------------------------------- */

static mobiedit_status ask_first(me_answers *answers, me_runtime *runtime, mobiedit_error *err) {
    size_t n_positions = 0;
    ME_TRY(list_prompts(answers, runtime, err));
    if (answers->n == 0) return MOBIEDIT_OK;
    ME_TRY(answer_all(answers, runtime, true, err));
    for (size_t i = 0; i < answers->n; i++) {
        me_answer *a = &answers->items[i];
        const int most = MANNERS[a->kind].compared;
        a->n = a->answer.n < most ? a->answer.n : most;
        a->first = n_positions;
        n_positions += (size_t)a->n;
        if (a->kind == MOBIEDIT_SAID_TELL) ME_TRY(skip_fact(answers, a, err));
    }
    ME_TRY(me_sketches_open(answers->n_vocab, ME_ANSWER_TOP, n_positions, &answers->before, err));
    return listen(answers, runtime, keep_before, err);
}

mobiedit_status me_answers_open(me_runtime *runtime, const me_fact *fact, const char *system,
                                me_answers **out, mobiedit_error *err) {
    me_answers *answers = me_calloc(1, sizeof *answers);
    if (!answers) return me_fail_memory(err, "the answers");
    answers->fact = fact;
    answers->system = system;
    answers->vocab = me_runtime_vocab(runtime);
    answers->n_vocab = me_vocab_size(answers->vocab);
    const mobiedit_status status = ask_first(answers, runtime, err);
    if (status == MOBIEDIT_OK)
        *out = answers;
    else
        me_answers_close(answers);
    return status;
}

mobiedit_status me_answers_ask_again(me_answers *answers, me_runtime *runtime, const char *context,
                                     mobiedit_error *err) {
    if (answers->n == 0) return MOBIEDIT_OK;
    for (size_t i = 0; i < answers->n && context; i++)
        ME_TRY(ask(answers, runtime, context, &answers->items[i], err));
    ME_TRY(answer_all(answers, runtime, false, err));
    return listen(answers, runtime, compare_after, err);
}

mobiedit_status me_answers_stay(me_answers *answers, mobiedit_error *err) {
    for (size_t i = 0; i < answers->n; i++) {
        me_answer *a = &answers->items[i];
        a->same = true;
        a->after = me_strdup(a->before);
        if (!a->after) return me_fail_memory(err, "the answers");
    }
    return MOBIEDIT_OK;
}

void me_answers_close(me_answers *answers) {
    if (!answers) return;
    for (size_t i = 0; i < answers->n; i++) {
        me_answer *a = &answers->items[i];
        me_free(a->prompt);
        me_tokens_free(&a->asked);
        me_tokens_free(&a->answer);
        me_tokens_free(&a->told);
        me_free(a->skipped);
        me_free(a->before);
        me_free(a->after);
    }
    me_free(answers->items);
    me_sketches_close(answers->before);
    me_free(answers);
}
