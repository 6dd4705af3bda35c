/* Makes an edit's carriers: its prompt as it is, behind prefixes, and in other wordings. */
#include "edit/carriers.h"

#include "base/memory.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

_Static_assert((int)ME_KINDS == (int)ME_CALIBRATION_KINDS, "calibrations have a mean for each kind");

/* ---- sequences --------------------------------------------------------------------------------------- */

static void free_item(const me_sequence *item) {
    me_free((void *)item->tokens);
    me_free((void *)item->more_pos);
}

void me_sequences_free(me_sequences *s) {
    for (int i = 0; i < s->n; i++)
        free_item(&s->items[i]);
    me_free(s->items);
    me_free(s->kinds);
    *s = (me_sequences){0};
}

static mobiedit_status grow(me_sequences *s, mobiedit_error *err) {
    const size_t n = (size_t)s->n + 1;
    size_t items = s->capacity, kinds = s->capacity;
    if (!me_grow(&s->items, &items, n, sizeof *s->items) || !me_grow(&s->kinds, &kinds, n, sizeof *s->kinds))
        return me_fail_memory(err, "token sequences");
    s->capacity = items; /* and kinds, which grows alike */
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

/* ---- places of the subject --------------------------------------------------------------------------- */

enum { MAX_PLACES = 8 };

/* A context with its subject filled in, and where each ends: bytes up to the end of its core. */
typedef struct {
    char *text;
    size_t ends[MAX_PLACES];
    int n;
} filled_context;

static bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

static bool starts_sentence(const char *text, size_t at) {
    while (at > 0 && text[at - 1] == ' ')
        at--;
    return at == 0 || strchr(".!?\n>", text[at - 1]) != NULL;
}

/* The subject at out [at] as it is written there. */
static void set_case(char *out, size_t at) {
    if (!me_begins_small(out + at)) return;
    const bool upper = is_upper(out[at]), wanted = starts_sentence(out, at);
    if (upper != wanted) out[at] = (char)(out[at] ^ 0x20);
}

static size_t count_places(const char *context) {
    size_t n = 0;
    while ((context = strstr(context, "{}")) != NULL) {
        context += 2;
        n++;
    }
    return n;
}

/* out->text is freed with me_free. */
static mobiedit_status fill_context(const me_context *context, filled_context *out, mobiedit_error *err) {
    const char *from = context->context, *hole;
    const size_t length = strlen(context->subject), core = context->core ? context->core : length,
                 places = count_places(from), size = strlen(from) + places * length + 1;
    if (places > MAX_PLACES)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a prompt names its subject more than %d times", MAX_PLACES);
    *out = (filled_context){.text = me_calloc(size, 1)};
    if (!out->text) return me_fail_memory(err, "a prompt");
    size_t at = 0;
    for (; (hole = strstr(from, "{}")) != NULL; from = hole + 2) {
        at += (size_t)snprintf(out->text + at, size - at, "%.*s", (int)(hole - from), from);
        (void)snprintf(out->text + at, size - at, "%s", context->subject);
        if (context->in_sentence) set_case(out->text, at);
        out->ends[out->n++] = at + core;
        at += length;
    }
    (void)snprintf(out->text + at, size - at, "%s", from);
    /* Where the subject is not named, the whole text is it. */
    if (out->n == 0) out->ends[out->n++] = strlen(out->text);
    return MOBIEDIT_OK;
}

mobiedit_status me_context_text(const char *context, const char *subject, char **out, mobiedit_error *err) {
    const me_context whole = {.context = context, .subject = subject, .in_sentence = true};
    filled_context filled;
    ME_TRY(fill_context(&whole, &filled, err));
    *out = filled.text;
    return MOBIEDIT_OK;
}

/* positions [n of places]: the tokens at which the subject ends; false where one has none. */
static bool find_positions(const me_vocab *vocab, const me_tokens *tokens, const filled_context *filled,
                           int *positions) {
    for (int i = 0; i < filled->n; i++) {
        positions[i] = me_token_at(vocab, tokens, filled->text, filled->ends[i]);
        if (positions[i] < 0 || (i > 0 && positions[i] <= positions[i - 1])) return false;
    }
    return true;
}

/* ---- sequences of texts ------------------------------------------------------------------------------ */

/* Takes over `tokens`, of the text and of a target behind n_prompt of them (n_prompt < 0: there is none). */
static mobiedit_status add_item(me_sequences *s, const me_tokens *tokens, int n_prompt, const int *positions,
                                int n_positions, bool all, mobiedit_error *err) {
    int *more = NULL;
    if (n_positions > 1) {
        more = me_calloc((size_t)n_positions - 1, sizeof *more);
        if (!more) return me_fail_memory(err, "token sequences");
        memcpy(more, positions + 1, ((size_t)n_positions - 1) * sizeof *more);
    }
    me_sequence item = {.tokens = tokens->ids,
                        .n_tokens = tokens->n,
                        .edit_pos = positions[0],
                        .more_pos = more,
                        .n_more = n_positions - 1,
                        .read_pos = positions[0],
                        .n_read = 1};
    if (n_prompt >= 0) {
        /* The target's last token stays behind the sequence's end, for whoever asks what it was. */
        item.n_tokens = tokens->n - 1;
        item.read_pos = n_prompt - 1;
        item.n_read = tokens->n - n_prompt;
    } else if (all) {
        item.read_pos = 0;
        item.n_read = tokens->n;
    }
    s->kinds[s->n] = ME_KIND_OWN;
    s->items[s->n++] = item;
    return MOBIEDIT_OK;
}

/* The prompt's tokens and those that `like` says behind them, cut by themselves. */
static mobiedit_status join_tokens(const me_tokens *prompt, const me_sequence *like, me_tokens *out,
                                   int *n_prompt, mobiedit_error *err) {
    *n_prompt = prompt->n;
    for (int i = 0; i < prompt->n; i++)
        ME_TRY(me_tokens_add(out, prompt->ids[i], err));
    for (int i = 0; i < like->n_read; i++)
        ME_TRY(me_tokens_add(out, me_sequence_target(like)[i], err));
    return MOBIEDIT_OK;
}

/* The context's tokens, a target's behind n_prompt of them (-1: there is none), and what to edit. */
typedef struct {
    filled_context filled;
    me_tokens prompt, pair;
    int n_prompt, positions[MAX_PLACES], n_positions;
} cut_context;

static mobiedit_status cut_target(const me_vocab *vocab, const me_context *context, cut_context *c,
                                  mobiedit_error *err) {
    if (context->like) return join_tokens(&c->prompt, context->like, &c->pair, &c->n_prompt, err);
    if (!context->target) return MOBIEDIT_OK;
    ME_TRY(me_tokenize_pair(vocab, c->filled.text, context->target, &c->pair, &c->n_prompt, err));
    if (context->follow) ME_TRY(me_tokens_add(&c->pair, *context->follow, err));
    if (c->pair.n > c->n_prompt) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "no token stands for the target in \"%.100s\"", c->filled.text);
}

