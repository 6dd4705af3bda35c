#include "edit/carriers.h"

#include "base/memory.h"
#include "edit/problem.h"
#include "edit/texts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- the request's text ------------------------------------------------------------------------------ */

static char *trimmed(const char *text, size_t n) {
    char *copy = me_strndup(text, n);
    me_trim(copy);
    return copy;
}

/* The two braces, of which there is one pair. */
static mobiedit_status check_braces(const char *prompt, const char *open, const char *close,
                                    mobiedit_error *err) {
    if (strpbrk(open + 1, "{") || strchr(close + 1, '}') || strchr(prompt, '}') != close)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt must have exactly one pair of braces");
    return MOBIEDIT_OK;
}

mobiedit_status me_prompt_parse(const mobiedit_request *request, me_prompt *out, mobiedit_error *err) {
    if (!request || !request->prompt || !request->target)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an edit needs a prompt and a target");
    const char *open = strchr(request->prompt, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the prompt needs its subject in braces, as in \"The capital of {Japan} is\"");
    ME_TRY(check_braces(request->prompt, open, close, err));
    char *subject = trimmed(open + 1, (size_t)(close - open - 1));
    char *target = trimmed(request->target, strlen(request->target));
    size_t before = (size_t)(open - request->prompt), length = subject ? strlen(subject) : 0;
    char *text = me_calloc(strlen(request->prompt) + 1, 1);
    mobiedit_status status = MOBIEDIT_OK;
    if (!subject || !target || !text)
        status = me_fail_memory(err, "the request");
    else if (length == 0)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "the subject in braces is empty");
    else if (target[0] == 0)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "the target is empty");
    if (status != MOBIEDIT_OK) {
        me_free(target);
        me_free(text);
    } else {
        memcpy(text, request->prompt, before);
        memcpy(text + before, subject, length);
        memcpy(text + before + length, close + 1, strlen(close + 1));
        for (size_t n = strlen(text); n > before + length && me_is_space(text[n - 1]); n--)
            text[n - 1] = 0;
        *out = (me_prompt){
            .text = text, .subject_begin = before, .subject_end = before + length, .target = target};
    }
    me_free(subject);
    return status;
}

void me_prompt_free(me_prompt *prompt) {
    me_free(prompt->text);
    me_free(prompt->target);
    *prompt = (me_prompt){0};
}

char *me_prompt_template(const me_prompt *prompt, const char *prefix) {
    size_t size = strlen(prompt->text) + (prefix ? strlen(prefix) : 0) + 4;
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%s%s%.*s{}%s", prefix ? prefix : "", prefix ? " " : "",
                       (int)prompt->subject_begin, prompt->text, prompt->text + prompt->subject_end);
    return out;
}

static bool is_punctuation(char c) {
    return c && strchr(".,;:!?\"'()[]", c);
}

static bool is_stop_word(const char *word, size_t n) {
    for (const char *const *stop = me_texts_stop_words; *stop; stop++)
        if (strlen(*stop) == n && strncasecmp(*stop, word, n) == 0) return true;
    return false;
}

/* The next word of text[*at, end), punctuation around it left out; NULL where there is none. */
static const char *next_word(const char *text, size_t *at, size_t end, size_t *n) {
    while (*at < end && (me_is_space(text[*at]) || is_punctuation(text[*at])))
        ++*at;
    size_t begin = *at;
    while (*at < end && !me_is_space(text[*at]))
        ++*at;
    *n = *at - begin;
    while (*n > 0 && is_punctuation(text[begin + *n - 1]))
        --*n;
    return *n ? text + begin : NULL;
}

/* Writes the words that are not stop words at out[at], a space before each but the first of all; where it
 * ends. They take no more room than in the text, and a space. */
static size_t put_words(char *out, size_t at, const char *text, size_t begin, size_t end) {
    size_t n;
    for (const char *word; (word = next_word(text, &begin, end, &n));) {
        if (is_stop_word(word, n)) continue;
        if (at) out[at++] = ' ';
        memcpy(out + at, word, n);
        at += n;
    }
    return at;
}

char *me_prompt_words(const me_prompt *prompt) {
    size_t length = strlen(prompt->text);
    char *words = me_calloc(length + 2, 1);
    if (!words) return NULL;
    size_t at = put_words(words, 0, prompt->text, 0, prompt->subject_begin);
    put_words(words, at, prompt->text, prompt->subject_end, length);
    return words;
}

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

/* Bytes of the filled-in context up to the end of the subject's core; of the whole text where it is not
 * named.
 */
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

/* ---- carriers ---------------------------------------------------------------------------------------- */

static void drop_last(me_sequences *s) {
    me_free((void *)s->items[--s->n].tokens);
}

mobiedit_status me_subject_core(const me_vocab *vocab, const me_prompt *prompt, size_t *core,
                                mobiedit_error *err) {
    size_t begin = prompt->subject_begin, end = prompt->subject_end;
    me_tokens tokens = {0};
    ME_TRY(me_tokenize(vocab, prompt->text, &tokens, err));
    int last = me_token_at(vocab, &tokens, prompt->text, end);
    bool straddles = prompt->text[end] && me_token_at(vocab, &tokens, prompt->text, end + 1) == last;
    while (straddles && end > begin && me_token_at(vocab, &tokens, prompt->text, end) == last)
        end--;
    me_tokens_free(&tokens);
    *core = (end > begin ? end : prompt->subject_end) - begin;
    return MOBIEDIT_OK;
}

mobiedit_status me_prompt_settle(const me_vocab *vocab, const me_prompt *prompt, me_prompt *out,
                                 mobiedit_error *err) {
    size_t core;
    me_tokens tokens = {0};
    *out = *prompt;
    ME_TRY(me_subject_core(vocab, prompt, &core, err));
    ME_TRY(me_tokenize(vocab, prompt->text, &tokens, err));
    const char *text = prompt->text;
    size_t end = prompt->subject_begin + core;
    if (me_token_at(vocab, &tokens, text, end) == 0)
        while (text[end] && me_token_at(vocab, &tokens, text, end + 1) <= 1)
            end++;
    if (end > prompt->subject_end) {
        out->tail = end - prompt->subject_end;
        out->subject_end = end;
    }
    me_tokens_free(&tokens);
    return MOBIEDIT_OK;
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
    const me_context context = {.context = text, .subject = m->subject, .core = m->core, .target = target};
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

/* The prompt with a pronoun for its subject: "The capital of it is", "Its CEO is". Freed with me_free; NULL:
 * out of memory. */
static char *with_pronoun(const me_prompt *p) {
    static const char genitive[] = "'s";
    const size_t begin = p->subject_begin, end = p->subject_end - p->tail,
                 size = strlen(p->text) + sizeof "its";
    const bool owns = strncmp(p->text + end, genitive, strlen(genitive)) == 0;
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s%s", (int)begin, p->text, begin ? "it" : "It", owns ? "s" : "",
                       p->text + end + (owns ? strlen(genitive) : 0));
    return out;
}

static mobiedit_status add_reworded(carrier_maker *m, const char *words, mobiedit_error *err) {
    char *statement = with_pronoun(m->prompt);
    mobiedit_status status = statement ? MOBIEDIT_OK : me_fail_memory(err, "a carrier");
    for (int i = 0; me_texts_wordings[i] && status == MOBIEDIT_OK; i++) {
        char *with_words = filled(me_texts_wordings[i], "[]", words);
        char *text = with_words ? filled(with_words, "()", statement) : NULL;
        me_free(with_words);
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
