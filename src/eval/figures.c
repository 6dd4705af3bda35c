/* The table of metrics, and their means with bootstrap intervals. */
#include "eval/figures.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { RESAMPLES = 1000, SEED = 1 };

#define IN_CASE(member) offsetof(mobiedit_eval_case, member)

const me_metric me_metric_table[ME_METRICS] = {
    {"rewrite", "rewrite", ME_UNIT_SHARE, 1, IN_CASE(metrics.rewrite)},
    {"paraphrase", "paraphrase", ME_UNIT_SHARE, 1, IN_CASE(metrics.paraphrase)},
    {"unchanged", "unchanged", ME_UNIT_SHARE, 1, IN_CASE(metrics.unchanged)},
    {"neighbour_kl", "neighbour KL", ME_UNIT_NATS, -1, IN_CASE(metrics.neighbour_kl)},
    {"efficacy", "efficacy score", ME_UNIT_SHARE, 1, IN_CASE(metrics.efficacy)},
    {"paraphrase_score", "paraphrase score", ME_UNIT_SHARE, 1, IN_CASE(metrics.paraphrase_score)},
    {"neighbour_score", "neighbour score", ME_UNIT_SHARE, 1, IN_CASE(metrics.neighbour_score)},
    {"neighbour_score_before", "neighbour score before", ME_UNIT_SHARE, 0,
     IN_CASE(metrics.neighbour_score_before)},
    {"portability", "portability", ME_UNIT_SHARE, 1, IN_CASE(metrics.portability)},
    {"fluency", "fluency", ME_UNIT_BITS, 1, IN_CASE(metrics.fluency)},
    {"fluency_before", "fluency before", ME_UNIT_BITS, 0, IN_CASE(metrics.fluency_before)},
    {"drift", "drift", ME_UNIT_NATS, -1, IN_CASE(metrics.drift)},
    {"same_subject", "same subject", ME_UNIT_SHARE, 1, IN_CASE(metrics.same_subject)},
    {"same_subject_sure", "same subject, sure", ME_UNIT_SHARE, 1, IN_CASE(metrics.same_subject_sure)},
    {"same_subject_kl", "same subject KL", ME_UNIT_NATS, -1, IN_CASE(metrics.same_subject_kl)},
    {"same_subject_kl_sure", "same subject KL, sure", ME_UNIT_NATS, -1,
     IN_CASE(metrics.same_subject_kl_sure)},
    {"leak", "leak", ME_UNIT_SHARE, -1, IN_CASE(metrics.leak)},
    {"leak_sure", "leak, sure", ME_UNIT_SHARE, -1, IN_CASE(metrics.leak_sure)},
    {"chat", "chat", ME_UNIT_SHARE, 1, IN_CASE(metrics.chat)},
    {"chat_sure", "chat, sure", ME_UNIT_SHARE, 1, IN_CASE(metrics.chat_sure)},
    {"chat_old", "chat, old answer", ME_UNIT_SHARE, -1, IN_CASE(metrics.chat_old)},
    {"chat_old_sure", "chat, old answer, sure", ME_UNIT_SHARE, -1, IN_CASE(metrics.chat_old_sure)},
    {"chat_system", "chat, system prompt", ME_UNIT_SHARE, 1, IN_CASE(metrics.chat_system)},
    {"chat_system_old", "system prompt, old", ME_UNIT_SHARE, -1, IN_CASE(metrics.chat_system_old)},
    {"chat_turn", "chat, second turn", ME_UNIT_SHARE, 1, IN_CASE(metrics.chat_turn)},
    {"chat_turn_old", "second turn, old", ME_UNIT_SHARE, -1, IN_CASE(metrics.chat_turn_old)},
    {"chat_loops", "chat, in circles", ME_UNIT_SHARE, -1, IN_CASE(metrics.chat_loops)},
    {"chat_loops_before", "in circles before", ME_UNIT_SHARE, 0, IN_CASE(metrics.chat_loops_before)},
    {"chat_unchanged", "chat unchanged", ME_UNIT_SHARE, 1, IN_CASE(metrics.chat_unchanged)},
    {"chat_unchanged_sure", "chat unchanged, sure", ME_UNIT_SHARE, 1, IN_CASE(metrics.chat_unchanged_sure)},
    {"chat_unchanged_kl", "chat unchanged KL", ME_UNIT_NATS, -1, IN_CASE(metrics.chat_unchanged_kl)},
    {"chat_unchanged_kl_sure", "chat unchanged KL, sure", ME_UNIT_NATS, -1,
     IN_CASE(metrics.chat_unchanged_kl_sure)},
    {"tell_kl", "tell KL", ME_UNIT_NATS, -1, IN_CASE(metrics.tell_kl)},
    {"tell_fluency", "tell fluency", ME_UNIT_BITS, 1, IN_CASE(metrics.tell_fluency)},
    {"tell_fluency_before", "tell fluency before", ME_UNIT_BITS, 0, IN_CASE(metrics.tell_fluency_before)},
    {"negation_new", "true: new", ME_UNIT_SHARE, 1, IN_CASE(metrics.negation_new)},
    {"negation_old", "not true: old", ME_UNIT_SHARE, 1, IN_CASE(metrics.negation_old)},
    {"loss", "loss", ME_UNIT_NATS, -1, IN_CASE(loss)},
    {"cpu_seconds", "CPU seconds", ME_UNIT_SECONDS, -1, IN_CASE(cpu_seconds)},
    {"joules", "energy", ME_UNIT_JOULES, -1, IN_CASE(joules)},
    {"evals", "evaluations", ME_UNIT_PROMPTS, -1, IN_CASE(evaluations)},
    {"seconds", "seconds", ME_UNIT_SECONDS, -1, IN_CASE(seconds)},
};