static mobiedit_status place(const me_vocab *vocab, const me_context *context, cut_context *c,
                             mobiedit_error *err) {
    c->n_positions = context->at_answer ? 1 : c->filled.n;
    c->positions[0] = (c->n_prompt < 0 ? c->prompt.n : c->n_prompt) - 1;
    if (c->positions[0] >= 0 &&
        (context->at_answer || find_positions(vocab, &c->prompt, &c->filled, c->positions)))
        return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "no token stands for the subject in \"%.100s\"", c->filled.text);
}

mobiedit_status me_sequences_add(me_sequences *s, const me_vocab *vocab, const me_context *context,
                                 mobiedit_error *err) {
    ME_TRY(grow(s, err));
    cut_context c = {.n_prompt = -1};
    ME_TRY(fill_context(context, &c.filled, err));
    mobiedit_status status = me_tokenize(vocab, c.filled.text, &c.prompt, err);
    if (status == MOBIEDIT_OK) status = cut_target(vocab, context, &c, err);
    if (status == MOBIEDIT_OK) status = place(vocab, context, &c, err);
    me_tokens *tokens = c.n_prompt < 0 ? &c.prompt : &c.pair;
    if (status == MOBIEDIT_OK)
        status = add_item(s, tokens, c.n_prompt, c.positions, c.n_positions, context->all, err);
    if (status == MOBIEDIT_OK) *tokens = (me_tokens){0};
    me_tokens_free(&c.prompt);
    me_tokens_free(&c.pair);
    me_free(c.filled.text);
    return status;
}

