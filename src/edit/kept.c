/* Prompts about other things of an edit's subject, and how much their answers change. */
#include "edit/kept.h"

#include "base/logits.h"
#include "base/memory.h"

#include <string.h>

/* Logits of this many hidden vectors are held at once. */
enum { LOGIT_ROWS = 16 };

/* ---- prompts ----------------------------------------------------------------------------------------- */

mobiedit_status me_kept_prompts(const me_vocab *vocab, const me_prompt *prompt, size_t core,
                                me_sequences *out, mobiedit_error *err) {
    char *subject =
        me_strndup(prompt->text + prompt->subject_begin, prompt->subject_end - prompt->subject_begin);
    mobiedit_status status = subject ? MOBIEDIT_OK : me_fail_memory(err, "the subject");
    me_context context = {.subject = subject, .core = core, .in_sentence = true};
    for (int i = 0; me_texts_kept[i] && status == MOBIEDIT_OK; i++) {
        if (me_prompt_shares_word(prompt, me_texts_kept[i])) continue;
        context.context = me_texts_kept[i];
        status = me_sequences_add(out, vocab, &context, err);
    }
    for (int i = 0; me_texts_kept_chats[i].user && status == MOBIEDIT_OK && !prompt->head; i++) {
        char *text = NULL;
        status = me_prompt_chat_text(vocab, prompt, &me_texts_kept_chats[i], &text, err);
        if (status == MOBIEDIT_E_UNSUPPORTED) {
            status = MOBIEDIT_OK;
            break;
        }
        context.context = text;
        if (status == MOBIEDIT_OK) status = me_sequences_add(out, vocab, &context, err);
        me_free(text);
    }
    me_free(subject);
    for (int i = 0; i < out->n; i++)
        out->items[i].read_pos = out->items[i].n_tokens - 1;
    return status;
}

/* ---- answers ----------------------------------------------------------------------------------------- */

/* What happens at each row of logits. */
typedef mobiedit_status (*row_fn)(void *user, int row, const float *logits, mobiedit_error *err);

static mobiedit_status each_row(me_engine *engine, const float *hidden, int n, row_fn fn, void *user,
                                mobiedit_error *err) {
    const size_t n_vocab = (size_t)engine->model->n_vocab, d = (size_t)engine->model->d_model;
    float *logits = me_calloc(LOGIT_ROWS * n_vocab, sizeof *logits);
    if (!logits) return me_fail_memory(err, "logits");
    mobiedit_status status = MOBIEDIT_OK;
    for (int first = 0; first < n && status == MOBIEDIT_OK; first += LOGIT_ROWS) {
        const int m = n - first < LOGIT_ROWS ? n - first : LOGIT_ROWS;
        status = engine->ops->logits(engine, hidden + (size_t)first * d, m, logits, err);
        for (int i = 0; i < m && status == MOBIEDIT_OK; i++)
            status = fn(user, first + i, logits + (size_t)i * n_vocab, err);
    }
    me_free(logits);
    return status;
}

typedef struct {
    me_sequences *prompts;
    int n_vocab;
} answering;

/* Adds the likeliest token to a prompt. */
static mobiedit_status answer_row(void *user, int row, const float *logits, mobiedit_error *err) {
    const answering *a = user;
    me_sequence *item = &a->prompts->items[row];
    me_tokens tokens = {.ids = (me_token *)item->tokens, .n = item->n_tokens};
    ME_TRY(me_tokens_add(&tokens, me_argmax(logits, a->n_vocab), err));
    item->tokens = tokens.ids;
    item->n_tokens = tokens.n;
    return MOBIEDIT_OK;
}

/* Each prompt with the first tokens of the model's answer but the last, read from where the answer begins. */
static mobiedit_status answer(me_engine *engine, me_sequences *prompts, size_t *evaluations,
                              mobiedit_error *err) {
    answering a = {.prompts = prompts, .n_vocab = engine->model->n_vocab};
    float *hidden = me_calloc((size_t)prompts->n * (size_t)engine->model->d_model, sizeof *hidden);
    if (!hidden) return me_fail_memory(err, "hidden vectors");
    mobiedit_status status = MOBIEDIT_OK;
    for (int t = 1; t < ME_KEPT_READ && status == MOBIEDIT_OK; t++) {
        for (int i = 0; i < prompts->n; i++)
            prompts->items[i].read_pos = prompts->items[i].n_tokens - 1;
        status = engine->ops->forward(engine, prompts->items, prompts->n, hidden, err);
        if (status == MOBIEDIT_OK) status = each_row(engine, hidden, prompts->n, answer_row, &a, err);
        *evaluations += (size_t)prompts->n;
    }
    me_free(hidden);
    for (int i = 0; i < prompts->n; i++) {
        prompts->items[i].read_pos = prompts->items[i].n_tokens - ME_KEPT_READ;
        prompts->items[i].n_read = ME_KEPT_READ;
    }
    return status;
}

