/* Asks the runtime everything about a fact at once: how likely answers are, and which are said. */
#include "eval/scores.h"

#include "base/logits.h"
#include "base/memory.h"
#include "runtime/says.h"

#include <math.h>
#include <string.h>

/* One prompt with one continuation. */
typedef struct {
    mobiedit_said_kind kind;
    size_t item;  /* of its kind */
    bool truth;   /* the continuation is what is true, not the target */
    bool matters; /* whether it is said; else only how likely it is */
    me_saying saying;
    double nll; /* of the continuation, nats */
} question;

typedef struct {
    const me_vocab *vocab;
    const me_fact *fact;
    question *items;
    size_t n;
    float *neighbour_logits;
    mobiedit_status status; /* of what was heard so far */
    mobiedit_error *err;
} score_sheet;

/* ---- the questions ----------------------------------------------------------------------------------- */

static size_t count_questions(const me_fact *fact) {
    size_t n = 2 * (1 + fact->paraphrases.n + fact->neighbours.n);
    for (size_t i = 0; i < fact->portability.n; i++)
        n += fact->portability.items[i].answers.n;
    return n;
}

static mobiedit_status add(score_sheet *in, mobiedit_said_kind kind, size_t item, const char *prompt,
                           const char *continuation, bool truth) {
    if (!continuation) return MOBIEDIT_OK;
    question *q = &in->items[in->n];
    *q = (question){.kind = kind, .item = item, .truth = truth};
    q->matters = !truth && kind != MOBIEDIT_SAID_NEIGHBOUR;
    ME_TRY(me_saying_open(in->vocab, prompt, continuation, &q->saying, in->err));
    in->n++;
    return MOBIEDIT_OK;
}

/* The target, and what is true instead. */
static mobiedit_status add_both(score_sheet *in, mobiedit_said_kind kind, size_t item, const char *prompt,
                                const char *truth) {
    ME_TRY(add(in, kind, item, prompt, in->fact->target, false));
    return add(in, kind, item, prompt, truth, true);
}

static mobiedit_status add_neighbours(score_sheet *in) {
    const me_fact *fact = in->fact;
    for (size_t i = 0; i < fact->neighbours.n; i++)
        ME_TRY(add_both(in, MOBIEDIT_SAID_NEIGHBOUR, i, fact->neighbours.items[i].prompt,
                        me_fact_neighbour_truth(fact, i)));
    return MOBIEDIT_OK;
}

static mobiedit_status add_all(score_sheet *in, const char *prompt) {
    const me_fact *fact = in->fact;
    ME_TRY(add_both(in, MOBIEDIT_SAID_PROMPT, 0, prompt, fact->truth));
    for (size_t i = 0; i < fact->paraphrases.n; i++)
        ME_TRY(add_both(in, MOBIEDIT_SAID_PARAPHRASE, i, fact->paraphrases.items[i], fact->truth));
    for (size_t i = 0; i < fact->portability.n; i++)
        for (size_t k = 0; k < fact->portability.items[i].answers.n; k++)
            ME_TRY(add(in, MOBIEDIT_SAID_PORTABILITY, i, fact->portability.items[i].prompt,
                       fact->portability.items[i].answers.items[k], false));
    return add_neighbours(in);
}

/* ---- the scores -------------------------------------------------------------------------------------- */

/* The logits after tokens[position] are about the next one, which is the continuation's from its first on. */
static void score_token(void *user, int index, int position, const float *logits) {
    score_sheet *in = user;
    question *q = &in->items[index];
    const int n_vocab = me_vocab_size(in->vocab);
    const me_tokens *tokens = &q->saying.tokens;
    if (position + 1 < tokens->n)
        q->nll += me_log_sum_exp(logits, n_vocab) - (double)logits[tokens->ids[position + 1]];
    if (q->matters && in->status == MOBIEDIT_OK)
        in->status = me_saying_hear(&q->saying, in->vocab, position, me_argmax(logits, n_vocab), in->err);
    if (q->kind == MOBIEDIT_SAID_NEIGHBOUR && !q->truth && position == q->saying.n_prompt - 1)
        memcpy(in->neighbour_logits + q->item * (size_t)n_vocab, logits, (size_t)n_vocab * sizeof *logits);
}

static mobiedit_status hear_out(const score_sheet *in, me_runtime *runtime) {
    me_saying **sayings = me_calloc(in->n, sizeof *sayings);
    if (!sayings) return me_fail_memory(in->err, "the questions");
    int n = 0;
    for (size_t i = 0; i < in->n; i++)
        if (in->items[i].matters) sayings[n++] = &in->items[i].saying;
    const mobiedit_status status = me_sayings_settle(runtime, sayings, n, in->err);
    me_free(sayings);
    return status;
}

