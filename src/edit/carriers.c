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
    me_free(s->weights);
    me_free(s->kinds);
    me_free(s->targets);
    *s = (me_sequences){0};
}

static mobiedit_status grow(me_sequences *s, mobiedit_error *err) {
    if (s->n < s->capacity) return MOBIEDIT_OK;
    int capacity = 2 * s->capacity + 16;
    me_sequence *items = me_calloc((size_t)capacity, sizeof *items);
    float *weights = me_calloc((size_t)capacity, sizeof *weights);
    int *kinds = me_calloc((size_t)capacity, sizeof *kinds);
    if (!items || !weights || !kinds) {
        me_free(items);
        me_free(weights);
        me_free(kinds);
        return me_fail_memory(err, "token sequences");
    }
    if (s->n) {
        memcpy(items, s->items, (size_t)s->n * sizeof *items);
        memcpy(weights, s->weights, (size_t)s->n * sizeof *weights);
        memcpy(kinds, s->kinds, (size_t)s->n * sizeof *kinds);
    }
    me_free(s->items);
    me_free(s->weights);
    me_free(s->kinds);
    s->items = items;
    s->weights = weights;
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
    s->weights[s->n] = weight;
    s->kinds[s->n] = ME_KIND_OWN;
    s->items[s->n++] = item;
    return MOBIEDIT_OK;
}

