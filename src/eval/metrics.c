/* Measures a fact's metrics, on the unedited model and with an adapter. */
#include "eval/metrics.h"

#include "base/logits.h"
#include "base/memory.h"
#include "eval/answers.h"
#include "eval/cases.h"
#include "eval/drift.h"
#include "eval/generation.h"
#include "eval/scores.h"

#include <math.h>

struct me_meter {
    me_metric_options options;
    me_drift *drift;    /* NULL until the first measurement */
    double known_drift; /* of the one adapter; NaN until it is measured */
};

mobiedit_status me_meter_open(const me_metric_options *options, me_meter **out, mobiedit_error *err) {
    me_meter *meter = me_calloc(1, sizeof *meter);
    if (!meter) return me_fail_memory(err, "the metrics");
    meter->options = *options;
    meter->known_drift = NAN;
    *out = meter;
    return MOBIEDIT_OK;
}

void me_meter_close(me_meter *meter) {
    if (!meter) return;
    me_drift_close(meter->drift);
    me_free(meter);
}

/* The model in one state: unedited or edited. */
typedef struct {
    me_scores scores;
    me_generation generation;
} state;

static void state_free(state *s) {
    me_scores_free(&s->scores);
    me_generation_free(&s->generation);
}

/* What is measured on an edited model, or `only_before`: what it is compared with. */
static mobiedit_status observe(const me_meter *meter, me_runtime *runtime, const me_fact *fact,
                               bool only_before, state *out, mobiedit_error *err) {
    const me_generation_options options = {.said = meter->options.said,
                                           .all = !only_before,
                                           .fluency = meter->options.fluency,
                                           .seed = meter->options.seed};
    ME_TRY(me_scores_measure(runtime, fact, only_before, &out->scores, err));
    return me_generation_run(runtime, fact, &options, &out->generation, err);
}

/* before, after: [n][n_vocab]; same: [n] whether the next token is what it was. */
static void compare_neighbours(const float *before, const float *after, size_t n, int n_vocab, bool *same,
                               me_measured *out) {
    double kl = 0;
    size_t n_same = 0;
    for (size_t i = 0; i < n; i++) {
        const float *was = before + i * (size_t)n_vocab, *is = after + i * (size_t)n_vocab;
        same[i] = me_argmax(was, n_vocab) == me_argmax(is, n_vocab);
        n_same += same[i];
        kl += me_kl(was, is, n_vocab);
    }
    out->metrics.unchanged = n ? (double)n_same / (double)n : NAN;
    out->metrics.neighbour_kl = n ? kl / (double)n : NAN;
}

static bool held(const me_fact *fact, const me_scores *after, const bool *same, size_t i) {
    mobiedit_said_kind kind;
    (void)me_generation_prompt(fact, i, &kind);
    const size_t first_neighbour = 1 + fact->paraphrases.n;
    switch (kind) {
    case MOBIEDIT_SAID_PROMPT:
        return after->says;
    case MOBIEDIT_SAID_PARAPHRASE:
        return after->paraphrase_says[i - 1];
    case MOBIEDIT_SAID_NEIGHBOUR:
        return same[i - first_neighbour];
    case MOBIEDIT_SAID_PORTABILITY:
        return after->portability_says[i - first_neighbour - fact->neighbours.n];
    default: /* answers, which judge themselves */
        return false;
    }
}

/* Adds a copy; a prompt of NULL is the fact's own. */
static mobiedit_status add_said(const me_fact *fact, const mobiedit_said *from, me_measured *out,
                                mobiedit_error *err) {
    mobiedit_said *said = &out->said[out->n_said++];
    *said = (mobiedit_said){.kind = from->kind, .held = from->held};
    said->prompt = from->prompt ? me_strdup(from->prompt) : me_fact_prompt(fact);
    said->before = from->before ? me_strdup(from->before) : NULL;
    said->after = from->after ? me_strdup(from->after) : NULL;
    const bool whole = said->prompt && !said->before == !from->before && !said->after == !from->after;
    return whole ? MOBIEDIT_OK : me_fail_memory(err, "what is said");
}

