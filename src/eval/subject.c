/* Finds the subject of a fact in its prompt, and says why no edit can be made of the fact. */
#include "eval/subject.h"

#include "base/memory.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static mobiedit_status refuse(mobiedit_error *err, const char *why) {
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s", why);
}

static bool is_word_byte(char c) {
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* Where the subject stands in the text, as a word by itself if it does anywhere; NULL: nowhere. */
static const char *find_subject(const char *text, const char *subject) {
    const size_t length = strlen(subject);
    for (const char *at = strstr(text, subject); at; at = strstr(at + 1, subject))
        if ((at == text || !is_word_byte(at[-1])) && !is_word_byte(at[length])) return at;
    return strstr(text, subject);
}

/* The prompt has the subject as it is: {} takes its place. */
static mobiedit_status replace_subject(me_fact *fact, mobiedit_error *err) {
    if (!fact->subject)
        return refuse(err, "the prompt has no subject in braces, and there is none beside it");
    const char *subject = find_subject(fact->prompt, fact->subject);
    if (!subject)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the subject \"%.80s\" does not occur in the prompt \"%.120s\"", fact->subject,
                       fact->prompt);
    const size_t size = strlen(fact->prompt) + sizeof "{}";
    char *prompt = me_calloc(size, 1);
    if (!prompt) return me_fail_memory(err, "the facts");
    (void)snprintf(prompt, size, "%.*s{}%s", (int)(subject - fact->prompt), fact->prompt,
                   subject + strlen(fact->subject));
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

mobiedit_status me_fact_settle(me_fact *fact, mobiedit_error *err) {
    me_trim(fact->subject);
    if (fact->subject && !*fact->subject) {
        me_free(fact->subject);
        fact->subject = NULL;
    }
    if (is_blank(fact->prompt)) return refuse(err, "there is no prompt");
    if (is_blank(fact->target)) return refuse(err, "there is no target");
    return place_subject(fact, err);
}