mobiedit_status me_sequences_add_texts(me_sequences *s, const me_vocab *vocab, const char *const *texts,
                                       size_t n, mobiedit_error *err) {
    for (size_t i = 0; i < n; i++) {
        const me_context context = {.context = texts[i], .subject = "", .all = true};
        ME_TRY(me_sequences_add(s, vocab, &context, 1, err));
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

/* Whether two carriers' targets are cut alike. */
static bool same_targets(const me_sequence *a, const me_sequence *b) {
    return a->n_read == b->n_read && memcmp(a->tokens + a->read_pos + 1, b->tokens + b->read_pos + 1,
                                            (size_t)a->n_read * sizeof *a->tokens) == 0;
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
    const mobiedit_status status = me_sequences_add(m->out, m->vocab, &context, 1, err);
    if (status == MOBIEDIT_OK) m->out->kinds[m->out->n - 1] = kind;
    me_free(text);
    return status;
}

/* The same for a text that should change nothing of how the target is cut; left out where it does. */
static mobiedit_status add_variant(carrier_maker *m, char *text, int kind, mobiedit_error *err) {
    ME_TRY(add_carrier(m, text, m->prompt->target, kind, err));
    if (!same_targets(&m->out->items[m->out->n - 1], m->out->items)) drop_last(m->out);
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
        const char *wording = me_texts_wordings[i];
        char *text = strstr(wording, "()") ? filled(wording, "()", statement) : filled(wording, "[]", words);
        status = add_variant(m, text, ME_KIND_REWORDED + i, err);
    }
    me_free(statement);
    return status;
}

/* chat: a user's turn that names the subject, and the opening of the assistant's. The answer may be the
 * target at once; or it may begin with the prompt's own words, and then the subject must still be found
 * there: a delta that makes the model say another capital also makes it forget whose capital was asked for.
 */
static mobiedit_status add_answers(carrier_maker *m, const char *chat, mobiedit_error *err) {
    ME_TRY(add_carrier(m, me_strndup(chat, strlen(chat)), m->prompt->target, ME_KIND_NONE, err));
    size_t begin = m->prompt->subject_begin;
    while (begin > 0 && me_is_space(m->prompt->text[begin - 1]))
        begin--;
    const size_t size = strlen(chat) + begin + 1;
    char *opening = me_calloc(size, 1);
    if (opening) (void)snprintf(opening, size, "%s%.*s", chat, (int)begin, m->prompt->text);
    char *own = me_strndup(m->subject, strlen(m->subject) - m->prompt->tail);
    const mobiedit_status status =
        own ? add_carrier(m, opening, own, ME_KIND_NONE, err) : me_fail_memory(err, "a carrier");
    if (!own) me_free(opening);
    me_free(own);
    return status;
}

static mobiedit_status add_chat(carrier_maker *m, const char *words, mobiedit_error *err) {
    char *question = filled(me_texts_question, "[]", words), *chat = NULL;
    if (!question) return me_fail_memory(err, "a carrier");
    /* A model without a chat form is not asked in it: that is no error, and leaves no message of one. */
    mobiedit_status status = me_vocab_chat(m->vocab, question, &chat, NULL);
    me_free(question);
    if (status == MOBIEDIT_E_UNSUPPORTED) return MOBIEDIT_OK;
    if (status != MOBIEDIT_OK) return me_fail_memory(err, "a carrier");
    status = add_answers(m, chat, err);
    me_free(chat);
    return status;
}

/* The prompt's content words in other wordings and in chat form. */
static mobiedit_status add_other_words(carrier_maker *m, mobiedit_error *err) {
    char *words = me_prompt_words(m->prompt);
    mobiedit_status status = words ? MOBIEDIT_OK : me_fail_memory(err, "the prompt's words");
    if (status == MOBIEDIT_OK && words[0]) status = add_reworded(m, words, err);
    m->out->n_alike = m->out->n;
    if (status == MOBIEDIT_OK && words[0]) status = add_chat(m, words, err);
    me_free(words);
    return status;
}

/* Gives the sequence n_target read positions: cut, or padded with its last token, which nothing before it
 * sees. */
static mobiedit_status level(me_sequence *item, int n_target, mobiedit_error *err) {
    const int n = item->read_pos + n_target;
    if (n > item->n_tokens) {
        me_token *padded = me_calloc((size_t)n, sizeof *padded);
        if (!padded) return me_fail_memory(err, "a carrier");
        for (int i = 0; i < n; i++)
            padded[i] = item->tokens[i < item->n_tokens ? i : item->n_tokens - 1];
        me_free((void *)item->tokens);
        item->tokens = padded;
    }
    item->n_tokens = n;
    item->n_read = n_target;
    return MOBIEDIT_OK;
}

/* Lays the targets out as [n][n_target], n_target those of the bare prompt. */
static mobiedit_status level_targets(me_sequences *s, mobiedit_error *err) {
    const int n_target = s->items[0].n_read;
    s->targets = me_calloc((size_t)s->n * (size_t)n_target, sizeof *s->targets);
    if (!s->targets) return me_fail_memory(err, "the targets");
    s->n_target = n_target;
    for (int c = 0; c < s->n; c++) {
        me_sequence *item = &s->items[c];
        for (int t = 0; t < n_target; t++)
            s->targets[c * n_target + t] =
                t < item->n_read ? item->tokens[item->read_pos + 1 + t] : ME_NO_TARGET;
        ME_TRY(level(item, n_target, err));
    }
    return MOBIEDIT_OK;
}

/* The bare prompt counts as much as all others together: it is what the user asked for. */
static void weigh(me_sequences *carriers) {
    if (carriers->n > 1) carriers->weights[0] = (float)(carriers->n - 1);
}

mobiedit_status me_carriers_make(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                 const me_carrier_options *options, me_sequences *out, mobiedit_error *err) {
    carrier_maker m = {.vocab = vocab, .prompt = prompt, .core = core, .out = out};
    m.subject = me_strndup(prompt->text + prompt->subject_begin, prompt->subject_end - prompt->subject_begin);
    mobiedit_status status = m.subject ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
    if (status == MOBIEDIT_OK)
        status = add_carrier(&m, me_prompt_template(prompt, NULL), prompt->target, ME_KIND_OWN, err);
    if (status == MOBIEDIT_OK) status = add_prefixed(&m, options, err);
    out->n_own = out->n_alike = out->n;
    if (status == MOBIEDIT_OK && options->reworded) status = add_other_words(&m, err);
    me_free(m.subject);
    if (status == MOBIEDIT_OK) status = level_targets(out, err);
    if (status == MOBIEDIT_OK)
        weigh(out);
    else
        me_sequences_free(out);
    return status;
}