static mobiedit_status add_answers(const me_fact *fact, const me_answers *answers, me_measured *out,
                                   mobiedit_error *err) {
    for (size_t i = 0; i < me_answers_count(answers); i++) {
        const mobiedit_said said = me_answers_said(answers, i);
        ME_TRY(add_said(fact, &said, out, err));
    }
    return MOBIEDIT_OK;
}

/* Of a model that is not edited (before == after) the texts are the same. */
static mobiedit_status list_said(const me_fact *fact, const state *before, const state *after,
                                 const me_answers *answers, const bool *same, me_measured *out,
                                 mobiedit_error *err) {
    const size_t n = after->generation.n;
    out->said = me_calloc(n + me_answers_count(answers), sizeof *out->said);
    if (!out->said) return me_fail_memory(err, "what is said");
    for (size_t i = 0; i < n; i++) {
        mobiedit_said said = {.before = before->generation.texts[i],
                              .after = after->generation.texts[i],
                              .held = held(fact, &after->scores, same, i)};
        said.prompt = me_generation_prompt(fact, i, &said.kind);
        ME_TRY(add_said(fact, &said, out, err));
    }
    return add_answers(fact, answers, out, err);
}

static mobiedit_status sum_up(const me_meter *meter, me_runtime *runtime, const me_fact *fact,
                              const state *before, const state *after, const me_answers *answers,
                              me_measured *out, mobiedit_error *err) {
    const me_scores *scores = &after->scores;
    const size_t n = fact->neighbours.n;
    bool *same = me_calloc(n, sizeof *same);
    if (!same) return me_fail_memory(err, "the neighbours");
    compare_neighbours(before->scores.neighbour_logits, scores->neighbour_logits, n,
                       me_vocab_size(me_runtime_vocab(runtime)), same, out);
    out->metrics.rewrite = scores->rewrite;
    out->metrics.paraphrase = scores->paraphrase;
    out->metrics.efficacy = scores->efficacy;
    out->metrics.paraphrase_score = scores->paraphrase_score;
    out->metrics.neighbour_score = scores->neighbour_score;
    out->metrics.neighbour_score_before = before->scores.neighbour_score;
    out->metrics.portability = scores->portability;
    out->metrics.fluency = after->generation.fluency;
    out->metrics.fluency_before = before->generation.fluency;
    mobiedit_status status = me_answers_sum_up(answers, &out->metrics, err);
    if (status == MOBIEDIT_OK && meter->options.said)
        status = list_said(fact, before, after, answers, same, out, err);
    me_free(same);
    return status;
}

/* With the adapter attached. */
static mobiedit_status measure_drift(me_meter *meter, me_runtime *runtime, double *out, mobiedit_error *err) {
    *out = meter->known_drift;
    if (!meter->drift || !isnan(*out)) return MOBIEDIT_OK;
    ME_TRY(me_drift_measure(meter->drift, runtime, out, err));
    if (meter->options.one_adapter) meter->known_drift = *out;
    return MOBIEDIT_OK;
}

/* Everything that one fact's measurement holds. */
typedef struct {
    state before, after;
    me_answers *answers; /* NULL: none are asked */
} measurement;

static mobiedit_status open_answers(const me_meter *meter, me_runtime *runtime, const me_fact *fact,
                                    measurement *m, mobiedit_error *err) {
    const char *system = meter->options.system ? meter->options.system : me_answers_system;
    return meter->options.answers ? me_answers_open(runtime, fact, system, &m->answers, err) : MOBIEDIT_OK;
}

static mobiedit_status measure_edited(me_meter *meter, me_runtime *runtime, const me_fact *fact,
                                      const char *adapter, measurement *m, me_measured *out,
                                      mobiedit_error *err) {
    if (meter->options.drift && !meter->drift) ME_TRY(me_drift_open(runtime, &meter->drift, err));
    ME_TRY(observe(meter, runtime, fact, true, &m->before, err));
    ME_TRY(open_answers(meter, runtime, fact, m, err));
    ME_TRY(me_runtime_set_adapter(runtime, adapter, err));
    ME_TRY(observe(meter, runtime, fact, false, &m->after, err));
    if (m->answers) ME_TRY(me_answers_ask_again(m->answers, runtime, NULL, err));
    ME_TRY(measure_drift(meter, runtime, &out->metrics.drift, err));
    return sum_up(meter, runtime, fact, &m->before, &m->after, m->answers, out, err);
}

