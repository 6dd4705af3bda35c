/* What a person would want to know of an edit that was made. */
#include "api/asides.h"
#include "api/edit_job.h"
#include "base/logits.h"
#include "base/memory.h"
#include "base/words.h"

#include <stdio.h>
#include <string.h>

/* Nats a token from which on, in the mean of the texts that it was taught in, the target's tokens are less
 * likely than all others together: ln 2. */
static const float HIGH_LOSS = 0.693F;
/* How many nats likelier the subject is with capital letters, where the model knows it so. Where both
 * spellings are at home ("apple", "Apple") they are closer. */
static const double MUCH_LIKELIER = 3;

/* Nats that the subject costs behind the text; out of memory or of room: an error. */
static mobiedit_status cost_of(me_runtime *runtime, const char *before, const char *subject, double *nats,
                               mobiedit_error *err) {
    const me_vocab *vocab = me_runtime_vocab(runtime);
    const int n_vocab = me_vocab_size(vocab);
    me_tokens tokens = {0};
    int n_before;
    ME_TRY(me_tokenize_pair(vocab, before, subject, &tokens, &n_before, err));
    const int n_last = tokens.n - n_before + 1;
    float *logits = me_calloc((size_t)n_last, (size_t)n_vocab * sizeof *logits);
    mobiedit_status status = logits ? MOBIEDIT_OK : me_fail_memory(err, "the subject's scores");
    if (status == MOBIEDIT_OK) status = me_runtime_logits(runtime, tokens.ids, tokens.n, n_last, logits, err);
    *nats = 0;
    for (int i = 0; status == MOBIEDIT_OK && n_before + i < tokens.n; i++) {
        const float *row = logits + (size_t)i * (size_t)n_vocab;
        *nats += me_log_sum_exp(row, n_vocab) - (double)row[tokens.ids[n_before + i]];
    }
    me_free(logits);
    me_tokens_free(&tokens);
    return status;
}

/* Whether the model knows the subject with capital letters rather than as it was written, where it stands in
 * the prompt. At the beginning of a text every word has one: there it is asked behind other words. */
static mobiedit_status knows_capitals(me_runtime *runtime, const char *before, const char *subject,
                                      const char *capitals, bool *out, mobiedit_error *err) {
    double written, known;
    if (!*before) before = "They talked about";
    ME_TRY(cost_of(runtime, before, subject, &written, err));
    ME_TRY(cost_of(runtime, before, capitals, &known, err));
    *out = written - known > MUCH_LIKELIER;
    return MOBIEDIT_OK;
}

/* The prompt with another subject. Freed with me_free; NULL: out of memory. */
static char *with_subject(const me_prompt *p, const char *subject) {
    const size_t size = strlen(p->text) + strlen(subject) + 1;
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s", (int)p->subject_begin, p->text, subject,
                       p->text + p->subject_end);
    return out;
}

/* Whether the prompt says the target with the subject in capital letters too, adapter attached. */
static mobiedit_status holds_with(me_runtime *runtime, const me_prompt *p, const char *capitals, bool *out,
                                  mobiedit_error *err) {
    char *text = with_subject(p, capitals);
    if (!text) return me_fail_memory(err, "a prompt");
    me_said said = ME_SAID_OTHER;
    me_prompt with = *p;
    with.text = text;
    const mobiedit_status status = me_prompt_said(runtime, &with, &said, err);
    me_free(text);
    *out = said == ME_SAID_WHOLE;
    return status;
}

static mobiedit_status look_at_capitals(const me_prompt *p, me_runtime *runtime, const char *subject,
                                        const char *capitals, bool *lost, mobiedit_error *err) {
    bool known, holds = true;
    size_t n = p->subject_begin;
    while (n > 0 && me_is_space(p->text[n - 1]))
        n--;
    char *before = me_strndup(p->text, n);
    mobiedit_status status = before ? MOBIEDIT_OK : me_fail_memory(err, "a prompt");
    if (status == MOBIEDIT_OK) status = knows_capitals(runtime, before, subject, capitals, &known, err);
    if (status == MOBIEDIT_OK && known) status = holds_with(runtime, p, capitals, &holds, err);
    if (status == MOBIEDIT_OK) *lost = known && !holds;
    me_free(before);
    return status;
}

mobiedit_status me_job_warn(me_edit_job *job, me_runtime *runtime, mobiedit_error *err) {
    const me_prompt *p = job->ask.prompt;
    mobiedit_edit_result *result = job->result;
    bool lost = false;
    me_free(result->known_as);
    result->known_as = NULL;
    result->high_loss = job->solved.solve.loss > HIGH_LOSS;
    char *subject = me_strndup(p->text + p->subject_begin, p->subject_end - p->subject_begin);
    char *capitals = subject ? me_capitalized(subject) : NULL;
    mobiedit_status status = capitals ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
    if (status == MOBIEDIT_OK && strcmp(subject, capitals) != 0)
        status = look_at_capitals(p, runtime, subject, capitals, &lost, err);
    if (status == MOBIEDIT_OK && lost) {
        result->known_as = capitals;
        capitals = NULL;
    }
    me_free(capitals);
    me_free(subject);
    return status;
}