/* ---- what stays -------------------------------------------------------------------------------------- */

typedef struct {
    me_kept *kept;
    int n_vocab;
} taking;

static me_likely likely_of_row(const me_kept *kept, int row) {
    const size_t first = (size_t)row * ME_KEPT_LIKELY;
    return (me_likely){
        .tokens = kept->likely + first, .log_probs = kept->log_probs + first, .n = kept->n_likely};
}

static mobiedit_status take_row(void *user, int row, const float *logits, mobiedit_error *err) {
    (void)err;
    const taking *t = user;
    const me_likely likely = likely_of_row(t->kept, row);
    t->kept->log_sums[row] = me_log_sum_expf(logits, t->n_vocab);
    me_likely_take(&likely, logits, t->n_vocab);
    return MOBIEDIT_OK;
}

mobiedit_status me_kept_take(me_engine *engine, me_kept *kept, mobiedit_error *err) {
    taking t = {.kept = kept, .n_vocab = engine->model->n_vocab};
    return each_row(engine, kept->prefix->hidden, kept->n * kept->n_read, take_row, &t, err);
}

mobiedit_status me_kept_of(me_engine *engine, me_prefix *prefix, me_kept **out, mobiedit_error *err) {
    const size_t rows = (size_t)prefix->n_sequences * (size_t)prefix->n_read;
    const int n_vocab = engine->model->n_vocab;
    me_kept *kept = me_calloc(1, sizeof *kept);
    if (!kept) {
        engine->ops->prefix_free(engine, prefix);
        return me_fail_memory(err, "the prompts to keep");
    }
    *kept = (me_kept){.prefix = prefix,
                      .n = prefix->n_sequences,
                      .n_read = prefix->n_read,
                      .n_likely = n_vocab < ME_KEPT_LIKELY ? n_vocab : ME_KEPT_LIKELY,
                      .log_sums = me_calloc(rows, sizeof *kept->log_sums),
                      .likely = me_calloc(rows * ME_KEPT_LIKELY, sizeof *kept->likely),
                      .log_probs = me_calloc(rows * ME_KEPT_LIKELY, sizeof *kept->log_probs)};
    const mobiedit_status status = kept->log_sums && kept->likely && kept->log_probs
                                       ? me_kept_take(engine, kept, err)
                                       : me_fail_memory(err, "the prompts to keep");
    if (status != MOBIEDIT_OK) {
        me_kept_close(engine, kept);
        return status;
    }
    *out = kept;
    return MOBIEDIT_OK;
}

mobiedit_status me_kept_open(me_engine *engine, int layer, me_sequences *prompts, size_t *evaluations,
                             me_kept **out, mobiedit_error *err) {
    me_prefix *prefix = NULL;
    ME_TRY(answer(engine, prompts, evaluations, err));
    ME_TRY(engine->ops->prefix(engine, layer, prompts->items, prompts->n, &prefix, err));
    return me_kept_of(engine, prefix, out, err);
}

void me_kept_close(me_engine *engine, me_kept *kept) {
    if (!kept) return;
    if (kept->prefix) engine->ops->prefix_free(engine, kept->prefix);
    me_free(kept->log_sums);
    me_free(kept->likely);
    me_free(kept->log_probs);
    me_free(kept);
}

/* ---- how much it changes ----------------------------------------------------------------------------- */

typedef struct {
    const me_kept *kept;
    float *kl;
    int n_vocab;
} comparing;

static mobiedit_status compare_row(void *user, int row, const float *logits, mobiedit_error *err) {
    (void)err;
    const comparing *c = user;
    const me_likely likely = likely_of_row(c->kept, row);
    c->kl[row / c->kept->n_read] += (float)(me_likely_kl(&likely, logits, c->n_vocab) / c->kept->n_read);
    return MOBIEDIT_OK;
}

mobiedit_status me_kept_loss(me_engine *engine, const me_kept *kept, const float *hidden, float *kl,
                             mobiedit_error *err) {
    memset(kl, 0, (size_t)kept->n * sizeof *kl);
    comparing c = {.kept = kept, .kl = kl, .n_vocab = engine->model->n_vocab};
    return each_row(engine, hidden, kept->n * kept->n_read, compare_row, &c, err);
}