static mobiedit_status measure_unedited(const me_meter *meter, me_runtime *runtime, const me_fact *fact,
                                        measurement *m, me_measured *out, mobiedit_error *err) {
    if (meter->options.drift) out->metrics.drift = 0;
    ME_TRY(observe(meter, runtime, fact, false, &m->after, err));
    ME_TRY(open_answers(meter, runtime, fact, m, err));
    if (m->answers) ME_TRY(me_answers_stay(m->answers, err));
    return sum_up(meter, runtime, fact, &m->after, &m->after, m->answers, out, err);
}

/* The fact as a sentence: "The capital of Japan is Lima." */
static char *fact_sentence(const me_fact *fact) {
    char *statement = me_fact_statement(fact, fact->target);
    char *sentence = statement ? me_strjoin(statement, ".") : NULL;
    me_free(statement);
    return sentence;
}

static mobiedit_status measure_told(const me_meter *meter, me_runtime *runtime, const me_fact *fact,
                                    measurement *m, me_measured *out, mobiedit_error *err) {
    out->metrics = (mobiedit_metrics){.rewrite = NAN,
                                      .paraphrase = NAN,
                                      .unchanged = NAN,
                                      .neighbour_kl = NAN,
                                      .efficacy = NAN,
                                      .paraphrase_score = NAN,
                                      .neighbour_score = NAN,
                                      .neighbour_score_before = NAN,
                                      .portability = NAN,
                                      .fluency = NAN,
                                      .fluency_before = NAN,
                                      .drift = NAN};
    char *sentence = fact_sentence(fact);
    mobiedit_status status = sentence ? MOBIEDIT_OK : me_fail_memory(err, "a fact");
    if (status == MOBIEDIT_OK) status = open_answers(meter, runtime, fact, m, err);
    if (status == MOBIEDIT_OK && m->answers)
        status = me_answers_ask_again(m->answers, runtime, sentence, err);
    me_free(sentence);
    ME_TRY(status);
    ME_TRY(me_answers_sum_up(m->answers, &out->metrics, err));
    if (!meter->options.said) return MOBIEDIT_OK;
    out->said = me_calloc(me_answers_count(m->answers), sizeof *out->said);
    return out->said ? add_answers(fact, m->answers, out, err) : me_fail_memory(err, "what is said");
}

static mobiedit_status measure(me_meter *meter, me_runtime *runtime, const me_fact *fact, const char *adapter,
                               measurement *m, me_measured *out, mobiedit_error *err) {
    if (meter->options.context) return measure_told(meter, runtime, fact, m, out, err);
    return adapter ? measure_edited(meter, runtime, fact, adapter, m, out, err)
                   : measure_unedited(meter, runtime, fact, m, out, err);
}

mobiedit_status me_metrics_measure(me_meter *meter, me_runtime *runtime, const me_fact *fact,
                                   const char *adapter, me_measured *out, mobiedit_error *err) {
    ME_TRY(me_runtime_set_adapter(runtime, NULL, err));
    *out = (me_measured){.metrics.drift = NAN};
    measurement m = {0};
    const mobiedit_status status = measure(meter, runtime, fact, adapter, &m, out, err);
    state_free(&m.before);
    state_free(&m.after);
    me_answers_close(m.answers);
    if (status != MOBIEDIT_OK) me_measured_free(out);
    const mobiedit_status detached =
        me_runtime_set_adapter(runtime, NULL, status == MOBIEDIT_OK ? err : NULL);
    if (status == MOBIEDIT_OK && detached != MOBIEDIT_OK) me_measured_free(out);
    return status != MOBIEDIT_OK ? status : detached;
}

void me_measured_free(me_measured *measured) {
    me_said_free(measured->said, measured->n_said);
    *measured = (me_measured){0};
}
