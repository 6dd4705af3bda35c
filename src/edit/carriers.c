#include "edit/carriers.h"

#include "base/memory.h"
#include "edit/texts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- the request's text ------------------------------------------------------------------------------ */

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static char *trimmed(const char *text, size_t n) {
    while (n > 0 && is_space(text[n - 1]))
        n--;
    while (n > 0 && is_space(text[0])) {
        text++;
        n--;
    }
    return me_strndup(text, n);
}

static mobiedit_status find_braces(const char *prompt, const char **open, const char **close,
                                   mobiedit_error *err) {
    *open = strchr(prompt, '{');
    *close = *open ? strchr(*open, '}') : NULL;
    if (!*close)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the prompt needs its subject in braces, as in \"The capital of {Japan} is\"");
    if (strpbrk(*open + 1, "{") || strchr(*close + 1, '}') || strchr(prompt, '}') != *close)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt must have exactly one pair of braces");
    return MOBIEDIT_OK;
}

mobiedit_status me_prompt_parse(const mobiedit_request *request, me_prompt *out, mobiedit_error *err) {
    if (!request || !request->prompt || !request->target)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an edit needs a prompt and a target");
    const char *open, *close;
    ME_TRY(find_braces(request->prompt, &open, &close, err));
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
        for (size_t n = strlen(text); n > before + length && is_space(text[n - 1]); n--)
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
    while (*at < end && (is_space(text[*at]) || is_punctuation(text[*at])))
        ++*at;
    size_t begin = *at;
    while (*at < end && !is_space(text[*at]))
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
    me_free(s->weights);
    *s = (me_sequences){0};
}

static mobiedit_status grow(me_sequences *s, mobiedit_error *err) {
    if (s->n < s->capacity) return MOBIEDIT_OK;
    int capacity = 2 * s->capacity + 16;
    me_sequence *items = me_calloc((size_t)capacity, sizeof *items);
    float *weights = me_calloc((size_t)capacity, sizeof *weights);
    if (!items || !weights) {
        me_free(items);
        me_free(weights);
        return me_fail_memory(err, "token sequences");
    }
    if (s->n) {
        memcpy(items, s->items, (size_t)s->n * sizeof *items);
        memcpy(weights, s->weights, (size_t)s->n * sizeof *weights);
    }
    me_free(s->items);
    me_free(s->weights);
    s->items = items;
    s->weights = weights;
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
                                 float weight, mobiedit_error *err) {
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
    s->weights[s->n] = weight;
    s->items[s->n++] = item;
    return MOBIEDIT_OK;
}

/* ---- carriers ---------------------------------------------------------------------------------------- */

static void drop_last(me_sequences *s) {
    me_free((void *)s->items[--s->n].tokens);
}

/* The target's tokens: those at the read positions shifted by one; the last one is not part of the sequence.
 */
static mobiedit_status target_of(const me_vocab *vocab, const char *text, const char *target, me_token **out,
                                 int *n, mobiedit_error *err) {
    me_tokens pair = {0};
    int n_prompt = 0;
    ME_TRY(me_tokenize_pair(vocab, text, target, &pair, &n_prompt, err));
    *n = pair.n - n_prompt;
    me_token *ids = *n > 0 ? me_calloc((size_t)*n, sizeof *ids) : NULL;
    if (ids) memcpy(ids, pair.ids + n_prompt, (size_t)*n * sizeof *ids);
    me_tokens_free(&pair);
    if (!ids) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the target \"%.100s\" has no tokens", target);
    *out = ids;
    return MOBIEDIT_OK;
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

static bool same_target(const me_sequence *item, const me_token *target, int n_target) {
    return target && item->n_read == n_target &&
           memcmp(item->tokens + item->read_pos + 1, target, (size_t)(n_target - 1) * sizeof *target) == 0;
}

/* The carriers of one request as they are made. */
typedef struct {
    const me_vocab *vocab;
    const me_prompt *prompt;
    char *subject;
    size_t core;
    me_sequences *out;
    me_token *target;
    int n_target;
} carrier_maker;

/* text: a prompt with "{}"; freed here. A carrier after the first whose text changes how the target is cut is
 * left out. */
static mobiedit_status add_carrier(carrier_maker *m, char *text, mobiedit_error *err) {
    if (!text) return me_fail_memory(err, "a carrier");
    const me_context context = {
        .context = text, .subject = m->subject, .core = m->core, .target = m->prompt->target};
    mobiedit_status status = me_sequences_add(m->out, m->vocab, &context, 1, err);
    me_free(text);
    if (status == MOBIEDIT_OK && m->out->n > 1 &&
        !same_target(&m->out->items[m->out->n - 1], m->target, m->n_target))
        drop_last(m->out);
    return status;
}

static mobiedit_status add_prefixed(carrier_maker *m, const me_carrier_options *options,
                                    mobiedit_error *err) {
    int n_texts = 1;
    while (me_texts_prefixes[n_texts])
        n_texts++;
    for (int i = 0; i < options->n_prefixed; i++)
        ME_TRY(add_carrier(
            m, me_prompt_template(m->prompt, me_texts_prefixes[(options->first_prefix + i) % n_texts]), err));
    return MOBIEDIT_OK;
}

static mobiedit_status add_reworded(carrier_maker *m, mobiedit_error *err) {
    char *words = me_prompt_words(m->prompt);
    mobiedit_status status = words ? MOBIEDIT_OK : me_fail_memory(err, "the prompt's words");
    for (int i = 0; status == MOBIEDIT_OK && words[0] && me_texts_wordings[i]; i++)
        status = add_carrier(m, filled(me_texts_wordings[i], "[]", words), err);
    me_free(words);
    return status;
}

/* The bare prompt counts as much as all others together: it is what the user asked for. */
static void weigh(me_sequences *carriers) {
    if (carriers->n > 1) carriers->weights[0] = (float)(carriers->n - 1);
}

mobiedit_status me_carriers_make(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                 const me_carrier_options *options, me_sequences *out, me_token **target,
                                 int *n_target, mobiedit_error *err) {
    carrier_maker m = {.vocab = vocab, .prompt = prompt, .core = core, .out = out};
    m.subject = me_strndup(prompt->text + prompt->subject_begin, prompt->subject_end - prompt->subject_begin);
    mobiedit_status status = m.subject ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
    if (status == MOBIEDIT_OK)
        status = target_of(vocab, prompt->text, prompt->target, &m.target, &m.n_target, err);
    if (status == MOBIEDIT_OK) status = add_carrier(&m, me_prompt_template(prompt, NULL), err);
    if (status == MOBIEDIT_OK) status = add_prefixed(&m, options, err);
    out->n_own = out->n;
    if (status == MOBIEDIT_OK && options->reworded) status = add_reworded(&m, err);
    me_free(m.subject);
    if (status == MOBIEDIT_OK) {
        weigh(out);
        *target = m.target;
        *n_target = m.n_target;
    } else {
        me_sequences_free(out);
        me_free(m.target);
        *target = NULL;
    }
    return status;
}
