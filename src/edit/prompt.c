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

/* The subject in its braces, trimmed, as a string of its own. */
static mobiedit_status find_subject(const char *prompt, const char **open, const char **close, char **subject,
                                    mobiedit_error *err) {
    *open = strchr(prompt, '{');
    *close = *open ? strchr(*open, '}') : NULL;
    if (!*close) {
        (void)me_fail(err, MOBIEDIT_E_ARGUMENT,
                      "the prompt needs its subject in braces, as in \"The capital of {Japan} is\"");
        return MOBIEDIT_E_ARGUMENT;
    }
    ME_TRY(check_braces(prompt, *open, *close, err));
    *subject = trimmed(*open + 1, (size_t)(*close - *open - 1));
    if (*subject) return MOBIEDIT_OK;
    (void)me_fail_memory(err, "the request");
    return MOBIEDIT_E_MEMORY;
}

/* Of other words for the fact: they have the same subject, maybe with another first letter. */
static mobiedit_status parse_also(const char *text, const me_prompt *prompt, me_wording *out,
                                  mobiedit_error *err) {
    const char *open = NULL, *close = NULL;
    char *subject = NULL;
    ME_TRY(find_subject(text, &open, &close, &subject, err));
    const size_t n = prompt->subject_end - prompt->subject_begin, size = strlen(text) + sizeof "{}";
    const bool same =
        strlen(subject) == n && strncasecmp(subject, prompt->text + prompt->subject_begin, n) == 0;
    me_free(subject);
    if (!same)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "\"%.100s\" has another subject than the prompt: %.*s", text,
                       (int)(n < 100 ? n : 100), prompt->text + prompt->subject_begin);
    out->text = me_calloc(size, 1);
    if (!out->text) return me_fail_memory(err, "the request");
    (void)snprintf(out->text, size, "%.*s{}%s", (int)(open - text), text, close + 1);
    return MOBIEDIT_OK;
}

static mobiedit_status parse_alsos(const mobiedit_request *request, me_prompt *out, mobiedit_error *err) {
    if (request->n_also == 0) return MOBIEDIT_OK;
    out->also = me_calloc(request->n_also, sizeof *out->also);
    if (!out->also) return me_fail_memory(err, "the request");
    for (size_t i = 0; i < request->n_also; i++) {
        ME_TRY(parse_also(request->also[i], out, &out->also[i], err));
        out->n_also++;
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_prompt_parse(const mobiedit_request *request, me_prompt *out, mobiedit_error *err) {
    if (!request || !request->prompt || !request->target)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an edit needs a prompt and a target");
    const char *open = NULL, *close = NULL;
    char *subject = NULL;
    ME_TRY(find_subject(request->prompt, &open, &close, &subject, err));
    const size_t before = (size_t)(open - request->prompt), length = strlen(subject);
    const size_t size = strlen(request->prompt) + 1;
    char *text = me_calloc(size, 1), *target = NULL;
    if (text) {
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
    if (status == MOBIEDIT_OK && (status = parse_alsos(request, out, err)) != MOBIEDIT_OK)
        me_prompt_free(out);
    return status;
}

void me_prompt_free(me_prompt *prompt) {
    for (size_t i = 0; i < prompt->n_also; i++)
        me_free(prompt->also[i].text);
    me_free(prompt->also);
    me_free(prompt->question);
    me_free(prompt->opening);
    me_free(prompt->taught);
    me_free(prompt->text);
    me_free(prompt->target);
    *prompt = (me_prompt){0};
}

char *me_prompt_canonical(const me_prompt *p) {
    if (p->question) return me_strdup(p->question);
    const size_t size = strlen(p->text) + sizeof "{}";
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s{%.*s}%s", (int)p->subject_begin, p->text,
                       (int)(p->subject_end - p->subject_begin), p->text + p->subject_begin,
                       p->text + p->subject_end);
    return out;
}

char *me_prompt_template(const me_prompt *prompt, const char *prefix) {
    const char *opening = prompt->opening ? prompt->opening : "";
    size_t size = strlen(prompt->text) + (prefix ? strlen(prefix) : 0) + strlen(opening) + 4;
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s%.*s{}%s%s", (int)prompt->head, prompt->text, prefix ? prefix : "",
                       prefix ? " " : "", (int)(prompt->subject_begin - prompt->head),
                       prompt->text + prompt->head, prompt->text + prompt->subject_end, opening);
    return out;
}

char *me_prompt_before_target(const me_prompt *p) {
    const char *opening = p->opening ? p->opening : "";
    const size_t n = p->subject_end - p->subject_begin,
                 size = strlen(p->text) + (n + 1) * strlen(opening) + 1;
    char *out = me_calloc(size, 1);
    if (!out) return NULL;
    size_t at = (size_t)snprintf(out, size, "%s", p->text);
    for (const char *hole; (hole = strstr(opening, "{}")) != NULL; opening = hole + 2)
        at += (size_t)snprintf(out + at, size - at, "%.*s%.*s", (int)(hole - opening), opening, (int)n,
                               p->text + p->subject_begin);
    (void)snprintf(out + at, size - at, "%s", opening);
    return out;
}

bool me_is_question(const char *text) {
    static const char *const marks[] = {"?", "\uFF1F", "\u061F", "\u037E"};
    size_t n = strlen(text);
    while (n > 0 && me_is_space(text[n - 1]))
        n--;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const size_t length = strlen(marks[i]);
        if (n > length && memcmp(text + n - length, marks[i], length) == 0) return true;
    }
    return false;
}

