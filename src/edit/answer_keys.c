/* Collects keys that an edit at the answer must not fire at. */
#include "edit/answer_keys.h"

#include "base/memory.h"
#include "edit/key.h"
#include "edit/texts.h"

#include <string.h>

/* Bytes of the subject up to its edited token, and itself. */
typedef struct {
    char *text; /* freed with me_free */
    size_t core;
} subject;

static mobiedit_status read_subject(const me_session *s, const me_prompt *prompt, subject *out,
                                    mobiedit_error *err) {
    ME_TRY(me_subject_core(s->vocab, prompt, &out->core, err));
    out->text = me_strndup(prompt->text + prompt->subject_begin, prompt->subject_end - prompt->subject_begin);
    return out->text ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
}

/* Appends the keys of the sequences to `out`. They are read in one call, so that what they begin with is run
 * once. */
static mobiedit_status append_keys(me_session *s, int layer, const me_sequences *sequences, me_key_set *out,
                                   mobiedit_error *err) {
    me_key_set more;
    if (sequences->n == 0) return MOBIEDIT_OK;
    ME_TRY(me_session_known_keys(s, layer, sequences, &more, err));
    const size_t d = (size_t)s->engine->model->d_model;
    float *keys = me_calloc((size_t)(out->n + more.n) * d, sizeof *keys);
    if (keys) {
        if (out->n) memcpy(keys, out->keys, (size_t)out->n * d * sizeof *keys);
        memcpy(keys + (size_t)out->n * d, more.keys, (size_t)more.n * d * sizeof *keys);
        me_free(out->keys);
        *out = (me_key_set){.keys = keys, .n = out->n + more.n};
    }
    me_free(more.keys);
    return keys ? MOBIEDIT_OK : me_fail_memory(err, "keys");
}

/* ---- texts that the model goes on with ---------------------------------------------------------------- */

/* They are read from edit_pos on. */
static void read_on(me_sequences *texts) {
    for (int i = 0; i < texts->n; i++) {
        me_sequence *item = &texts->items[i];
        item->read_pos = item->edit_pos;
        item->n_read = item->n_tokens - item->edit_pos;
    }
}

/* ---- what else is said of the subject ---------------------------------------------------------------- */

static mobiedit_status add_other(const me_session *s, const subject *about, const char *text,
                                 me_sequences *out, mobiedit_error *err) {
    const me_context context = {
        .context = text, .subject = about->text, .core = about->core, .in_sentence = true};
    return me_sequences_add(out, s->vocab, &context, err);
}

static bool is_chosen(const me_text_choice *choice, int i) {
    return i % choice->step == choice->first;
}

static mobiedit_status add_other_prompts(const me_session *s, const me_prompt *prompt, const subject *about,
                                         const me_text_choice *choice, me_sequences *out,
                                         mobiedit_error *err) {
    for (int i = 0; me_texts_kept[i]; i++)
        if (is_chosen(choice, i) && !me_prompt_shares_word(prompt, me_texts_kept[i]))
            ME_TRY(add_other(s, about, me_texts_kept[i], out, err));
    return MOBIEDIT_OK;
}

