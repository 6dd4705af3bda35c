/* Lets the runtime go on after a fact's prompts, and collects what is said. */
#include "eval/generation.h"

#include "base/memory.h"
#include "eval/fluency.h"
#include "runtime/batch.h"

#include <math.h>

size_t me_generation_prompts(const me_fact *fact) {
    return 1 + fact->paraphrases.n + fact->neighbours.n + fact->portability.n;
}

const char *me_generation_prompt(const me_fact *fact, size_t i, mobiedit_said_kind *kind) {
    *kind = MOBIEDIT_SAID_PROMPT;
    if (i-- == 0) return NULL;
    *kind = MOBIEDIT_SAID_PARAPHRASE;
    if (i < fact->paraphrases.n) return fact->paraphrases.items[i];
    i -= fact->paraphrases.n;
    *kind = MOBIEDIT_SAID_NEIGHBOUR;
    if (i < fact->neighbours.n) return fact->neighbours.items[i].prompt;
    *kind = MOBIEDIT_SAID_PORTABILITY;
    return fact->portability.items[i - fact->neighbours.n].prompt;
}

/* What is to be generated: first the continuations, then the texts about the subject. */
typedef struct {
    const me_vocab *vocab;
    const me_generation_options *options;
    const char *prompt; /* the fact's own */
    me_opening *openings;
    me_tokens *tokens;
    const char **prompts;
    char **texts;
    size_t *places; /* of the first n_said: the prompt's index */
    size_t n, n_said;
    mobiedit_error *err;
} prompt_list;

static mobiedit_status add(prompt_list *s, const char *prompt, me_opening opening) {
    ME_TRY(me_tokenize(s->vocab, prompt, &s->tokens[s->n], s->err));
    opening.tokens = s->tokens[s->n].ids;
    opening.n = s->tokens[s->n].n;
    s->prompts[s->n] = prompt;
    s->openings[s->n++] = opening;
    return MOBIEDIT_OK;
}

static mobiedit_status add_said(prompt_list *s, const me_fact *fact) {
    for (size_t i = 0; i < me_generation_prompts(fact); i++) {
        mobiedit_said_kind kind;
        const char *prompt = me_generation_prompt(fact, i, &kind);
        if (!s->options->all && kind != MOBIEDIT_SAID_PROMPT && kind != MOBIEDIT_SAID_NEIGHBOUR) continue;
        s->places[s->n] = i;
        ME_TRY(
            add(s, prompt ? prompt : s->prompt,
                (me_opening){.max_tokens = prompt ? ME_GENERATION_OTHER_TOKENS : ME_GENERATION_PROMPT_TOKENS,
                             .stop_at_newline = true}));
    }
    s->n_said = s->n;
    return MOBIEDIT_OK;
}

/* From the fact's generation prompts, else from its own. */
static mobiedit_status add_texts(prompt_list *s, const me_fact *fact) {
    const size_t n = fact->generations.n < ME_GENERATION_TEXTS ? fact->generations.n : ME_GENERATION_TEXTS;
    for (size_t i = 0; i < (n ? n : 1); i++) {
        me_opening opening = {.never_end = true, .top_k = ME_GENERATION_TOP, .seed = s->options->seed + i};
        ME_TRY(add(s, n ? fact->generations.items[i] : s->prompt, opening));
        /* A long prompt still gets some tokens. */
        me_opening *added = &s->openings[s->n - 1];
        const int left = ME_GENERATION_FLUENCY_TOKENS - added->n;
        added->max_tokens = left > ME_GENERATION_OTHER_TOKENS ? left : ME_GENERATION_OTHER_TOKENS;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status text_entropy(const char *prompt, const char *continuation, double *bits,
                                    mobiedit_error *err) {
    char *text = me_strjoin(prompt, continuation);
    if (!text) return me_fail_memory(err, "a text");
    const mobiedit_status status = me_ngram_entropy(text, bits, err);
    me_free(text);
    return status;
}

static mobiedit_status keep(prompt_list *s, me_generation *out) {
    double sum = 0;
    for (size_t i = 0; i < s->n_said; i++) {
        out->texts[s->places[i]] = s->texts[i];
        s->texts[i] = NULL;
    }
    for (size_t i = s->n_said; i < s->n; i++) {
        double bits;
        ME_TRY(text_entropy(s->prompts[i], s->texts[i], &bits, s->err));
        sum += bits;
    }
    out->fluency = s->n > s->n_said ? sum / (double)(s->n - s->n_said) : NAN;
    return MOBIEDIT_OK;
}

static mobiedit_status run(prompt_list *s, me_runtime *runtime, const me_fact *fact, me_generation *out) {
    const size_t most = me_generation_prompts(fact) + ME_GENERATION_TEXTS;
    s->openings = me_calloc(most, sizeof *s->openings);
    s->tokens = me_calloc(most, sizeof *s->tokens);
    s->prompts = me_calloc(most, sizeof *s->prompts);
    s->texts = me_calloc(most, sizeof *s->texts);
    s->places = me_calloc(most, sizeof *s->places);
    if (!s->openings || !s->tokens || !s->prompts || !s->texts || !s->places)
        return me_fail_memory(s->err, "the texts");
    if (s->options->said) ME_TRY(add_said(s, fact));
    if (s->options->fluency) ME_TRY(add_texts(s, fact));
    ME_TRY(me_runtime_batch_continue(runtime, s->openings, (int)s->n, s->texts, s->err));
    return keep(s, out);
}

static void prompts_free(prompt_list *s) {
    for (size_t i = 0; i < s->n; i++) {
        me_tokens_free(&s->tokens[i]);
        me_free(s->texts[i]);
    }
    me_free(s->openings);
    me_free(s->tokens);
    me_free(s->prompts);
    me_free(s->texts);
    me_free(s->places);
}

mobiedit_status me_generation_run(me_runtime *runtime, const me_fact *fact,
                                  const me_generation_options *options, me_generation *out,
                                  mobiedit_error *err) {
    char *prompt = me_fact_prompt(fact);
    prompt_list s = {.vocab = me_runtime_vocab(runtime), .options = options, .prompt = prompt, .err = err};
    *out = (me_generation){.n = me_generation_prompts(fact), .fluency = NAN};
    out->texts = me_calloc(out->n, sizeof *out->texts);
    mobiedit_status status =
        prompt && out->texts ? run(&s, runtime, fact, out) : me_fail_memory(err, "the texts");
    prompts_free(&s);
    me_free(prompt);
    if (status != MOBIEDIT_OK) me_generation_free(out);
    return status;
}

void me_generation_free(me_generation *generation) {
    for (size_t i = 0; generation->texts && i < generation->n; i++)
        me_free(generation->texts[i]);
    me_free(generation->texts);
    *generation = (me_generation){0};
}