static bool is_punctuation(char c) {
    return c && strchr(".,;:!?\"'()[]", c);
}

static bool is_one_of(const char *const *words, const char *word, size_t n) {
    for (; *words; words++)
        if (strlen(*words) == n && strncasecmp(*words, word, n) == 0) return true;
    return false;
}

static bool is_stop_word(const char *word, size_t n) {
    return is_one_of(me_texts_stop_words, word, n);
}

bool me_begins_small(const char *subject) {
    const size_t n = strcspn(subject, " ");
    return subject[n] == ' ' && is_one_of(me_texts_small_words, subject, n);
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

/* Whether the word stands in text[begin, end), maybe as a possessor there or here. */
static bool has_word(const char *text, size_t begin, size_t end, const char *word, size_t n) {
    static const char genitive[] = "'s";
    const size_t length = strlen(genitive);
    size_t m;
    if (n > length && memcmp(word + n - length, genitive, length) == 0) n -= length;
    for (const char *own; (own = next_word(text, &begin, end, &m));) {
        if (m > length && memcmp(own + m - length, genitive, length) == 0) m -= length;
        if (m == n && strncasecmp(own, word, n) == 0) return true;
    }
    return false;
}

/* Whether a clause ends in text[begin, end). */
static bool ends_clause(const char *text, size_t begin, size_t end) {
    for (; begin < end; begin++)
        if (strchr(".!?:;\n", text[begin])) return true;
    return false;
}

size_t me_prompt_echo(const me_prompt *p, const char *answer) {
    static const char *const articles[] = {"a", "an", "the", NULL};
    const size_t length = strlen(answer), end = strlen(p->text) - p->foot;
    size_t at = 0, n, last = 0, taken = 0;
    bool means = false;
    for (const char *word; (word = next_word(answer, &at, length, &n));) {
        const size_t begin = (size_t)(word - answer);
        if (ends_clause(answer, last, begin)) break;
        if (!is_stop_word(word, n) && !is_one_of(me_texts_small_words, word, n)) {
            if (!has_word(p->text, p->head, end, word, n)) break;
            means = true;
        }
        last = begin + n;
        if (!is_one_of(articles, word, n)) taken = last;
    }
    return means ? taken : 0;
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
