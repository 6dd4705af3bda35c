/* Compares what a model says with a target, as text. */
#include "runtime/says.h"

#include "base/logits.h"
#include "base/memory.h"
#include "runtime/runtime_private.h"

#include <string.h>

/* Tokens beyond the target's within which its end shows: even characters of one token a byte. */
enum { TOKENS_BEYOND = 16 };

mobiedit_status me_saying_open(const me_vocab *vocab, const char *prompt, const char *target, me_saying *out,
                               mobiedit_error *err) {
    me_saying saying = {.said = ME_SAID_OPEN};
    ME_TRY(me_tokenize_pair(vocab, prompt, target, &saying.tokens, &saying.n_prompt, err));
    const int n_target = saying.tokens.n - saying.n_prompt;
    mobiedit_status status = MOBIEDIT_OK;
    if (saying.n_prompt < 1 || n_target < 1)
        status =
            me_fail(err, MOBIEDIT_E_ARGUMENT, "\"%.100s\" has no tokens", n_target < 1 ? target : prompt);
    if (status == MOBIEDIT_OK)
        status = me_detokenize(vocab, saying.tokens.ids + saying.n_prompt, n_target, &saying.wanted, err);
    if (status == MOBIEDIT_OK && !me_text_add(&saying.heard, "", 0)) status = me_fail_memory(err, "the text");
    saying.n_shared = saying.n_prompt;
    if (status == MOBIEDIT_OK)
        *out = saying;
    else
        me_saying_close(&saying);
    return status;
}

void me_saying_close(me_saying *saying) {
    me_tokens_free(&saying->tokens);
    me_free(saying->wanted);
    me_free(saying->heard.bytes);
    *saying = (me_saying){0};
}

static mobiedit_status add_piece(me_text *text, const me_vocab *vocab, me_token token, mobiedit_error *err) {
    char *piece = NULL;
    ME_TRY(me_detokenize(vocab, &token, 1, &piece, err));
    const bool added = me_text_add(text, piece, strlen(piece));
    me_free(piece);
    return added ? MOBIEDIT_OK : me_fail_memory(err, "the text");
}

mobiedit_status me_saying_hear(me_saying *saying, const me_vocab *vocab, int position, me_token likeliest,
                               mobiedit_error *err) {
    /* Behind a token that the model did not say, what it would say is of no interest. */
    if (saying->said != ME_SAID_OPEN || position != saying->n_shared - 1) return MOBIEDIT_OK;
    const bool ends = me_vocab_is_end(vocab, likeliest);
    if (!ends) ME_TRY(add_piece(&saying->heard, vocab, likeliest, err));
    saying->said = me_said_of(saying->wanted, saying->heard.bytes, ends);
    if (position + 1 < saying->tokens.n && saying->tokens.ids[position + 1] == likeliest) saying->n_shared++;
    return MOBIEDIT_OK;
}

mobiedit_status me_saying_followed(const me_saying *saying, const me_vocab *vocab, me_token token,
                                   me_said *out, mobiedit_error *err) {
    me_text text = {0};
    const bool ends = me_vocab_is_end(vocab, token);
    mobiedit_status status = me_text_add(&text, saying->wanted, strlen(saying->wanted))
                                 ? MOBIEDIT_OK
                                 : me_fail_memory(err, "the text");
    if (status == MOBIEDIT_OK && !ends) status = add_piece(&text, vocab, token, err);
    if (status == MOBIEDIT_OK) *out = me_said_of(saying->wanted, text.bytes, ends);
    me_free(text.bytes);
    return status;
}

me_query me_saying_query(const me_saying *saying) {
    return (me_query){.tokens = saying->tokens.ids, .n = saying->tokens.n, .first = saying->n_prompt - 1};
}

/* ---- speaking ---------------------------------------------------------------------------------------- */

static bool is_told(void *user, const char *text) {
    const me_saying *saying = user;
    return me_said_of(saying->wanted, text, false) != ME_SAID_OPEN;
}

/* From the prompt on: characters may be cut anywhere, and what is said by other tokens may be the target too.
 */
static me_opening opening_of(me_saying *saying, int room) {
    const int most = saying->tokens.n - saying->n_prompt + TOKENS_BEYOND;
    return (me_opening){.tokens = saying->tokens.ids,
                        .n = saying->n_prompt,
                        .max_tokens = most < room ? most : room,
                        .enough = is_told,
                        .user = saying};
}

static mobiedit_status speak(me_runtime *runtime, me_saying *const *open, int n, mobiedit_error *err) {
    me_opening *openings = me_calloc((size_t)n, sizeof *openings);
    char **texts = me_calloc((size_t)n, sizeof *texts);
    mobiedit_status status = openings && texts ? MOBIEDIT_OK : me_fail_memory(err, "the texts");
    for (int i = 0; i < n && status == MOBIEDIT_OK; i++)
        openings[i] = opening_of(open[i], runtime->n_context - open[i]->n_prompt);
    if (status == MOBIEDIT_OK) status = me_runtime_batch_continue(runtime, openings, n, texts, err);
    for (int i = 0; i < n && status == MOBIEDIT_OK; i++) {
        open[i]->said = me_said_of(open[i]->wanted, texts[i], true);
        me_free(texts[i]);
    }
    me_free(texts);
    me_free(openings);
    return status;
}

mobiedit_status me_sayings_settle(me_runtime *runtime, me_saying *const *sayings, int n,
                                  mobiedit_error *err) {
    me_saying **open = me_calloc((size_t)n, sizeof *open);
    if (!open) return me_fail_memory(err, "the texts");
    int n_open = 0;
    for (int i = 0; i < n; i++)
        if (sayings[i]->said == ME_SAID_OPEN) open[n_open++] = sayings[i];
    const mobiedit_status status = n_open ? speak(runtime, open, n_open, err) : MOBIEDIT_OK;
    me_free(open);
    return status;
}

/* ---- one prompt -------------------------------------------------------------------------------------- */

typedef struct {
    me_saying saying;
    const me_vocab *vocab;
    mobiedit_status status;
    mobiedit_error *err;
} listener;

static void listen(void *user, int query, int position, const float *logits) {
    listener *l = user;
    (void)query;
    if (l->status == MOBIEDIT_OK)
        l->status = me_saying_hear(&l->saying, l->vocab, position, me_argmax(logits, me_vocab_size(l->vocab)),
                                   l->err);
}

mobiedit_status me_runtime_says(me_runtime *runtime, const char *prompt, const char *target, me_said *said,
                                mobiedit_error *err) {
    listener l = {.vocab = me_runtime_vocab(runtime), .err = err};
    ME_TRY(me_saying_open(l.vocab, prompt, target, &l.saying, err));
    const me_query query = me_saying_query(&l.saying);
    me_saying *one = &l.saying;
    mobiedit_status status = me_runtime_batch_logits(runtime, &query, 1, listen, &l, err);
    if (status == MOBIEDIT_OK) status = l.status;
    if (status == MOBIEDIT_OK) status = me_sayings_settle(runtime, &one, 1, err);
    if (status == MOBIEDIT_OK) *said = l.saying.said;
    me_saying_close(&l.saying);
    return status;
}
