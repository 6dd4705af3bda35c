/* Asks for whole answers before and after an edit, and compares them: texts, and distributions along the
 * answer from before. */
#include "eval/answers.h"

#include "base/logits.h"
#include "base/memory.h"
#include "base/words.h"
#include "eval/sketch.h"
#include "runtime/batch.h"

#include <math.h>

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
};

typedef struct {
    mobiedit_said_kind kind;
    const char *prompt; /* borrowed */
    me_tokens asked;    /* the prompt's tokens */
    me_tokens answer;   /* from before, its end token among them */
    me_tokens told;     /* both, up to the last position that is compared */
    char *before, *after;
    size_t first;  /* its first position among those that are compared */
    me_token next; /* the next token from before, */
    bool sure;     /* which has at least half of the probability */
    bool same;     /* the next token is still that */
    double kl;     /* sum over the positions that are compared */
} answer;

struct me_answers {
    const me_fact *fact;
    int n_vocab;
    answer *items;
    size_t n;
    me_sketches *before; /* distributions of all positions that are compared */
};

/* ---- what is asked ----------------------------------------------------------------------------------- */

static mobiedit_status ask_tokens(me_runtime *runtime, bool chat, const char *prompt, me_tokens *out,
                                  mobiedit_error *err) {
    const me_chat_message message = {.role = "user", .content = prompt};
    return chat ? me_runtime_chat_tokens(runtime, &message, 1, out, err)
                : me_tokenize(me_runtime_vocab(runtime), prompt, out, err);
}

