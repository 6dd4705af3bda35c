/* Makes an edit's carriers: its prompt as it is, behind prefixes, and in other wordings. */
#include "edit/carriers.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)ME_KINDS == (int)ME_CALIBRATION_KINDS, "calibrations have a mean for each kind");

/* ---- sequences --------------------------------------------------------------------------------------- */

void me_sequences_free(me_sequences *s) {
    for (int i = 0; i < s->n; i++)
        me_free((void *)s->items[i].tokens);
    me_free(s->items);
    me_free(s->kinds);
    *s = (me_sequences){0};
}

static mobiedit_status grow(me_sequences *s, mobiedit_error *err) {
    if (s->n < s->capacity) return MOBIEDIT_OK;
    int capacity = 2 * s->capacity + 16;
    me_sequence *items = me_calloc((size_t)capacity, sizeof *items);
    int *kinds = me_calloc((size_t)capacity, sizeof *kinds);
    if (!items || !kinds) {
        me_free(items);
        me_free(kinds);
        return me_fail_memory(err, "token sequences");
    }
    if (s->n) {
        memcpy(items, s->items, (size_t)s->n * sizeof *items);
        memcpy(kinds, s->kinds, (size_t)s->n * sizeof *kinds);
    }
    me_free(s->items);
    me_free(s->kinds);
    s->items = items;
    s->kinds = kinds;
    s->capacity = capacity;
    return MOBIEDIT_OK;
}

/* text with `value` in place of its first `hole`, where it has one. */
static char *filled(const char *text, const char *hole, const char *value) {
    const char *at = strstr(text, hole);
    if (!at) return me_strndup(text, strlen(text));
    size_t size = strlen(text) + strlen(value) + 1;
    char *out = me_calloc(size, 1);
    if (out) (void)snprintf(out, size, "%.*s%s%s", (int)(at - text), text, value, at + strlen(hole));
    return out;
}

/* Bytes of the filled-in context up to the end of the subject's core; of
 * the whole text where it is not named. */
static size_t core_end(const me_context *context) {
    const char *hole = strstr(context->context, "{}");
    if (!hole) return strlen(context->context);
    return (size_t)(hole - context->context) + (context->core ? context->core : strlen(context->subject));
}

mobiedit_status me_sequences_add(me_sequences *s, const me_vocab *vocab, const me_context *context,
                                 mobiedit_error *err) {
    ME_TRY(grow(s, err));
    size_t end = core_end(context);
    char *text = filled(context->context, "{}", context->subject);
    if (!text) return me_fail_memory(err, "a prompt");
    me_tokens prompt = {0}, pair = {0};
    int n_prompt = 0;
    mobiedit_status status = me_tokenize(vocab, text, &prompt, err);
    if (status == MOBIEDIT_OK && context->target)
        status = me_tokenize_pair(vocab, text, context->target, &pair, &n_prompt, err);
    if (status == MOBIEDIT_OK && context->target && context->follow)
        status = me_tokens_add(&pair, *context->follow, err);
    int p = status == MOBIEDIT_OK ? me_token_at(vocab, &prompt, text, end) : -1;
    if (status == MOBIEDIT_OK && (p < 0 || prompt.n < 1 || (context->target && pair.n <= n_prompt)))
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "no token stands for %s in \"%.100s\"",
                         p < 0 ? "the subject" : "the target", text);
    me_free(text);
    if (status != MOBIEDIT_OK) {
        me_tokens_free(&prompt);
        me_tokens_free(&pair);
        return status;
    }
    me_sequence item = {
        .tokens = prompt.ids, .n_tokens = prompt.n, .edit_pos = p, .read_pos = p, .n_read = 1};
    if (context->target) {
        /* The target's last token stays behind the sequence's end, for whoever asks what it was. */
        item = (me_sequence){.tokens = pair.ids,
                             .n_tokens = pair.n - 1,
                             .edit_pos = p,
                             .read_pos = n_prompt - 1,
                             .n_read = pair.n - n_prompt};
        me_tokens_free(&prompt);
    } else if (context->all) {
        item.read_pos = 0;
        item.n_read = prompt.n;
    }
    s->kinds[s->n] = ME_KIND_OWN;
    s->items[s->n++] = item;
    return MOBIEDIT_OK;
}

mobiedit_status me_sequences_add_texts(me_sequences *s, const me_vocab *vocab, const char *const *texts,
                                       size_t n, mobiedit_error *err) {
    for (size_t i = 0; i < n; i++) {
        const me_context context = {.context = texts[i], .subject = "", .all = true};
        ME_TRY(me_sequences_add(s, vocab, &context, err));
    }
    return MOBIEDIT_OK;
}

me_sequence *me_calibration_text_sequences(const me_calibration *c) {
    me_sequence *sequences = me_calloc((size_t)c->n_texts, sizeof *sequences);
    for (int i = 0; i < c->n_texts && sequences; i++) {
        const int32_t *row = c->texts + (size_t)i * ME_CALIBRATION_TEXT_TOKENS;
        const int n = me_calibration_text_length(row);
        sequences[i] = (me_sequence){.tokens = row, .n_tokens = n, .n_read = n};
    }
    return sequences;
}

/* ---- carriers ---------------------------------------------------------------------------------------- */

static void drop_last(me_sequences *s) {
    me_free((void *)s->items[--s->n].tokens);
}

const me_token *me_sequence_target(const me_sequence *sequence) {
    return sequence->tokens + sequence->read_pos + 1;
}

