/* The request's prompt: cut at its braces, settled on tokens, and put together again. */
#include "edit/prompt.h"

#include "base/memory.h"
#include "base/words.h"
#include "edit/texts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- the request's text ------------------------------------------------------------------------------ */

/* The target as the user wrote it, but for white space at its end, and for a space at its beginning that
 * would be there anyway: with and without it, it is the same target. Empty where it is nothing but white
 * space. */
static char *target_of(const char *target, const char *prompt) {
    if (*target == ' ' && !me_is_space(target[1]) && me_ends_in_word(prompt) &&
        me_space_between(prompt, target + 1))
        target++;
    size_t n = strlen(target);
    while (n > 0 && me_is_space(target[n - 1]))
        n--;
    return me_strndup(target, n);
}

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
    size_t before = (size_t)(open - request->prompt), length = subject ? strlen(subject) : 0;
    const size_t size = strlen(request->prompt) + 1;
    char *text = me_calloc(size, 1), *target = NULL;
    if (subject && text) {
        (void)snprintf(text, size, "%.*s%s%s", (int)before, request->prompt, subject, close + 1);
        target = target_of(request->target, text);
    }
    mobiedit_status status = MOBIEDIT_OK;
    if (!target)
        status = me_fail_memory(err, "the request");
    else if (length == 0)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "the subject in braces is empty");
    else if (target[0] == 0)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "the target is empty");
    if (status != MOBIEDIT_OK) {
        me_free(target);
        me_free(text);
    } else {
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

char *me_prompt_canonical(const me_prompt *p) {
    const size_t size = strlen(p->text) + sizeof "{}";
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s{%.*s}%s", (int)p->subject_begin, p->text,
                       (int)(p->subject_end - p->subject_begin), p->text + p->subject_begin,
                       p->text + p->subject_end);
    return out;
}

char *me_prompt_template(const me_prompt *prompt, const char *prefix) {
    size_t size = strlen(prompt->text) + (prefix ? strlen(prefix) : 0) + 4;
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s%.*s{}%s", (int)prompt->head, prompt->text, prefix ? prefix : "",
                       prefix ? " " : "", (int)(prompt->subject_begin - prompt->head),
                       prompt->text + prompt->head, prompt->text + prompt->subject_end);
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
    size_t at = put_words(words, 0, prompt->text, prompt->head, prompt->subject_begin);
    put_words(words, at, prompt->text, prompt->subject_end, length - prompt->foot);
    return words;
}

/* Whether a word of meaning of text[begin, end) stands in `other`. */
static bool shares_word(const char *text, size_t begin, size_t end, const char *other) {
    const size_t length = strlen(other);
    size_t n, m;
    for (const char *word; (word = next_word(text, &begin, end, &n));) {
        if (is_stop_word(word, n)) continue;
        size_t at = 0;
        for (const char *theirs; (theirs = next_word(other, &at, length, &m));)
            if (n == m && strncasecmp(word, theirs, n) == 0) return true;
    }
    return false;
}

bool me_prompt_shares_word(const me_prompt *p, const char *text) {
    return shares_word(p->text, p->head, p->subject_begin, text) ||
           shares_word(p->text, p->subject_end, strlen(p->text) - p->foot, text);
}

/* ---- where the subject's tokens end ------------------------------------------------------------------ */

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
    size_t begin;
    me_message_at(vocab, &tokens, text, out->subject_begin, out->subject_end, &begin, &end);
    out->head = begin;
    out->foot = strlen(text) - end;
    me_tokens_free(&tokens);
    return MOBIEDIT_OK;
}