static mobiedit_status add_other_questions(const me_session *s, const me_prompt *prompt, const subject *about,
                                           const me_text_choice *choice, me_sequences *out,
                                           mobiedit_error *err) {
    const int n_prompts = (int)me_texts_count(me_texts_kept);
    for (int i = 0; me_texts_kept_chats[i].user && !prompt->head; i++) {
        if (!is_chosen(choice, n_prompts + i)) continue;
        if (me_prompt_shares_word(prompt, me_texts_kept_chats[i].user)) continue;
        char *text = NULL;
        mobiedit_status status = me_prompt_chat_text(s->vocab, prompt, &me_texts_kept_chats[i], &text, err);
        if (status == MOBIEDIT_E_UNSUPPORTED) break;
        if (status == MOBIEDIT_OK) status = add_other(s, about, text, out, err);
        me_free(text);
        ME_TRY(status);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status list_others(const me_session *s, const me_prompt *prompt, const me_text_choice *choice,
                                   me_sequences *out, mobiedit_error *err) {
    subject about = {0};
    mobiedit_status status = read_subject(s, prompt, &about, err);
    if (status == MOBIEDIT_OK) status = add_other_prompts(s, prompt, &about, choice, out, err);
    if (status == MOBIEDIT_OK) status = add_other_questions(s, prompt, &about, choice, out, err);
    read_on(out);
    me_free(about.text);
    return status;
}

/* ---- other names ------------------------------------------------------------------------------------- */

enum {
    ANSWERED = 0,
    MOST_ANSWERED = 8,
    NAME_CHATS = 4,
    NAME_WORDINGS = 3,
    NAME_TEXTS = NAME_CHATS + NAME_WORDINGS
};

/* The i-th text that names are asked about in, with "{}" for them; NULL: the model or the prompt has none.
 * Freed with me_free. */
static mobiedit_status names_text(const me_session *s, const me_prompt *prompt, int i, char **out,
                                  mobiedit_error *err) {
    const me_texts_chat *const chats[NAME_CHATS] = {&me_texts_openings[0], &me_texts_openings[1],
                                                    &me_texts_chats[0], &me_texts_openings[7]};
    static const int wordings[NAME_WORDINGS] = {0, 3, 5};
    *out = NULL;
    if (i >= NAME_CHATS)
        return me_prompt_asking(prompt, me_texts_askings[wordings[i - NAME_CHATS]], out, err);
    if (prompt->head) return MOBIEDIT_OK;
    const mobiedit_status status = me_prompt_chat_text(s->vocab, prompt, chats[i], out, err);
    return status == MOBIEDIT_E_UNSUPPORTED ? MOBIEDIT_OK : status;
}

/* Adds the chosen names of a list to the text; each stands in one of the texts. skips may be NULL. */
static mobiedit_status add_names(const me_session *s, const char *text, int which, const char *const *names,
                                 const me_name_choice *choice, me_sequences *out, mobiedit_error *err) {
    for (int i = choice->first, n = 0; i < (int)me_texts_count(names); i += choice->step, n++) {
        if (n % NAME_TEXTS != which || (choice->skips && choice->skips(choice->user, names[i]))) continue;
        const me_context context = {
            .context = text, .subject = names[i], .in_sentence = true, .at_answer = true};
        ME_TRY(me_sequences_add(out, s->vocab, &context, err));
    }
    return MOBIEDIT_OK;
}

/* Names that no model knows, and well-known ones. */
static mobiedit_status ask_about_names(const me_session *s, const char *text, int which,
                                       const me_name_choice *choice, me_sequences *out, mobiedit_error *err) {
    const me_name_choice unknown = {.step = 1 + (choice->step - 1) / ME_KEY_ASKED_STEP};
    ME_TRY(add_names(s, text, which, me_texts_unknown_names, &unknown, out, err));
    return add_names(s, text, which, me_texts_names, choice, out, err);
}

/* Lists the names that are asked about, text by text where the model and the prompt have it. answered: the first
 * few in the first text, which the model is to answer; borrowed. */
static mobiedit_status list_names(const me_session *s, const me_prompt *prompt, const me_name_choice *choice,
                                  me_sequences *out, me_sequences *answered, mobiedit_error *err) {
    int n_answered = 0;
    for (int i = 0; i < NAME_TEXTS; i++) {
        char *text = NULL;
        mobiedit_status status = names_text(s, prompt, i, &text, err);
        if (status == MOBIEDIT_OK && text) status = ask_about_names(s, text, i, choice, out, err);
        me_free(text);
        ME_TRY(status);
        if (i == ANSWERED) n_answered = out->n < MOST_ANSWERED ? out->n : MOST_ANSWERED;
    }
    *answered = (me_sequences){.items = out->items, .n = n_answered};
    read_on(answered);
    return MOBIEDIT_OK;
}

/* ---- the target -------------------------------------------------------------------------------------- */

/* The carrier with all that stands behind its prompt, which is to be read. */
static mobiedit_status add_told(const me_sequence *carrier, me_sequences *out, mobiedit_error *err) {
    me_tokens all = {0};
    mobiedit_status status = MOBIEDIT_OK;
    /* The last token stands behind the sequence's end. */
    for (int t = 0; t <= carrier->n_tokens && status == MOBIEDIT_OK; t++)
        status = me_tokens_add(&all, carrier->tokens[t], err);
    out->items[out->n++] =
        (me_sequence){.tokens = all.ids, .n_tokens = all.n, .edit_pos = carrier->read_pos + 1};
    return status;
}

static mobiedit_status list_told(const me_sequences *carriers, me_sequences *out, mobiedit_error *err) {
    out->items = me_calloc((size_t)carriers->n, sizeof *out->items);
    if (!out->items) return me_fail_memory(err, "token sequences");
    for (int i = 0; i < carriers->n; i++)
        ME_TRY(add_told(&carriers->items[i], out, err));
    read_on(out);
    return MOBIEDIT_OK;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

void me_answer_keys_free(me_answer_keys *keys) {
    me_free(keys->others.keys);
    me_free(keys->asked.keys);
    me_free(keys->said.keys);
    *keys = (me_answer_keys){0};
}

mobiedit_status me_answer_keys_read(me_session *s, int layer, const me_prompt *prompt,
                                    const me_answer_choice *choice, me_answer_keys *out,
                                    mobiedit_error *err) {
    enum { OTHERS, ASKED, SAID, GROUPS };
    me_sequences others = {0}, told = {0}, names = {0}, answered = {0};
    me_key_set keys[GROUPS] = {0};
    *out = (me_answer_keys){0};
    mobiedit_status status =
        choice->others ? list_others(s, prompt, choice->others, &others, err) : MOBIEDIT_OK;
    if (status == MOBIEDIT_OK && choice->names)
        status = list_names(s, prompt, choice->names, &names, &answered, err);
    if (status == MOBIEDIT_OK && choice->carriers) status = list_told(choice->carriers, &told, err);
    const me_sequences groups[GROUPS] = {[OTHERS] = others, [ASKED] = answered, [SAID] = told};
    if (status == MOBIEDIT_OK) status = me_session_answer_keys(s, layer, groups, GROUPS, keys, err);
    *out = (me_answer_keys){.others = keys[OTHERS], .asked = keys[ASKED], .said = keys[SAID]};
    const me_sequences rest = {.items = names.n ? names.items + answered.n : NULL, .n = names.n - answered.n};
    if (status == MOBIEDIT_OK) status = append_keys(s, layer, &rest, &out->asked, err);
    me_sequences_free(&others);
    me_sequences_free(&told);
    me_sequences_free(&names);
    if (status != MOBIEDIT_OK) me_answer_keys_free(out);
    return status;
}
