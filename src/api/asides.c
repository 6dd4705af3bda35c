/* Asks what an edit does beside its own prompt: in a chat, and to other things about its subject. */
#include "api/asides.h"

#include "base/memory.h"
#include "edit/carriers.h"
#include "runtime/says.h"

#include <string.h>

/* Tokens of an answer in a chat, of a first sentence, and of what is said about something else. */
enum { CHAT_TOKENS = 24, SENTENCE_TOKENS = 32, OTHER_TOKENS = 5 };

/* Beginnings of what can be said about anything; the first that share no word with an edit's prompt are asked. An
 * edit is taught with none of them. */
static const char *const OTHERS[] = {"Most people think of {} as", "{} is best known for",
                                     "The story of {} begins in", "Yesterday I heard that {} had"};

/* ---- the target in an answer ------------------------------------------------------------------------- */

/* Whether the target is in the answer, as words of its own. */
static bool names(const char *answer, const char *target, size_t *end) {
    size_t begin;
    while (me_is_space(*target))
        target++;
    return me_find_words(answer, 0, target, &begin, end);
}

static mobiedit_status said_in_answer(me_runtime *runtime, const me_prompt *p, me_said *said,
                                      mobiedit_error *err) {
    const me_generate_options options = {.max_tokens = SENTENCE_TOKENS,
                                         .stop_at_newline = true,
                                         .stop_at_sentence = true,
                                         .least_bytes = strlen(p->target)};
    me_tokens tokens = {0};
    char *answer = NULL;
    size_t end;
    ME_TRY(me_tokenize(me_runtime_vocab(runtime), p->text, &tokens, err));
    const mobiedit_status status = me_runtime_generate(runtime, tokens.ids, tokens.n, &options, &answer, err);
    me_tokens_free(&tokens);
    ME_TRY(status);
    *said = names(answer, p->target, &end) ? ME_SAID_WHOLE
            : strstr(answer, p->target)    ? ME_SAID_LONGER
                                           : ME_SAID_OTHER;
    me_free(answer);
    return MOBIEDIT_OK;
}

mobiedit_status me_prompt_said(me_runtime *runtime, const me_prompt *p, me_said *said, mobiedit_error *err) {
    return p->question ? said_in_answer(runtime, p, said, err)
                       : me_runtime_says(runtime, p->text, p->target, said, err);
}

/* ---- in a chat --------------------------------------------------------------------------------------- */

/* Whether the prompt is a message of a chat already. */
static mobiedit_status is_chat(const me_vocab *vocab, const me_prompt *p, bool *out, mobiedit_error *err) {
    me_tokens tokens = {0};
    size_t begin, end;
    ME_TRY(me_tokenize(vocab, p->text, &tokens, err));
    me_message_at(vocab, &tokens, p->text, p->subject_begin, p->subject_end, &begin, &end);
    me_tokens_free(&tokens);
    *out = begin > 0 || end < strlen(p->text);
    return MOBIEDIT_OK;
}

/* The prompt as a user's message: "Complete the sentence: I am allergic to". A question cannot be made of any
 * prompt in any language. The prompt alone is no request: some models answer it ("I am sorry to hear that"),
 * where asked to complete it SmolLM2 and Qwen2.5 give a whole sentence, in which the prompt's own words, a
 * name or "I" of the user's mean what they mean there. *none: the model has no template that takes it. */
static mobiedit_status chat_tokens(me_runtime *runtime, const me_prompt *p, me_tokens *out, bool *none,
                                   mobiedit_error *err) {
    mobiedit_error why = {0};
    ME_TRY(is_chat(me_runtime_vocab(runtime), p, none, err));
    if (*none) return MOBIEDIT_OK;
    char *text = me_strjoin("Complete the sentence: ", p->text);
    if (!text) return me_fail_memory(err, "a question");
    const me_chat_message message = {.role = "user", .content = text};
    const mobiedit_status status = me_runtime_chat_tokens(runtime, &message, 1, out, &why);
    me_free(text);
    *none = status == MOBIEDIT_E_UNSUPPORTED || out->n + CHAT_TOKENS > ME_RUNTIME_CONTEXT;
    return status == MOBIEDIT_OK || *none ? MOBIEDIT_OK : me_fail(err, status, "%s", why.message);
}

/* The target, and what shows that it is whole. */
static bool is_named(void *user, const char *text) {
    const me_prompt *p = user;
    size_t end;
    return names(text, p->target, &end) && text[end];
}

mobiedit_status me_prompt_said_in_chat(me_runtime *runtime, const me_prompt *p, int *said,
                                       mobiedit_error *err) {
    me_tokens tokens = {0};
    char *answer = NULL;
    bool none = false;
    size_t end;
    *said = -1;
    mobiedit_status status = chat_tokens(runtime, p, &tokens, &none, err);
    if (status == MOBIEDIT_OK && !none) {
        const me_opening opening = {.tokens = tokens.ids,
                                    .n = tokens.n,
                                    .max_tokens = CHAT_TOKENS,
                                    .enough = is_named,
                                    .user = (void *)p};
        status = me_runtime_batch_continue(runtime, &opening, 1, &answer, err);
        if (status == MOBIEDIT_OK) *said = names(answer, p->target, &end);
    }
    me_free(answer);
    me_tokens_free(&tokens);
    return status;
}

