/* Finds the subject of a fact in its prompt, and says why no edit can be made of the fact. */
#include "eval/subject.h"

#include "base/memory.h"
#include "base/words.h"

#include <stdio.h>
#include <string.h>

static mobiedit_status refuse(mobiedit_error *err, const char *why) {
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s", why);
}

/* Where the subject stands in the prompt, as a word by itself if it does anywhere. Which of two places is
 * meant cannot be told, and an edit changes one only. */
static mobiedit_status find_subject(const char *prompt, const char *subject, size_t *begin,
                                    mobiedit_error *err) {
    size_t end, second, unused;
    bool again = false;
    if (me_find_same_words(prompt, 0, subject, begin, &end)) {
        again = me_find_same_words(prompt, end, subject, &second, &unused);
    } else {
        const char *at = strstr(prompt, subject);
        if (!at)
            return me_fail(err, MOBIEDIT_E_ARGUMENT,
                           "the subject \"%.80s\" does not occur in the prompt \"%.120s\"", subject, prompt);
        *begin = (size_t)(at - prompt);
        again = strstr(at + strlen(subject), subject) != NULL;
    }
    if (again)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the subject \"%.80s\" occurs in the prompt \"%.120s\" twice: name it once", subject,
                       prompt);
    return MOBIEDIT_OK;
}

/* The prompt has the subject as it is: {} takes its place. */
static mobiedit_status replace_subject(me_fact *fact, mobiedit_error *err) {
    size_t begin;
    if (!fact->subject)
        return refuse(err, "the prompt has no subject in braces, and there is none beside it");
    ME_TRY(find_subject(fact->prompt, fact->subject, &begin, err));
    const size_t size = strlen(fact->prompt) + sizeof "{}";
    char *prompt = me_calloc(size, 1);
    if (!prompt) return me_fail_memory(err, "the facts");
    (void)snprintf(prompt, size, "%.*s{}%s", (int)begin, fact->prompt,
                   fact->prompt + begin + strlen(fact->subject));
    me_free(fact->prompt);
    fact->prompt = prompt;
    return MOBIEDIT_OK;
}

/* "The capital of {Japan} is" becomes "The capital of {} is" and "Japan". */
static mobiedit_status empty_braces(me_fact *fact, char *open, const char *close, mobiedit_error *err) {
    char *subject = me_strndup(open + 1, (size_t)(close - open - 1));
    if (!subject) return me_fail_memory(err, "the facts");
    me_trim(subject);
    mobiedit_status status = MOBIEDIT_OK;
    if (!*subject && !fact->subject)
        status = refuse(err, "there is no subject for the braces");
    else if (*subject && fact->subject && strcmp(subject, fact->subject) != 0)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT,
                         "there are two subjects: \"%.80s\" in braces and \"%.80s\"", subject, fact->subject);
    if (status == MOBIEDIT_OK) memmove(open + 1, close, strlen(close) + 1);
    if (status == MOBIEDIT_OK && !fact->subject)
        fact->subject = subject;
    else
        me_free(subject);
    return status;
}

static mobiedit_status place_subject(me_fact *fact, mobiedit_error *err) {
    char *open = strchr(fact->prompt, '{'), *close = strchr(fact->prompt, '}');
    if (!open && !close) return replace_subject(fact, err);
    if (!open || !close || close < open || strchr(open + 1, '{') || strchr(close + 1, '}'))
        return refuse(err, "the prompt must have one pair of braces, {} or {subject}, or none");
    return empty_braces(fact, open, close, err);
}

static bool is_blank(const char *text) {
    while (text && me_is_space(*text))
        text++;
    return !text || !*text;
}

/* Other words for the fact get the subject's braces: in the place of {}, or around the subject. */
static mobiedit_status brace_also(const me_fact *fact, char **text, mobiedit_error *err) {
    const char *hole = strstr(*text, "{}");
    size_t begin, end;
    if (hole) {
        begin = (size_t)(hole - *text);
        end = begin + strlen("{}");
    } else if (strchr(*text, '{')) {
        return MOBIEDIT_OK;
    } else {
        ME_TRY(find_subject(*text, fact->subject, &begin, err));
        end = begin + strlen(fact->subject);
    }
    const size_t size = strlen(*text) + strlen(fact->subject) + sizeof "{}";
    char *braced = me_calloc(size, 1);
    if (!braced) return me_fail_memory(err, "the facts");
    (void)snprintf(braced, size, "%.*s{%s}%s", (int)begin, *text, fact->subject, *text + end);
    me_free(*text);
    *text = braced;
    return MOBIEDIT_OK;
}

mobiedit_status me_fact_settle(me_fact *fact, mobiedit_error *err) {
    me_trim(fact->subject);
    if (fact->subject && !*fact->subject) {
        me_free(fact->subject);
        fact->subject = NULL;
    }
    if (is_blank(fact->prompt)) return refuse(err, "there is no prompt");
    if (is_blank(fact->target)) return refuse(err, "there is no target");
    ME_TRY(place_subject(fact, err));
    for (size_t i = 0; fact->subject && i < fact->also.n; i++)
        ME_TRY(brace_also(fact, &fact->also.items[i], err));
    return MOBIEDIT_OK;
}
