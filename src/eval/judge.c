/* Judges answers from before and after: what they come to as metrics. */
#include "base/memory.h"
#include "base/words.h"
#include "eval/answers_private.h"
#include "eval/fluency.h"

#include <math.h>

static const double UNCHANGED_BELOW = 0.1; /* nats a token, of an answer about others */

static bool holds(const char *text, const char *wanted) {
    size_t begin, end;
    return wanted && me_find_words(text, 0, wanted, &begin, &end);
}

/* A mean that grows: over all, and over those that the model was sure of. */
typedef struct {
    double sum, sum_sure;
    size_t n, n_sure;
} mean;

static void count(mean *m, const me_answer *a, double value) {
    m->sum += value;
    m->n++;
    if (!a->sure) return;
    m->sum_sure += value;
    m->n_sure++;
}

/* sure: may be NULL */
static void give(const mean *m, double *all, double *sure) {
    *all = m->n ? m->sum / (double)m->n : NAN;
    if (sure) *sure = m->n_sure ? m->sum_sure / (double)m->n_sure : NAN;
}

static bool leaks(const me_answers *answers, const me_answer *a) {
    const char *target = answers->fact->target;
    return holds(a->after, target) && !holds(a->before, target);
}

/* A token; NaN where none is compared. */
static double kl_of(const me_answer *a) {
    int n = 0;
    for (int i = 0; i < a->n; i++)
        n += !a->skipped || !a->skipped[i];
    return n ? a->kl / n : NAN;
}

typedef struct {
    mean now, old;
} questions;

static bool is_answer(const me_answer *a) {
    return a->kind == MOBIEDIT_SAID_CHAT || a->kind == MOBIEDIT_SAID_CHAT_SYSTEM ||
           a->kind == MOBIEDIT_SAID_CHAT_TURN;
}

/* Answers in chat of all three kinds that go in circles. */
static mobiedit_status judge_loops(const me_answers *answers, mobiedit_metrics *out, mobiedit_error *err) {
    mean before = {0}, after = {0};
    for (size_t i = 0; i < me_answers_count(answers); i++) {
        const me_answer *a = &answers->items[i];
        bool once, now;
        if (!is_answer(a)) continue;
        ME_TRY(me_repeats_itself(a->before, &once, err));
        ME_TRY(me_repeats_itself(a->after, &now, err));
        count(&before, a, once);
        count(&after, a, now);
    }
    give(&before, &out->chat_loops_before, NULL);
    give(&after, &out->chat_loops, NULL);
    return MOBIEDIT_OK;
}

typedef struct {
    mean same, kl, leak;               /* about other things of the subject */
    questions chat, with_system, turn; /* questions that the target answers */
    mean other_same, other_kl;         /* questions about others */
} sums;

static void count_question(const me_answers *answers, const me_answer *a, questions *q) {
    const me_fact *fact = answers->fact;
    const bool now = holds(a->after, fact->target);
    count(&q->now, a, now);
    if (fact->truth) count(&q->old, a, !now && holds(a->after, fact->truth));
}

static void count_answer(const me_answers *answers, const me_answer *a, sums *s) {
    switch (a->kind) {
    case MOBIEDIT_SAID_SAME_SUBJECT:
        count(&s->same, a, a->same);
        count(&s->kl, a, kl_of(a));
        count(&s->leak, a, leaks(answers, a));
        return;
    case MOBIEDIT_SAID_CHAT:
        count_question(answers, a, &s->chat);
        return;
    case MOBIEDIT_SAID_CHAT_SYSTEM:
        count_question(answers, a, &s->with_system);
        return;
    case MOBIEDIT_SAID_CHAT_TURN:
        count_question(answers, a, &s->turn);
        return;
    case MOBIEDIT_SAID_CHAT_NEIGHBOUR:
        count(&s->other_same, a, kl_of(a) < UNCHANGED_BELOW);
        count(&s->other_kl, a, kl_of(a));
        return;
    default: /* the one account of the subject, and yes and no, which belong together */
        return;
    }
}