/* ---- other things about the subject ------------------------------------------------------------------ */

/* Room for ME_ASIDES_OTHERS. */
static mobiedit_status list_others(const me_prompt *p, mobiedit_asides *out, mobiedit_error *err) {
    char *subject = me_strndup(p->text + p->subject_begin, p->subject_end - p->subject_begin);
    out->others = me_calloc(ME_ASIDES_OTHERS, sizeof *out->others);
    mobiedit_status status =
        subject && out->others ? MOBIEDIT_OK : me_fail_memory(err, "other things about the subject");
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS && out->n_others < ME_ASIDES_OTHERS; i++) {
        char *text = NULL;
        if (status != MOBIEDIT_OK || me_prompt_shares_word(p, OTHERS[i])) continue;
        status = me_context_text(OTHERS[i], subject, &text, err);
        if (status == MOBIEDIT_OK) out->others[out->n_others++].prompt = text;
    }
    me_free(subject);
    return status;
}

static void compare(const me_aside *aside, size_t i, me_token first) {
    mobiedit_other *other = &aside->out->others[i];
    size_t end;
    other->unchanged = aside->first[i] == first && (!names(other->after, aside->prompt->target, &end) ||
                                                    names(other->before, aside->prompt->target, &end));
}

/* One prompt, as the runtime is attached. A text that is there already gives way. */
static mobiedit_status ask_other(me_runtime *runtime, me_aside *aside, size_t i, bool edited,
                                 mobiedit_error *err) {
    mobiedit_other *other = &aside->out->others[i];
    const char **place = edited ? &other->after : &other->before;
    me_tokens tokens = {0}, said = {0};
    char *text = NULL;
    ME_TRY(me_tokenize(me_runtime_vocab(runtime), other->prompt, &tokens, err));
    const me_opening opening = {.tokens = tokens.ids,
                                .n = tokens.n,
                                .max_tokens = OTHER_TOKENS,
                                .stop_at_newline = true,
                                .said = &said};
    const mobiedit_status status = me_runtime_batch_continue(runtime, &opening, 1, &text, err);
    const me_token first = said.n ? said.ids[0] : -1;
    me_tokens_free(&tokens);
    me_tokens_free(&said);
    ME_TRY(status);
    me_free((void *)*place);
    *place = text;
    if (aside->is_asked)
        compare(aside, i, first);
    else
        aside->first[i] = first;
    return MOBIEDIT_OK;
}

static mobiedit_status ask(me_runtime *runtime, me_aside *aside, bool edited, mobiedit_error *err) {
    mobiedit_asides *out = aside->out;
    if (!out->others) ME_TRY(list_others(aside->prompt, out, err));
    if (edited && aside->prompt->question)
        out->chat = aside->holds;
    else if (edited)
        ME_TRY(me_prompt_said_in_chat(runtime, aside->prompt, &out->chat, err));
    for (size_t i = 0; i < out->n_others && i < ME_ASIDES_OTHERS; i++)
        ME_TRY(ask_other(runtime, aside, i, edited, err));
    aside->is_asked = true;
    return MOBIEDIT_OK;
}

mobiedit_status me_asides_ask(me_runtime *runtime, me_aside *asides, int n, bool edited,
                              mobiedit_error *err) {
    for (int i = 0; i < n; i++)
        ME_TRY(ask(runtime, &asides[i], edited, err));
    return MOBIEDIT_OK;
}

/* ---- memory ------------------------------------------------------------------------------------------ */

mobiedit_status me_asides_copy(const mobiedit_asides *from, mobiedit_asides *out, mobiedit_error *err) {
    mobiedit_asides copy = {.chat = from->chat};
    bool ok = true;
    if (from->n_others) copy.others = me_calloc(from->n_others, sizeof *copy.others);
    for (size_t i = 0; i < from->n_others && copy.others && ok; i++) {
        const mobiedit_other *other = &from->others[i];
        copy.others[copy.n_others++] = (mobiedit_other){.prompt = me_strdup(other->prompt),
                                                        .before = me_strdup(other->before),
                                                        .after = me_strdup(other->after),
                                                        .unchanged = other->unchanged};
        const mobiedit_other *made = &copy.others[i];
        ok = made->prompt && made->before && made->after;
    }
    if (ok && (copy.others || !from->n_others)) {
        *out = copy;
        return MOBIEDIT_OK;
    }
    me_asides_free(&copy);
    return me_fail_memory(err, "other things about the subject");
}

void me_asides_free(mobiedit_asides *asides) {
    for (size_t i = 0; i < asides->n_others; i++) {
        me_free((void *)asides->others[i].prompt);
        me_free((void *)asides->others[i].before);
        me_free((void *)asides->others[i].after);
    }
    me_free(asides->others);
    *asides = (mobiedit_asides){.chat = -1};
}