static mobiedit_status score_all(score_sheet *in, me_runtime *runtime) {
    me_query *queries = me_calloc(in->n, sizeof *queries);
    if (!queries) return me_fail_memory(in->err, "the questions");
    for (size_t i = 0; i < in->n; i++) {
        queries[i] = me_saying_query(&in->items[i].saying);
        if (!in->items[i].matters) queries[i].n--; /* of interest up to its last token only */
    }
    mobiedit_status status = me_runtime_batch_logits(runtime, queries, (int)in->n, score_token, in, in->err);
    me_free(queries);
    if (status == MOBIEDIT_OK) status = in->status;
    return status == MOBIEDIT_OK ? hear_out(in, runtime) : status;
}

/* A share that grows; NaN of nothing. */
typedef struct {
    size_t yes, all;
} share;

static double value(share s) {
    return s.all ? (double)s.yes / (double)s.all : NAN;
}

/* Mean over the continuation's tokens, as in ROME's evaluation. */
static double nll_a_token(const question *q) {
    return q->nll / (q->saying.tokens.n - q->saying.n_prompt);
}

/* Share of prompts of a kind after which the target is likelier than what is true, or the other way round. A
 * question about the truth follows that about the target. */
static double compare(const score_sheet *in, mobiedit_said_kind kind, bool truth_wins) {
    share s = {0};
    for (size_t i = 1; i < in->n; i++) {
        const question *truth = &in->items[i], *target = truth - 1;
        if (truth->kind != kind || !truth->truth) continue;
        const double target_loss = nll_a_token(target), truth_loss = nll_a_token(truth);
        s.yes += truth_wins ? truth_loss < target_loss : target_loss < truth_loss;
        s.all++;
    }
    return value(s);
}

/* says[item] of a kind. */
static void collect_said(const score_sheet *in, mobiedit_said_kind kind, bool *says) {
    for (size_t i = 0; i < in->n; i++)
        if (in->items[i].kind == kind && in->items[i].matters && in->items[i].saying.said == ME_SAID_WHOLE)
            says[in->items[i].item] = true;
}

static double share_said(const bool *says, size_t n) {
    share s = {.all = n};
    for (size_t i = 0; i < n; i++)
        s.yes += says[i];
    return value(s);
}

static void sum_up(const score_sheet *in, me_scores *out) {
    const me_fact *fact = in->fact;
    collect_said(in, MOBIEDIT_SAID_PROMPT, &out->says);
    collect_said(in, MOBIEDIT_SAID_PARAPHRASE, out->paraphrase_says);
    collect_said(in, MOBIEDIT_SAID_PORTABILITY, out->portability_says);
    out->rewrite = out->says;
    out->paraphrase = share_said(out->paraphrase_says, fact->paraphrases.n);
    out->portability = share_said(out->portability_says, fact->portability.n);
    out->efficacy = compare(in, MOBIEDIT_SAID_PROMPT, false);
    out->paraphrase_score = compare(in, MOBIEDIT_SAID_PARAPHRASE, false);
}

static mobiedit_status ask(score_sheet *in, me_runtime *runtime, bool neighbours_only) {
    if (neighbours_only) {
        ME_TRY(add_neighbours(in));
    } else {
        char *prompt = me_fact_prompt(in->fact);
        if (!prompt) return me_fail_memory(in->err, "a prompt");
        const mobiedit_status status = add_all(in, prompt);
        me_free(prompt);
        ME_TRY(status);
    }
    return in->n ? score_all(in, runtime) : MOBIEDIT_OK;
}

static mobiedit_status allocate(score_sheet *in, me_scores *out) {
    const me_fact *fact = in->fact;
    size_t count;
    const bool countable = me_mul_size(fact->neighbours.n, (size_t)me_vocab_size(in->vocab), &count);
    in->items = me_calloc(count_questions(fact), sizeof *in->items);
    out->paraphrase_says = me_calloc(fact->paraphrases.n, sizeof *out->paraphrase_says);
    out->portability_says = me_calloc(fact->portability.n, sizeof *out->portability_says);
    out->neighbour_logits = countable ? me_calloc(count, sizeof *out->neighbour_logits) : NULL;
    in->neighbour_logits = out->neighbour_logits;
    return in->items && out->paraphrase_says && out->portability_says && out->neighbour_logits
               ? MOBIEDIT_OK
               : me_fail_memory(in->err, "the questions");
}

mobiedit_status me_scores_measure(me_runtime *runtime, const me_fact *fact, bool neighbours_only,
                                  me_scores *out, mobiedit_error *err) {
    score_sheet in = {.vocab = me_runtime_vocab(runtime), .fact = fact, .err = err};
    *out = (me_scores){0};
    mobiedit_status status = allocate(&in, out);
    if (status == MOBIEDIT_OK) status = ask(&in, runtime, neighbours_only);
    if (status == MOBIEDIT_OK) {
        out->neighbour_score = compare(&in, MOBIEDIT_SAID_NEIGHBOUR, true);
        if (!neighbours_only) sum_up(&in, out);
    } else {
        me_scores_free(out);
    }
    for (size_t i = 0; i < in.n; i++)
        me_saying_close(&in.items[i].saying);
    me_free(in.items);
    return status;
}

void me_scores_free(me_scores *scores) {
    me_free(scores->paraphrase_says);
    me_free(scores->portability_says);
    me_free(scores->neighbour_logits);
    *scores = (me_scores){0};
}