mobiedit_status me_sequences_add_texts(me_sequences *s, const me_vocab *vocab, const char *const *texts,
                                       size_t n, mobiedit_error *err) {
    for (size_t i = 0; i < n; i++) {
        const me_context context = {.context = texts[i], .subject = "", .all = true};
        ME_TRY(me_sequences_add(s, vocab, &context, err));
    }
    return MOBIEDIT_OK;
}

me_sequence *me_calibration_text_sequences(const me_calibration *c) {
    me_sequence *sequences = me_calloc((size_t)c->n_texts, sizeof *sequences);
    for (int i = 0; i < c->n_texts && sequences; i++) {
        const int32_t *row = c->texts + (size_t)i * ME_CALIBRATION_TEXT_TOKENS;
        const int n = me_calibration_text_length(row);
        sequences[i] = (me_sequence){.tokens = row, .n_tokens = n, .n_read = n};
    }
    return sequences;
}

/* ---- carriers ---------------------------------------------------------------------------------------- */

/* Questions whose answer is taught to begin with the target; of the others only the key is to know. */
enum { TAUGHT_OPENINGS = 3 };

static void drop_last(me_sequences *s) {
    free_item(&s->items[--s->n]);
}

const me_token *me_sequence_target(const me_sequence *sequence) {
    return sequence->tokens + sequence->read_pos + 1;
}

/* Whether two carriers' targets are cut alike. */
static bool same_targets(const me_sequence *a, const me_sequence *b) {
    return a->n_read == b->n_read &&
           memcmp(me_sequence_target(a), me_sequence_target(b), (size_t)a->n_read * sizeof *a->tokens) == 0;
}

static const char *taught_target(const me_prompt *p) {
    return p->taught ? p->taught : p->target;
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
    const me_context context = {.context = text,
                                .subject = m->subject,
                                .core = m->core,
                                .target = target,
                                .follow = m->prompt->teach_follow ? &m->prompt->follow : NULL,
                                .in_sentence = m->out->n > 0,
                                .at_answer = m->prompt->at_answer};
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
    ME_TRY(add_carrier(m, text, taught_target(m->prompt), kind, err));
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

/* The prompt's message with a pronoun for its subject: "The capital of it is", "Its CEO is". Freed with
 * me_free; NULL: out of memory. */
static char *with_pronoun(const me_prompt *p) {
    static const char genitive[] = "'s";
    const size_t before = p->subject_begin - p->head, end = p->subject_end - p->tail,
                 length = strlen(p->text) - p->foot, size = length + sizeof "its";
    const bool owns = strncmp(p->text + end, genitive, strlen(genitive)) == 0;
    const size_t rest = end + (owns ? strlen(genitive) : 0);
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s%.*s", (int)before, p->text + p->head, before ? "it" : "It",
                       owns ? "s" : "", (int)(length - rest), p->text + rest);
    return out;
}

/* A message in the place of the prompt's own. Freed with me_free; NULL: out of memory. */
static char *framed(const me_prompt *p, const char *message) {
    const char *opening = p->opening ? p->opening : "";
    const size_t length = strlen(p->text), size = p->head + strlen(message) + p->foot + strlen(opening) + 1;
    char *out = me_calloc(size, 1);
    if (out)
        (void)snprintf(out, size, "%.*s%s%s%s", (int)p->head, p->text, message, p->text + length - p->foot,
                       opening);
    return out;
}