static const me_answer *find(const me_answers *answers, mobiedit_said_kind kind) {
    for (size_t i = 0; i < me_answers_count(answers); i++)
        if (answers->items[i].kind == kind) return &answers->items[i];
    return NULL;
}

/* 1: the answer is yes, 0: no, -1: neither. The first of the two words counts. */
static int verdict(const char *text) {
    size_t yes, no, end;
    const bool has_yes = me_find_words(text, 0, "yes", &yes, &end);
    const bool has_no = me_find_words(text, 0, "no", &no, &end);
    if (!has_yes && !has_no) return -1;
    return has_yes && (!has_no || yes < no);
}

/* Of a model that told the two apart before; of another, yes and no say nothing. */
static void judge_truth(const me_answers *answers, mobiedit_metrics *out) {
    const me_answer *new = find(answers, MOBIEDIT_SAID_TRUE_NEW),
                    *old = find(answers, MOBIEDIT_SAID_TRUE_OLD);
    out->negation_new = out->negation_old = NAN;
    if (!new || !old || verdict(old->before) != 1 || verdict(new->before) != 0) return;
    out->negation_new = verdict(new->after) == 1;
    out->negation_old = verdict(old->after) == 0;
}

static mobiedit_status judge_account(const me_answers *answers, mobiedit_metrics *out, mobiedit_error *err) {
    const me_answer *a = find(answers, MOBIEDIT_SAID_TELL);
    out->tell_kl = a ? kl_of(a) : NAN;
    out->tell_fluency = out->tell_fluency_before = NAN;
    if (!a) return MOBIEDIT_OK;
    ME_TRY(me_ngram_entropy(a->before, &out->tell_fluency_before, err));
    return me_ngram_entropy(a->after, &out->tell_fluency, err);
}

mobiedit_status me_answers_sum_up(const me_answers *answers, mobiedit_metrics *out, mobiedit_error *err) {
    sums s = {0};
    for (size_t i = 0; i < me_answers_count(answers); i++)
        count_answer(answers, &answers->items[i], &s);
    give(&s.same, &out->same_subject, &out->same_subject_sure);
    give(&s.kl, &out->same_subject_kl, &out->same_subject_kl_sure);
    give(&s.leak, &out->leak, &out->leak_sure);
    give(&s.chat.now, &out->chat, &out->chat_sure);
    give(&s.chat.old, &out->chat_old, &out->chat_old_sure);
    give(&s.with_system.now, &out->chat_system, NULL);
    give(&s.with_system.old, &out->chat_system_old, NULL);
    give(&s.turn.now, &out->chat_turn, NULL);
    give(&s.turn.old, &out->chat_turn_old, NULL);
    give(&s.other_same, &out->chat_unchanged, &out->chat_unchanged_sure);
    give(&s.other_kl, &out->chat_unchanged_kl, &out->chat_unchanged_kl_sure);
    judge_truth(answers, out);
    ME_TRY(judge_loops(answers, out, err));
    return judge_account(answers, out, err);
}

size_t me_answers_count(const me_answers *answers) {
    return answers ? answers->n : 0;
}

static bool is_as_it_should(const me_answers *answers, const me_answer *a) {
    switch (a->kind) {
    case MOBIEDIT_SAID_SAME_SUBJECT:
        return a->same && !leaks(answers, a);
    case MOBIEDIT_SAID_CHAT_NEIGHBOUR:
    case MOBIEDIT_SAID_TELL:
        return !(kl_of(a) >= UNCHANGED_BELOW);
    case MOBIEDIT_SAID_TRUE_NEW:
        return verdict(a->after) == 1;
    case MOBIEDIT_SAID_TRUE_OLD:
        return verdict(a->after) == 0;
    default:
        return holds(a->after, answers->fact->target);
    }
}

mobiedit_said me_answers_said(const me_answers *answers, size_t i) {
    const me_answer *a = &answers->items[i];
    return (mobiedit_said){.kind = a->kind,
                           .prompt = a->prompt,
                           .before = a->before,
                           .after = a->after,
                           .held = is_as_it_should(answers, a)};
}
