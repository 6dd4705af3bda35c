/* mobiedit_chat_score: how a model reads a text behind a prompt, all at once. */
#include "api/chat.h"
#include "base/logits.h"
#include "base/memory.h"
#include "runtime/batch.h"

typedef struct {
    mobiedit_score score;
    int n_prompt, n_vocab;
} reading;

void mobiedit_score_free(mobiedit_score *score) {
    if (!score) return;
    me_free(score->tokens);
    me_free(score->likeliest);
    me_free(score->log_probs);
    *score = (mobiedit_score){0};
}

/* The logits after tokens[position] are what stands in the place of the next one. */
static void take(void *user, int query, int position, const float *logits) {
    (void)query;
    reading *r = user;
    const int i = position + 1 - r->n_prompt;
    r->score.likeliest[i] = me_argmax(logits, r->n_vocab);
    r->score.log_probs[i] = (float)(logits[r->score.tokens[i]] - me_log_sum_exp(logits, r->n_vocab));
}

static mobiedit_status read_text(me_runtime *runtime, const me_tokens *tokens, reading *r,
                                 mobiedit_error *err) {
    mobiedit_score *s = &r->score;
    s->n = (size_t)(tokens->n - r->n_prompt);
    s->tokens = me_calloc(s->n, sizeof *s->tokens);
    s->likeliest = me_calloc(s->n, sizeof *s->likeliest);
    s->log_probs = me_calloc(s->n, sizeof *s->log_probs);
    if (!s->tokens || !s->likeliest || !s->log_probs) return me_fail_memory(err, "the tokens of a text");
    for (size_t i = 0; i < s->n; i++)
        s->tokens[i] = tokens->ids[(size_t)r->n_prompt + i];
    const me_query query = {.tokens = tokens->ids, .n = tokens->n - 1, .first = r->n_prompt - 1};
    return me_runtime_batch_logits(runtime, &query, 1, take, r, err);
}

/* Prompt and text as tokens. */
static mobiedit_status tokenize(const me_vocab *vocab, const char *prompt, bool in_chat, const char *text,
                                me_tokens *tokens, int *n_prompt, mobiedit_error *err) {
    if (!in_chat) return me_tokenize_pair(vocab, prompt, text, tokens, n_prompt, err);
    const me_chat_message question = {.role = "user", .content = prompt};
    char *asked;
    ME_TRY(me_vocab_chat(vocab, &question, 1, &asked, err));
    const mobiedit_status status = me_tokenize_pair(vocab, asked, text, tokens, n_prompt, err);
    me_free(asked);
    return status;
}

mobiedit_status mobiedit_chat_score(mobiedit_chat *chat, const char *prompt, bool in_chat, const char *text,
                                    mobiedit_score *score, mobiedit_error *err) {
    ME_TRY(me_check_text(prompt, "the prompt", err));
    ME_TRY(me_check_text(text, "the text", err));
    const me_vocab *vocab = me_runtime_vocab(chat->runtime);
    me_tokens tokens = {0};
    reading r = {.n_vocab = me_vocab_size(vocab)};
    ME_TRY(tokenize(vocab, prompt, in_chat, text, &tokens, &r.n_prompt, err));
    mobiedit_status status;
    if (r.n_prompt < 1 || tokens.n <= r.n_prompt)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt or the text has no tokens");
    else
        status = read_text(chat->runtime, &tokens, &r, err);
    me_tokens_free(&tokens);
    if (status == MOBIEDIT_OK)
        *score = r.score;
    else
        mobiedit_score_free(&r.score);
    return me_outcome(status, err);
}
