/* Keys of other subjects in an edit's prompt, for which its neuron must stay silent. */
#include "edit/session.h"

#include "base/memory.h"
#include "edit/texts.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NEAR_NAME = 256 };

bool me_names_overlap(const char *subject, const char *name) {
    return strstr(subject, name) || strstr(name, subject);
}

/* The prompt up to where it is edited: its subject's last token, or its own; "{}" for the subject. Freed with
 * me_free; NULL: out of memory. */
static char *names_context(const me_prompt *prompt) {
    if (prompt->at_answer) return me_prompt_template(prompt, NULL);
    const size_t size = prompt->subject_end + sizeof "{}";
    char *context = me_calloc(size, 1);
    if (context)
        (void)snprintf(context, size, "%.*s{}%.*s", (int)prompt->subject_begin, prompt->text,
                       (int)prompt->tail, prompt->text + prompt->subject_end - prompt->tail);
    return context;
}

static mobiedit_status add_name(const me_session *s, const char *context, const me_prompt *prompt,
                                const char *name, me_sequences *out, mobiedit_error *err) {
    const me_context named = {.context = context,
                              .subject = name,
                              .core = strlen(name) + prompt->tail,
                              .at_answer = prompt->at_answer};
    return me_sequences_add(out, s->vocab, &named, err);
}

static mobiedit_status add_names(const me_session *s, const char *context, const me_prompt *prompt,
                                 const me_name_choice *choice, me_sequences *out, mobiedit_error *err) {
    for (int i = 0; me_texts_names[i]; i++)
        if (i % choice->step == choice->first && !choice->skips(choice->user, me_texts_names[i]))
            ME_TRY(add_name(s, context, prompt, me_texts_names[i], out, err));
    return MOBIEDIT_OK;
}

/* The subject with other first words. */
static mobiedit_status add_other_first_words(const me_session *s, const char *context,
                                             const me_prompt *prompt, const me_name_choice *choice,
                                             me_sequences *out, mobiedit_error *err) {
    char name[MAX_NEAR_NAME];
    const char *subject = prompt->text + prompt->subject_begin;
    const size_t length = prompt->subject_end - prompt->subject_begin - prompt->tail;
    const char *rest = memchr(subject, ' ', length);
    if (!rest || length >= sizeof name / 2) return MOBIEDIT_OK;
    const size_t n_first = (size_t)(rest - subject);
    for (int i = 0; me_texts_first_words[i]; i++) {
        const char *first = me_texts_first_words[i];
        if (i % choice->step != choice->first) continue;
        if (strlen(first) == n_first && memcmp(first, subject, n_first) == 0) continue;
        (void)snprintf(name, sizeof name, "%s%.*s", first, (int)(length - n_first), rest);
        if (!choice->skips || !choice->skips(choice->user, name))
            ME_TRY(add_name(s, context, prompt, name, out, err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status add_near_names(const me_session *s, const char *context, const me_prompt *prompt,
                                      const me_name_choice *choice, me_sequences *out, mobiedit_error *err) {
    ME_TRY(add_other_first_words(s, context, prompt, choice, out, err));
    for (int i = 0; me_texts_unknown_names[i] && prompt->at_answer; i++)
        if (i % choice->step == choice->first)
            ME_TRY(add_name(s, context, prompt, me_texts_unknown_names[i], out, err));
    return MOBIEDIT_OK;
}

typedef mobiedit_status adder(const me_session *s, const char *context, const me_prompt *prompt,
                              const me_name_choice *choice, me_sequences *out, mobiedit_error *err);

static mobiedit_status name_keys(me_session *s, int layer, const me_prompt *prompt,
                                 const me_name_choice *choice, adder *add, me_key_set *out,
                                 mobiedit_error *err) {
    char *context = names_context(prompt);
    if (!context) return me_fail_memory(err, "the prompt");
    me_sequences sequences = {0};
    mobiedit_status status = add(s, context, prompt, choice, &sequences, err);
    me_free(context);
    if (status == MOBIEDIT_OK && sequences.n) status = me_session_known_keys(s, layer, &sequences, out, err);
    me_sequences_free(&sequences);
    return status;
}

mobiedit_status me_session_names(me_session *s, int layer, const me_prompt *prompt,
                                 const me_name_choice *choice, me_key_set *out, mobiedit_error *err) {
    return name_keys(s, layer, prompt, choice, add_names, out, err);
}

mobiedit_status me_session_near_names(me_session *s, int layer, const me_prompt *prompt,
                                      const me_name_choice *choice, me_key_set *out, mobiedit_error *err) {
    return name_keys(s, layer, prompt, choice, add_near_names, out, err);
}