/* Whether two carriers' targets are cut alike. */
static bool same_targets(const me_sequence *a, const me_sequence *b) {
    return a->n_read == b->n_read &&
           memcmp(me_sequence_target(a), me_sequence_target(b), (size_t)a->n_read * sizeof *a->tokens) == 0;
}

/* The carriers of one request as they are made. */
typedef struct {
    const me_vocab *vocab;
    const me_prompt *prompt;
    char *subject;
    size_t core;
    me_sequences *out;
} carrier_maker;

/* text: a prompt with "{}"; freed here. */
static mobiedit_status add_carrier(carrier_maker *m, char *text, const char *target, int kind,
                                   mobiedit_error *err) {
    if (!text) return me_fail_memory(err, "a carrier");
    const me_context context = {.context = text,
                                .subject = m->subject,
                                .core = m->core,
                                .target = target,
                                .follow = m->prompt->teach_follow ? &m->prompt->follow : NULL};
    const mobiedit_status status = me_sequences_add(m->out, m->vocab, &context, err);
    if (status == MOBIEDIT_OK) m->out->kinds[m->out->n - 1] = kind;
    me_free(text);
    return status;
}

static bool same_tokens(const me_sequence *a, const me_sequence *b) {
    return a->n_tokens == b->n_tokens &&
           memcmp(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof *a->tokens) == 0;
}

/* The same for a text that should change nothing of how the target is cut; left out where it does, or is the
 * bare prompt once more. */
static mobiedit_status add_variant(carrier_maker *m, char *text, int kind, mobiedit_error *err) {
    ME_TRY(add_carrier(m, text, m->prompt->target, kind, err));
    const me_sequence *bare = m->out->items, *added = &bare[m->out->n - 1];
    if (!same_targets(added, bare) || same_tokens(added, bare)) drop_last(m->out);
    return MOBIEDIT_OK;
}

static mobiedit_status add_prefixed(carrier_maker *m, const me_carrier_options *options,
                                    mobiedit_error *err) {
    const int n_texts = (int)me_texts_count(me_texts_prefixes);
    for (int i = 0; i < options->n_prefixed; i++)
        ME_TRY(add_variant(
            m, me_prompt_template(m->prompt, me_texts_prefixes[(options->first_prefix + i) % n_texts]),
            ME_KIND_OWN, err));
    return MOBIEDIT_OK;
}

/* The prompt's message with a pronoun for its subject: "The capital of it is", "Its CEO is". Freed with
 * me_free; NULL: out of memory. */
static char *with_pronoun(const me_prompt *p) {
    static const char genitive[] = "'s";
    const size_t before = p->subject_begin - p->head, end = p->subject_end - p->tail,
                 length = strlen(p->text) - p->foot, size = length + sizeof "its";
    const bool owns = strncmp(p->text + end, genitive, strlen(genitive)) == 0;
    const size_t rest = end + (owns ? strlen(genitive) : 0);
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s%.*s", (int)before, p->text + p->head, before ? "it" : "It",
                       owns ? "s" : "", (int)(length - rest), p->text + rest);
    return out;
}

/* A message in the place of the prompt's own. Freed with me_free; NULL: out of memory. */
static char *framed(const me_prompt *p, const char *message) {
    const size_t length = strlen(p->text), size = p->head + strlen(message) + p->foot + 1;
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s", (int)p->head, p->text, message, p->text + length - p->foot);
    return out;
}

static mobiedit_status add_reworded(carrier_maker *m, const char *words, mobiedit_error *err) {
    char *statement = with_pronoun(m->prompt);
    mobiedit_status status = statement ? MOBIEDIT_OK : me_fail_memory(err, "a carrier");
    for (int i = 0; me_texts_wordings[i] && status == MOBIEDIT_OK; i++) {
        char *with_words = filled(me_texts_wordings[i], "[]", words);
        char *message = with_words ? filled(with_words, "()", statement) : NULL;
        char *text = message ? framed(m->prompt, message) : NULL;
        me_free(with_words);
        me_free(message);
        status = add_variant(m, text, ME_KIND_REWORDED + i, err);
    }
    me_free(statement);
    return status;
}

/* The prompt's content words in other wordings. */
static mobiedit_status add_other_words(carrier_maker *m, mobiedit_error *err) {
    char *words = me_prompt_words(m->prompt);
    mobiedit_status status = words ? MOBIEDIT_OK : me_fail_memory(err, "the prompt's words");
    if (status == MOBIEDIT_OK && words[0]) status = add_reworded(m, words, err);
    me_free(words);
    return status;
}

mobiedit_status me_carriers_make(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                 const me_carrier_options *options, me_sequences *out, mobiedit_error *err) {
    carrier_maker m = {.vocab = vocab, .prompt = prompt, .core = core, .out = out};
    m.subject = me_strndup(prompt->text + prompt->subject_begin, prompt->subject_end - prompt->subject_begin);
    mobiedit_status status = m.subject ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
    if (status == MOBIEDIT_OK)
        status = add_carrier(&m, me_prompt_template(prompt, NULL), prompt->target, ME_KIND_OWN, err);
    if (status == MOBIEDIT_OK) status = add_prefixed(&m, options, err);
    out->n_own = out->n;
    if (status == MOBIEDIT_OK && options->reworded) status = add_other_words(&m, err);
    me_free(m.subject);
    if (status != MOBIEDIT_OK) me_sequences_free(out);
    return status;
}
