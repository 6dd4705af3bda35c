/* Lets the model write the texts that its calibration is measured on. */
#include "api/generated_text.h"

#include "base/memory.h"
#include "edit/texts.h"
#include "runtime/batch.h"

/* How a text begins, and what is written beyond what is kept: cut again, it may have fewer tokens. */
enum { FIRST_WORDS = 4, SPARE_TOKENS = 8, TOP = 64, CONTEXT_A_TEXT = 2 * ME_CALIBRATION_TEXT_TOKENS };

typedef struct {
    const me_vocab *vocab;
    char *beginnings[ME_GENERATED_TEXT_BATCH];
    me_tokens tokens[ME_GENERATED_TEXT_BATCH];
    char *texts[ME_GENERATED_TEXT_BATCH];
    me_opening openings[ME_GENERATED_TEXT_BATCH];
    int n;
} sheet;

static void sheet_free(sheet *s) {
    for (int i = 0; i < ME_GENERATED_TEXT_BATCH; i++) {
        me_free(s->beginnings[i]);
        me_tokens_free(&s->tokens[i]);
        me_free(s->texts[i]);
    }
    me_free(s);
}

mobiedit_status me_generated_text_runtime(const char *model_path, int threads, me_runtime **out,
                                          mobiedit_error *err) {
    const me_runtime_options options = {.threads = threads,
                                        .n_sequences = ME_GENERATED_TEXT_BATCH,
                                        .n_context = ME_GENERATED_TEXT_BATCH * CONTEXT_A_TEXT};
    return me_runtime_open(model_path, &options, out, err);
}

/* The bytes of the sentence's first words. */
static size_t beginning(const char *sentence) {
    size_t n = 0;
    for (int words = 0; sentence[n]; n++)
        if (sentence[n] == ' ' && ++words == FIRST_WORDS) break;
    return n;
}

static mobiedit_status open_texts(sheet *s, int first, mobiedit_error *err) {
    const size_t n_sentences = me_texts_count(me_texts_background);
    for (int i = 0; i < s->n; i++) {
        const char *sentence = me_texts_background[(size_t)(first + i) % n_sentences];
        s->beginnings[i] = me_strndup(sentence, beginning(sentence));
        if (!s->beginnings[i]) return me_fail_memory(err, "a text");
        ME_TRY(me_tokenize(s->vocab, s->beginnings[i], &s->tokens[i], err));
        s->openings[i] = (me_opening){.tokens = s->tokens[i].ids,
                                      .n = s->tokens[i].n,
                                      .max_tokens = ME_CALIBRATION_TEXT_TOKENS + SPARE_TOKENS,
                                      .never_end = true,
                                      .top_k = TOP,
                                      .seed = (uint64_t)(first + i + 1)};
    }
    return MOBIEDIT_OK;
}

/* The whole text, cut as any text is. */
static mobiedit_status keep_text(const sheet *s, int i, me_calibration *c, mobiedit_error *err) {
    char *whole = me_strjoin(s->beginnings[i], s->texts[i]);
    me_tokens tokens = {0};
    if (!whole) return me_fail_memory(err, "a text");
    const mobiedit_status status = me_tokenize(s->vocab, whole, &tokens, err);
    if (status == MOBIEDIT_OK) me_calibration_add_text(c, tokens.ids, tokens.n);
    me_tokens_free(&tokens);
    me_free(whole);
    return status;
}

mobiedit_status me_generated_text_add(me_runtime *runtime, me_calibration *c, mobiedit_error *err) {
    const int first = c->n_texts, missing = ME_CALIBRATION_TEXTS - first;
    sheet *s = me_calloc(1, sizeof *s);
    if (!s) return me_fail_memory(err, "the texts");
    s->vocab = me_runtime_vocab(runtime);
    s->n = missing < ME_GENERATED_TEXT_BATCH ? missing : ME_GENERATED_TEXT_BATCH;
    mobiedit_status status = open_texts(s, first, err);
    if (status == MOBIEDIT_OK) status = me_runtime_batch_continue(runtime, s->openings, s->n, s->texts, err);
    for (int i = 0; i < s->n && status == MOBIEDIT_OK; i++)
        status = keep_text(s, i, c, err);
    if (status != MOBIEDIT_OK) c->n_texts = first;
    sheet_free(s);
    return status;
}