double me_metric_value(int m, const mobiedit_eval_case *of) {
    const void *member = (const char *)of + me_metric_table[m].offset;
    const bool of_an_edit = m == ME_METRIC_EVALS || m == ME_METRIC_SECONDS;
    if (of_an_edit && (of->stop == MOBIEDIT_STOP_ALREADY_SAID || isnan(of->seconds))) return NAN;
    return m == ME_METRIC_EVALS ? (double)*(const size_t *)member : *(const double *)member;
}

void me_metric_set(int m, mobiedit_eval_case *of, double value) {
    void *member = (char *)of + me_metric_table[m].offset;
    if (m == ME_METRIC_EVALS)
        *(size_t *)member = value >= 0 && value < 0x1p53 ? (size_t)value : 0;
    else
        *(double *)member = value;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Moves NaN out; how many are left. */
static size_t compact(double *values, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i])) values[kept++] = values[i];
    return kept;
}

double me_median(double *values, size_t n) {
    n = compact(values, n);
    if (n == 0) return NAN;
    qsort(values, n, sizeof *values, ascending);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double mean_of_resample(const double *values, size_t n, me_random *random) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[(size_t)(me_random_uniform(random) * (double)n)];
    return sum / (double)n;
}

/* values: n > 0, none of them NaN */
static void fill_interval(const double *values, size_t n, mobiedit_figure *out) {
    double means[RESAMPLES], sum = 0;
    me_random random;
    me_random_seed(&random, SEED);
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    for (int i = 0; i < RESAMPLES; i++)
        means[i] = mean_of_resample(values, n, &random);
    qsort(means, RESAMPLES, sizeof *means, ascending);
    out->mean = sum / (double)n;
    out->low = means[RESAMPLES / 40];
    out->high = means[RESAMPLES - 1 - RESAMPLES / 40];
}

mobiedit_status me_bootstrap(const double *values, size_t n, mobiedit_figure *out, mobiedit_error *err) {
    double *kept = me_calloc(n, sizeof *kept);
    if (!kept) return me_fail_memory(err, "an interval");
    if (n) memcpy(kept, values, n * sizeof *kept);
    const size_t n_kept = compact(kept, n);
    out->mean = out->low = out->high = NAN;
    out->n = (int)n_kept;
    if (n_kept) fill_interval(kept, n_kept, out);
    me_free(kept);
    return MOBIEDIT_OK;
}

static bool belongs(const mobiedit_eval_case *one, const char *relation) {
    return !relation || strcmp(one->relation ? one->relation : "", relation) == 0;
}

mobiedit_status me_figures(const mobiedit_eval_case *cases, size_t n, const char *relation,
                           mobiedit_figure *figures, mobiedit_error *err) {
    double *values = me_calloc(n, sizeof *values);
    if (!values) return me_fail_memory(err, "the figures");
    mobiedit_status status = MOBIEDIT_OK;
    for (int m = 0; m < ME_METRICS && status == MOBIEDIT_OK; m++) {
        size_t n_values = 0;
        for (size_t i = 0; i < n; i++)
            if (belongs(&cases[i], relation)) values[n_values++] = me_metric_value(m, &cases[i]);
        figures[m].name = me_metric_table[m].name;
        status = me_bootstrap(values, n_values, &figures[m], err);
    }
    me_free(values);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t me_relations(const mobiedit_eval_case *cases, size_t n, const char **names) {
    for (size_t i = 0; i < n; i++)
        names[i] = cases[i].relation ? cases[i].relation : "";
    if (n) qsort(names, n, sizeof *names, by_name);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0) names[kept++] = names[i];
    return kept;
}