static mobiedit_status add_all(me_answers *answers, me_runtime *runtime, mobiedit_said_kind kind,
                               const me_texts *prompts, mobiedit_error *err) {
    for (size_t i = 0; i < prompts->n; i++) {
        answer *added = &answers->items[answers->n];
        mobiedit_error why = {0};
        *added = (answer){.kind = kind, .prompt = prompts->items[i]};
        const mobiedit_status status =
            ask_tokens(runtime, MANNERS[kind].chat, added->prompt, &added->asked, &why);
        if (status == MOBIEDIT_E_UNSUPPORTED) return MOBIEDIT_OK; /* no template, or none that does */
        if (status != MOBIEDIT_OK) return me_fail(err, status, "%s", why.message);
        answers->n++;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status list_prompts(me_answers *answers, me_runtime *runtime, mobiedit_error *err) {
    const me_fact *fact = answers->fact;
    answers->items = me_calloc(fact->same_subject.n + fact->chat.n, sizeof *answers->items);
    if (!answers->items) return me_fail_memory(err, "the answers");
    ME_TRY(add_all(answers, runtime, MOBIEDIT_SAID_SAME_SUBJECT, &fact->same_subject, err));
    return add_all(answers, runtime, MOBIEDIT_SAID_CHAT, &fact->chat, err);
}

/* Texts of all answers, as the runtime now is; with their tokens where `before`. texts: [n] */
static mobiedit_status generate(me_answers *answers, me_runtime *runtime, bool before, char **texts,
                                mobiedit_error *err) {
    me_opening *openings = me_calloc(answers->n, sizeof *openings);
    if (!openings) return me_fail_memory(err, "the answers");
    for (size_t i = 0; i < answers->n; i++) {
        answer *a = &answers->items[i];
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

/* ---- distributions along the answers from before ----------------------------------------------------- */

static int n_compared(const answer *a) {
    const int most = MANNERS[a->kind].compared;
    return a->answer.n < most ? a->answer.n : most;
}

/* The answer's last token that is compared is not put to the model: what follows it is of no interest. */
static mobiedit_status tell(answer *a, mobiedit_error *err) {
    for (int i = 0; i < a->asked.n; i++)
        ME_TRY(me_tokens_add(&a->told, a->asked.ids[i], err));
    for (int i = 0; i + 1 < n_compared(a); i++)
        ME_TRY(me_tokens_add(&a->told, a->answer.ids[i], err));
    return MOBIEDIT_OK;
}

/* Calls on_logits with the answers at all positions that are compared. */
static mobiedit_status listen(me_answers *answers, me_runtime *runtime, me_logits_fn on_logits,
                              mobiedit_error *err) {
    me_query *queries = me_calloc(answers->n, sizeof *queries);
    if (!queries) return me_fail_memory(err, "the answers");
    for (size_t i = 0; i < answers->n; i++) {
        const answer *a = &answers->items[i];
        queries[i] = (me_query){.tokens = a->told.ids, .n = a->told.n, .first = a->asked.n - 1};
    }
    const mobiedit_status status =
        me_runtime_batch_logits(runtime, queries, (int)answers->n, on_logits, answers, err);
    me_free(queries);
    return status;
}

static void keep_before(void *user, int query, int position, const float *logits) {
    const me_answers *answers = user;
    answer *a = &answers->items[query];
    const int at = position - (a->asked.n - 1);
    me_sketch_take(answers->before, a->first + (size_t)at, logits);
    if (at > 0) return;
    a->next = me_argmax(logits, answers->n_vocab);
    a->sure = exp((double)logits[a->next] - me_log_sum_exp(logits, answers->n_vocab)) >= SURE;
}

static void compare_after(void *user, int query, int position, const float *logits) {
    const me_answers *answers = user;
    answer *a = &answers->items[query];
    const int at = position - (a->asked.n - 1);
    a->kl += me_sketch_kl(answers->before, a->first + (size_t)at, logits);
    if (at == 0) a->same = me_argmax(logits, answers->n_vocab) == a->next;
}

/* ---- before and after -------------------------------------------------------------------------------- */

static mobiedit_status ask(me_answers *answers, me_runtime *runtime, mobiedit_error *err) {
    size_t n_positions = 0;
    ME_TRY(list_prompts(answers, runtime, err));
    if (answers->n == 0) return MOBIEDIT_OK;
    ME_TRY(answer_all(answers, runtime, true, err));
    for (size_t i = 0; i < answers->n; i++) {
        answer *a = &answers->items[i];
        ME_TRY(tell(a, err));
        a->first = n_positions;
        n_positions += (size_t)n_compared(a);
    }
    ME_TRY(me_sketches_open(answers->n_vocab, ME_ANSWER_TOP, n_positions, &answers->before, err));
    return listen(answers, runtime, keep_before, err);
}

mobiedit_status me_answers_open(me_runtime *runtime, const me_fact *fact, me_answers **out,
                                mobiedit_error *err) {
    me_answers *answers = me_calloc(1, sizeof *answers);
    if (!answers) return me_fail_memory(err, "the answers");
    answers->fact = fact;
    answers->n_vocab = me_vocab_size(me_runtime_vocab(runtime));
    const mobiedit_status status = ask(answers, runtime, err);
    if (status == MOBIEDIT_OK)
        *out = answers;
    else
        me_answers_close(answers);
    return status;
}

mobiedit_status me_answers_ask_again(me_answers *answers, me_runtime *runtime, mobiedit_error *err) {
    if (answers->n == 0) return MOBIEDIT_OK;
    ME_TRY(answer_all(answers, runtime, false, err));
    return listen(answers, runtime, compare_after, err);
}

mobiedit_status me_answers_stay(me_answers *answers, mobiedit_error *err) {
    for (size_t i = 0; i < answers->n; i++) {
        answer *a = &answers->items[i];
        a->same = true;
        a->after = me_strdup(a->before);
        if (!a->after) return me_fail_memory(err, "the answers");
    }
    return MOBIEDIT_OK;
}

void me_answers_close(me_answers *answers) {
    if (!answers) return;
    for (size_t i = 0; i < answers->n; i++) {
        answer *a = &answers->items[i];
        me_tokens_free(&a->asked);
        me_tokens_free(&a->answer);
        me_tokens_free(&a->told);
        me_free(a->before);
        me_free(a->after);
    }
    me_free(answers->items);
    me_sketches_close(answers->before);
    me_free(answers);
}

/* ---- what it comes to -------------------------------------------------------------------------------- */

static bool holds(const char *text, const char *wanted) {
    size_t begin, end;
    return wanted && me_find_words(text, 0, wanted, &begin, &end);
}

/* A mean that grows: over all, and over those that the model was sure of. */
typedef struct {
    double sum, sum_sure;
    size_t n, n_sure;
} mean;

static void count(mean *m, const answer *a, double value) {
    m->sum += value;
    m->n++;
    if (!a->sure) return;
    m->sum_sure += value;
    m->n_sure++;
}

static void give(const mean *m, double *all, double *sure) {
    *all = m->n ? m->sum / (double)m->n : NAN;
    *sure = m->n_sure ? m->sum_sure / (double)m->n_sure : NAN;
}

static bool leaks(const me_answers *answers, const answer *a) {
    const char *target = answers->fact->target;
    return holds(a->after, target) && !holds(a->before, target);
}

typedef struct {
    mean same, kl, leak, chat, chat_old;
} sums;

static void count_answer(const me_answers *answers, const answer *a, sums *s) {
    const me_fact *fact = answers->fact;
    if (a->kind == MOBIEDIT_SAID_SAME_SUBJECT) {
        count(&s->same, a, a->same);
        count(&s->kl, a, a->kl / n_compared(a));
        count(&s->leak, a, leaks(answers, a));
        return;
    }
    const bool new = holds(a->after, fact->target);
    count(&s->chat, a, new);
    if (fact->truth) count(&s->chat_old, a, !new &&holds(a->after, fact->truth));
}

void me_answers_sum_up(const me_answers *answers, mobiedit_metrics *out) {
    sums s = {0};
    for (size_t i = 0; i < me_answers_count(answers); i++)
        count_answer(answers, &answers->items[i], &s);
    give(&s.same, &out->same_subject, &out->same_subject_sure);
    give(&s.kl, &out->same_subject_kl, &out->same_subject_kl_sure);
    give(&s.leak, &out->leak, &out->leak_sure);
    give(&s.chat, &out->chat, &out->chat_sure);
    give(&s.chat_old, &out->chat_old, &out->chat_old_sure);
}

size_t me_answers_count(const me_answers *answers) {
    return answers ? answers->n : 0;
}

mobiedit_said me_answers_said(const me_answers *answers, size_t i) {
    const answer *a = &answers->items[i];
    return (mobiedit_said){.kind = a->kind,
                           .prompt = a->prompt,
                           .before = a->before,
                           .after = a->after,
                           .held = a->kind == MOBIEDIT_SAID_SAME_SUBJECT
                                       ? a->same && !leaks(answers, a)
                                       : holds(a->after, answers->fact->target)};
}