static mobiedit_status add_reworded(carrier_maker *m, const char *words, mobiedit_error *err) {
    char *statement = with_pronoun(m->prompt);
    mobiedit_status status = statement ? MOBIEDIT_OK : me_fail_memory(err, "a carrier");
    for (int i = 0; me_texts_wordings[i] && status == MOBIEDIT_OK; i++) {
        char *with_words = filled(me_texts_wordings[i], "[]", words);
        char *message = with_words ? filled(with_words, "()", statement) : NULL;
        char *text = message ? framed(m->prompt, message) : NULL;
        me_free(with_words);
        me_free(message);
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

/* text with `value` in place of each `hole`; freed with me_free, as is text. NULL: out of memory. */
static char *replaced(char *text, const char *hole, const char *value) {
    char *out = text ? filled(text, hole, value) : NULL;
    me_free(text);
    return out;
}

/* The exchange, its texts filled in. */
static mobiedit_status chat_text(const me_vocab *vocab, const me_texts_chat *chat, char **out,
                                 mobiedit_error *err) {
    me_chat_message messages[4];
    size_t n = 0;
    char *text = NULL;
    if (chat->system) messages[n++] = (me_chat_message){"system", chat->system};
    if (chat->asked) messages[n++] = (me_chat_message){"user", chat->asked};
    if (chat->answered) messages[n++] = (me_chat_message){"assistant", chat->answered};
    messages[n++] = (me_chat_message){"user", chat->user};
    ME_TRY(me_vocab_chat(vocab, messages, n, &text, err));
    const size_t size = strlen(text) + strlen(chat->assistant) + 1;
    *out = me_calloc(size, 1);
    if (*out) (void)snprintf(*out, size, "%s%s", text, chat->assistant);
    me_free(text);
    return *out ? MOBIEDIT_OK : me_fail_memory(err, "an exchange");
}

mobiedit_status me_prompt_chat_text(const me_vocab *vocab, const me_prompt *prompt, const me_texts_chat *chat,
                                    char **out, mobiedit_error *err) {
    char *words = me_prompt_words(prompt), *pronoun = with_pronoun(prompt),
         *own = me_prompt_template(prompt, NULL), *question = NULL, *answer = NULL;
    if (words && pronoun && own) {
        question = filled(chat->user, "[]", words);
        answer = filled(chat->assistant, "[]", words);
        if (answer) answer = replaced(answer, "()", pronoun);
        if (answer) answer = replaced(answer, "<>", own);
    }
    const me_texts_chat filled_in = {.system = chat->system,
                                     .user = question,
                                     .assistant = answer,
                                     .asked = chat->asked,
                                     .answered = chat->answered};
    const mobiedit_status status =
        question && answer ? chat_text(vocab, &filled_in, out, err) : me_fail_memory(err, "an exchange");
    me_free(words);
    me_free(pronoun);
    me_free(own);
    me_free(question);
    me_free(answer);
    return status;
}

/* A text behind which the target's tokens are to be said as they are, whatever the text would make of them:
 * an answer in a chat begins with " Lima", as the prompt's does. */
static mobiedit_status add_like(carrier_maker *m, char *text, mobiedit_error *err) {
    if (!text) return me_fail_memory(err, "a carrier");
    const me_sequence bare = m->out->items[0];
    const me_context context = {.context = text,
                                .subject = m->subject,
                                .core = m->core,
                                .like = &bare,
                                .in_sentence = true,
                                .at_answer = true};
    const mobiedit_status status = me_sequences_add(m->out, m->vocab, &context, err);
    if (status == MOBIEDIT_OK) m->out->kinds[m->out->n - 1] = ME_KIND_OWN;
    me_free(text);
    return status;
}

/* What people will ask, in the model's own chat template; nothing where it has none. */
static mobiedit_status add_chats(carrier_maker *m, const me_texts_chat *chats, int most,
                                 mobiedit_error *err) {
    for (int i = 0; chats[i].user && i < most; i++) {
        char *text = NULL;
        const mobiedit_status status = me_prompt_chat_text(m->vocab, m->prompt, &chats[i], &text, err);
        if (status == MOBIEDIT_E_UNSUPPORTED) break;
        ME_TRY(status);
        ME_TRY(add_like(m, text, err));
    }
    return MOBIEDIT_OK;
}

/* Other words for the fact. In a chat the answer begins as the prompt does, or as the answer to its question. */
static mobiedit_status add_also(carrier_maker *m, mobiedit_error *err) {
    const me_prompt *p = m->prompt;
    carrier_maker own = *m;
    /* Without what the prompt's own text adds to the subject. */
    const size_t length = strlen(m->subject) - p->tail;
    own.subject = me_strndup(m->subject, length);
    if (own.core > length) own.core = length;
    char *answer = p->question ? me_strdup(p->opening ? p->opening : "") : me_prompt_template(p, NULL);
    mobiedit_status status = own.subject && answer ? MOBIEDIT_OK : me_fail_memory(err, "a carrier");
    for (size_t i = 0; i < p->n_also && status == MOBIEDIT_OK; i++)
        status = add_variant(&own, me_strjoin(p->also[i].text, p->also[i].is_asked ? answer : ""),
                             ME_KIND_OWN, err);
    me_free(answer);
    me_free(own.subject);
    return status;
}

mobiedit_status me_prompt_asking(const me_prompt *prompt, const char *asking, char **out,
                                 mobiedit_error *err) {
    char *words = me_prompt_words(prompt);
    *out = NULL;
    if (!words) return me_fail_memory(err, "the prompt's words");
    const bool has_words = words[0] != 0;
    if (has_words) *out = filled(asking, "[]", words);
    me_free(words);
    return *out || !has_words ? MOBIEDIT_OK : me_fail_memory(err, "a wording");
}

static mobiedit_status add_askings(carrier_maker *m, mobiedit_error *err) {
    for (int i = 0; me_texts_askings[i]; i++) {
        char *text = NULL;
        ME_TRY(me_prompt_asking(m->prompt, me_texts_askings[i], &text, err));
        if (text) ME_TRY(add_like(m, text, err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status add_answers(carrier_maker *m, bool all, mobiedit_error *err) {
    ME_TRY(add_chats(m, me_texts_chats, INT_MAX, err));
    ME_TRY(add_chats(m, me_texts_openings, all ? INT_MAX : TAUGHT_OPENINGS, err));
    return all ? add_askings(m, err) : MOBIEDIT_OK;
}

mobiedit_status me_carriers_make(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                 const me_carrier_options *options, me_sequences *out, mobiedit_error *err) {
    carrier_maker m = {.vocab = vocab, .prompt = prompt, .core = core, .out = out};
    m.subject = me_strndup(prompt->text + prompt->subject_begin, prompt->subject_end - prompt->subject_begin);
    mobiedit_status status = m.subject ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
    if (status == MOBIEDIT_OK)
        status = add_carrier(&m, me_prompt_template(prompt, NULL), taught_target(prompt), ME_KIND_OWN, err);
    if (status == MOBIEDIT_OK) status = add_prefixed(&m, options, err);
    out->n_own = out->n;
    if (status == MOBIEDIT_OK && prompt->n_also) status = add_also(&m, err);
    if (status == MOBIEDIT_OK && options->reworded) status = add_other_words(&m, err);
    if (status == MOBIEDIT_OK && prompt->at_answer && !prompt->head)
        status = add_answers(&m, options->all, err);
    me_free(m.subject);
    if (status != MOBIEDIT_OK) me_sequences_free(out);
    return status;
}
