#include "eval/metrics.h"

#include "base/memory.h"

#include <math.h>

int me_argmax(const float *logits, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static double log_sum_exp(const float *logits, int n) {
    const double top = logits[me_argmax(logits, n)];
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp(logits[i] - top);
    return top + log(sum);
}

double me_kl(const float *before, const float *after, int n) {
    const double total_before = log_sum_exp(before, n), total_after = log_sum_exp(after, n);
    double kl = 0;
    for (int i = 0; i < n; i++) {
        const double log_before = before[i] - total_before, log_after = after[i] - total_after;
        kl += exp(log_before) * (log_before - log_after);
    }
    return kl;
}

mobiedit_status me_says(me_runtime *runtime, const char *prompt, const char *target, bool *says,
                        mobiedit_error *err) {
    me_tokens tokens = {0};
    int n_prompt = 0;
    ME_TRY(me_tokenize_pair(me_runtime_vocab(runtime), prompt, target, &tokens, &n_prompt, err));
    const mobiedit_status status =
        me_runtime_says(runtime, tokens.ids, n_prompt, tokens.ids + n_prompt, tokens.n - n_prompt, says, err);
    me_tokens_free(&tokens);
    return status;
}

static mobiedit_status next_logits(me_runtime *runtime, const char *prompt, float *logits,
                                   mobiedit_error *err) {
    me_tokens tokens = {0};
    ME_TRY(me_tokenize(me_runtime_vocab(runtime), prompt, &tokens, err));
    const mobiedit_status status = me_runtime_logits(runtime, tokens.ids, tokens.n, 1, logits, err);
    me_tokens_free(&tokens);
    return status;
}

/* Next-token logits of each prompt: [prompts->n][n_vocab], freed with me_free. */
static mobiedit_status all_next_logits(me_runtime *runtime, const me_texts *prompts, float **out,
                                       mobiedit_error *err) {
    const size_t n_vocab = (size_t)me_vocab_size(me_runtime_vocab(runtime));
    size_t count;
    float *logits = me_mul_size(prompts->n, n_vocab, &count) ? me_calloc(count, sizeof *logits) : NULL;
    if (!logits) return me_fail_memory(err, "next-token scores");
    mobiedit_status status = MOBIEDIT_OK;
    for (size_t i = 0; i < prompts->n && status == MOBIEDIT_OK; i++)
        status = next_logits(runtime, prompts->items[i], logits + i * n_vocab, err);
    if (status == MOBIEDIT_OK)
        *out = logits;
    else
        me_free(logits);
    return status;
}

mobiedit_status me_next_token(me_runtime *runtime, const char *prompt, me_token *out, mobiedit_error *err) {
    const int n_vocab = me_vocab_size(me_runtime_vocab(runtime));
    float *logits = me_calloc((size_t)n_vocab, sizeof *logits);
    if (!logits) return me_fail_memory(err, "next-token scores");
    const mobiedit_status status = next_logits(runtime, prompt, logits, err);
    if (status == MOBIEDIT_OK) *out = me_argmax(logits, n_vocab);
    me_free(logits);
    return status;
}

static mobiedit_status measure_target(me_runtime *runtime, const me_fact *fact, me_metrics *out,
                                      mobiedit_error *err) {
    char *prompt = me_fact_prompt(fact);
    if (!prompt) return me_fail_memory(err, "a prompt");
    bool says = false;
    const mobiedit_status status = me_says(runtime, prompt, fact->target, &says, err);
    me_free(prompt);
    if (status != MOBIEDIT_OK) return status;
    out->rewrite = says;
    size_t said = 0;
    for (size_t i = 0; i < fact->paraphrases.n; i++) {
        ME_TRY(me_says(runtime, fact->paraphrases.items[i], fact->target, &says, err));
        said += says;
    }
    out->paraphrase = fact->paraphrases.n ? (double)said / (double)fact->paraphrases.n : NAN;
    return MOBIEDIT_OK;
}

/* before, after: [n][n_vocab] */
static void compare_neighbours(const float *before, const float *after, size_t n, int n_vocab,
                               me_metrics *out) {
    double kl = 0;
    size_t same = 0;
    for (size_t i = 0; i < n; i++) {
        const float *was = before + i * (size_t)n_vocab, *is = after + i * (size_t)n_vocab;
        same += me_argmax(was, n_vocab) == me_argmax(is, n_vocab);
        kl += me_kl(was, is, n_vocab);
    }
    out->unchanged = n ? (double)same / (double)n : NAN;
    out->neighbour_kl = n ? kl / (double)n : NAN;
}

static mobiedit_status measure_attached(me_runtime *runtime, const me_fact *fact, const float *before,
                                        me_metrics *out, mobiedit_error *err) {
    float *after = NULL;
    ME_TRY(measure_target(runtime, fact, out, err));
    ME_TRY(all_next_logits(runtime, &fact->neighbours, &after, err));
    compare_neighbours(before, after, fact->neighbours.n, me_vocab_size(me_runtime_vocab(runtime)), out);
    me_free(after);
    return MOBIEDIT_OK;
}

mobiedit_status me_metrics_measure(me_runtime *runtime, const me_fact *fact, const char *adapter,
                                   me_metrics *out, mobiedit_error *err) {
    ME_TRY(me_runtime_set_adapter(runtime, NULL, err));
    if (!adapter) { /* the neighbours of an unedited model are what they were */
        out->unchanged = fact->neighbours.n ? 1 : NAN;
        out->neighbour_kl = fact->neighbours.n ? 0 : NAN;
        return measure_target(runtime, fact, out, err);
    }
    float *before = NULL;
    ME_TRY(all_next_logits(runtime, &fact->neighbours, &before, err));
    mobiedit_status status = me_runtime_set_adapter(runtime, adapter, err);
    if (status == MOBIEDIT_OK) status = measure_attached(runtime, fact, before, out, err);
    me_free(before);
    const mobiedit_status detached =
        me_runtime_set_adapter(runtime, NULL, status == MOBIEDIT_OK ? err : NULL);
    return status != MOBIEDIT_OK ? status : detached;
}
