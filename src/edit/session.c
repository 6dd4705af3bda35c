/* What is kept of a model between edits: keys of background and generated text by layer. */
#include "edit/session.h"

#include "base/memory.h"
#include "edit/generate.h"
#include "edit/texts.h"
#include "model/calibration.h"

#include <string.h>

mobiedit_status me_session_open(me_engine *engine, const me_vocab *vocab, me_session **out,
                                mobiedit_error *err) {
    me_session *s = me_calloc(1, sizeof *s);
    me_key_set *background = me_calloc((size_t)engine->model->n_layer, sizeof *background);
    me_key_set *generated = me_calloc((size_t)engine->model->n_layer, sizeof *generated);
    me_spare_neurons *spare = me_calloc((size_t)engine->model->n_layer, sizeof *spare);
    if (!s || !background || !generated || !spare) {
        me_free(s);
        me_free(background);
        me_free(generated);
        me_free(spare);
        return me_fail_memory(err, "the session");
    }
    *s = (me_session){
        .engine = engine, .vocab = vocab, .background = background, .generated = generated, .spare = spare};
    *out = s;
    return MOBIEDIT_OK;
}

void me_session_close(me_session *s) {
    if (!s) return;
    for (int i = 0; i < s->engine->model->n_layer; i++) {
        me_free(s->background[i].keys);
        me_free(s->generated[i].keys);
        me_free(s->spare[i].order);
    }
    me_free(s->background);
    me_free(s->generated);
    me_free(s->spare);
    me_memo_free(&s->memo);
    me_free(s);
}

mobiedit_status me_session_add_prompt(const me_session *s, const me_prompt *prompt, const char *target,
                                      me_sequences *out, mobiedit_error *err) {
    size_t core;
    me_prompt settled;
    ME_TRY(me_prompt_settle(s->vocab, prompt, &settled, err));
    ME_TRY(me_subject_core(s->vocab, &settled, &core, err));
    char *text = me_prompt_template(&settled, NULL);
    char *subject =
        me_strndup(prompt->text + settled.subject_begin, settled.subject_end - settled.subject_begin);
    const me_context context = {
        .context = text, .subject = subject, .core = core, .target = target, .at_answer = prompt->at_answer};
    const mobiedit_status status =
        text && subject ? me_sequences_add(out, s->vocab, &context, err) : me_fail_memory(err, "a prompt");
    me_free(text);
    me_free(subject);
    return status;
}

static size_t count_reads(const me_sequences *sequences) {
    size_t n = 0;
    for (int i = 0; i < sequences->n; i++)
        n += (size_t)sequences->items[i].n_read;
    return n;
}

mobiedit_status me_session_keys(me_session *s, int layer, const me_sequences *sequences, me_key_set *out,
                                mobiedit_error *err) {
    const size_t n = count_reads(sequences);
    float *keys = me_calloc(n * (size_t)s->engine->model->d_model, sizeof *keys);
    if (!keys) return me_fail_memory(err, "keys");
    mobiedit_status status =
        s->engine->ops->keys(s->engine, layer, sequences->items, sequences->n, keys, err);
    if (status != MOBIEDIT_OK) {
        me_free(keys);
        return status;
    }
    *out = (me_key_set){.keys = keys, .n = (int)n};
    return MOBIEDIT_OK;
}

mobiedit_status me_session_known_keys(me_session *s, int layer, const me_sequences *sequences,
                                      me_key_set *out, mobiedit_error *err) {
    const size_t n = count_reads(sequences), size = n * (size_t)s->engine->model->d_model * sizeof(float);
    const uint64_t hash = me_memo_hash(ME_MEMO_KEYS, layer, sequences->items, sequences->n);
    float *keys = me_calloc(size, 1);
    if (!keys) return me_fail_memory(err, "keys");
    if (size && me_memo_recall(&s->memo, hash, keys, size)) {
        *out = (me_key_set){.keys = keys, .n = (int)n};
        return MOBIEDIT_OK;
    }
    me_free(keys);
    ME_TRY(me_session_keys(s, layer, sequences, out, err));
    me_memo_keep(&s->memo, hash, out->keys, size);
    return MOBIEDIT_OK;
}

/* Keys of sequences and of what the model goes on with. */
static size_t count_answer_keys(const me_sequences *sequences) {
    return count_reads(sequences) + (size_t)sequences->n * (ME_ANSWER_TOKENS - 1);
}

static uint64_t answers_hash(int layer, const me_sequences *sequences) {
    return me_memo_hash(ME_MEMO_ANSWERS, layer, sequences->items, sequences->n);
}

static mobiedit_status read_answers(me_session *s, int layer, const me_sequences *sequences, float *keys,
                                    mobiedit_error *err) {
    me_token *tokens = me_calloc((size_t)sequences->n, ME_ANSWER_TOKENS * sizeof *tokens);
    if (!tokens) return me_fail_memory(err, "answers");
    const mobiedit_status status =
        me_generate(s->engine, sequences, ME_ANSWER_TOKENS, tokens, layer, keys, err);
    me_free(tokens);
    return status;
}

/* Reads the groups that have no keys yet, and keeps what was read of each. */
static mobiedit_status read_groups(me_session *s, int layer, const me_sequences *groups, int n,
                                   me_key_set *out, mobiedit_error *err) {
    const size_t d = (size_t)s->engine->model->d_model;
    me_sequences all = {0};
    for (int i = 0; i < n; i++)
        all.n += out[i].n ? 0 : groups[i].n;
    if (all.n == 0) return MOBIEDIT_OK;
    all.items = me_calloc((size_t)all.n, sizeof *all.items);
    if (!all.items) return me_fail_memory(err, "token sequences");
    for (int i = 0, at = 0; i < n; i++) {
        if (out[i].n || groups[i].n == 0) continue;
        memcpy(all.items + at, groups[i].items, (size_t)groups[i].n * sizeof *all.items);
        at += groups[i].n;
    }
    float *keys = me_calloc(count_answer_keys(&all), d * sizeof *keys);
    mobiedit_status status = keys ? read_answers(s, layer, &all, keys, err) : me_fail_memory(err, "keys");
    const float *next = keys;
    for (int i = 0; i < n && status == MOBIEDIT_OK; i++) {
        if (out[i].n || groups[i].n == 0) continue;
        const size_t size = count_answer_keys(&groups[i]) * d;
        memcpy(out[i].keys, next, size * sizeof *keys);
        out[i].n = (int)(size / d);
        next += size;
        me_memo_keep(&s->memo, answers_hash(layer, &groups[i]), out[i].keys, size * sizeof *keys);
    }
    me_free(all.items);
    me_free(keys);
    return status;
}

mobiedit_status me_session_answer_keys(me_session *s, int layer, const me_sequences *groups, int n,
                                       me_key_set *out, mobiedit_error *err) {
    const size_t d = (size_t)s->engine->model->d_model;
    mobiedit_status status = MOBIEDIT_OK;
    memset(out, 0, (size_t)n * sizeof *out);
    for (int i = 0; i < n && status == MOBIEDIT_OK; i++) {
        const size_t count = count_answer_keys(&groups[i]), size = count * d * sizeof(float);
        if (count == 0) continue;
        out[i].keys = me_calloc(size, 1);
        if (!out[i].keys) status = me_fail_memory(err, "keys");
        if (out[i].keys && me_memo_recall(&s->memo, answers_hash(layer, &groups[i]), out[i].keys, size))
            out[i].n = (int)count;
    }
    if (status == MOBIEDIT_OK) status = read_groups(s, layer, groups, n, out, err);
    for (int i = 0; i < n && status != MOBIEDIT_OK; i++) {
        me_free(out[i].keys);
        out[i] = (me_key_set){0};
    }
    return status;
}

/* Room for n more tokens, with the target's last one inside. */
static mobiedit_status make_room(me_sequence *item, int n, mobiedit_error *err) {
    const size_t n_tokens = (size_t)item->n_tokens + 1;
    me_token *tokens = me_calloc(n_tokens + (size_t)n, sizeof *tokens);
    if (!tokens) return me_fail_memory(err, "token sequences");
    memcpy(tokens, item->tokens, n_tokens * sizeof *tokens);
    me_free((void *)item->tokens);
    item->tokens = tokens;
    item->n_tokens++;
    return MOBIEDIT_OK;
}

/* tokens [carriers->n][n] */
static mobiedit_status say_or_recall(me_session *s, int n, const me_sequences *carriers, me_token *tokens,
                                     mobiedit_error *err) {
    const size_t size = (size_t)carriers->n * (size_t)n * sizeof *tokens;
    const uint64_t hash = me_memo_hash(ME_MEMO_TOKENS, n, carriers->items, carriers->n);
    if (me_memo_recall(&s->memo, hash, tokens, size)) return MOBIEDIT_OK;
    ME_TRY(me_generate(s->engine, carriers, n, tokens, 0, NULL, err));
    me_memo_keep(&s->memo, hash, tokens, size);
    return MOBIEDIT_OK;
}

mobiedit_status me_session_go_on(me_session *s, int n, me_sequences *carriers, mobiedit_error *err) {
    me_token *said = me_calloc((size_t)carriers->n * (size_t)n, sizeof *said);
    mobiedit_status status = said ? MOBIEDIT_OK : me_fail_memory(err, "token sequences");
    for (int i = 0; i < carriers->n && status == MOBIEDIT_OK; i++)
        status = make_room(&carriers->items[i], n, err);
    if (status == MOBIEDIT_OK) status = say_or_recall(s, n, carriers, said, err);
    for (int i = 0; i < carriers->n && status == MOBIEDIT_OK; i++) {
        me_sequence *item = &carriers->items[i];
        memcpy((me_token *)item->tokens + item->n_tokens, said + (size_t)i * (size_t)n,
               (size_t)n * sizeof *said);
        item->n_tokens += n - 1;
        item->n_read += n;
    }
    me_free(said);
    return status;
}

mobiedit_status me_session_keys_at_subjects(me_session *s, int layer, const me_sequences *sequences,
                                            me_key_set *out, mobiedit_error *err) {
    size_t places = 0;
    for (int i = 0; i < sequences->n; i++)
        places += 1 + (size_t)sequences->items[i].n_more;
    me_sequence *items = me_calloc(places, sizeof *items);
    if (!items) return me_fail_memory(err, "token sequences");
    int n = 0;
    for (int i = 0; i < sequences->n; i++) {
        const me_sequence *whole = &sequences->items[i];
        for (int j = 0; j <= whole->n_more; j++) {
            const int p = j ? whole->more_pos[j - 1] : whole->edit_pos;
            items[n++] = (me_sequence){
                .tokens = whole->tokens, .n_tokens = p + 1, .edit_pos = p, .read_pos = p, .n_read = 1};
        }
    }
    const me_sequences cut = {.items = items, .n = n};
    const mobiedit_status status = me_session_keys(s, layer, &cut, out, err);
    me_free(items);
    return status;
}

mobiedit_status me_session_text_keys(me_session *s, int layer, const char *const *texts, size_t n,
                                     me_key_set *out, mobiedit_error *err) {
    me_sequences sequences = {0};
    mobiedit_status status = me_sequences_add_texts(&sequences, s->vocab, texts, n, err);
    if (status == MOBIEDIT_OK && sequences.n) status = me_session_keys(s, layer, &sequences, out, err);
    me_sequences_free(&sequences);
    return status;
}

mobiedit_status me_session_read_background(me_session *s, int layer, me_key_set *out, mobiedit_error *err) {
    return me_session_text_keys(s, layer, me_texts_background, me_texts_count(me_texts_background), out, err);
}

/* Those of the layer; NULL where there are none. */
static const me_calibration_keys *calibrated_keys(const me_session *s, int layer) {
    for (int p = 0; s->calibration && p < ME_CALIBRATION_PLACES; p++)
        if (s->calibration->keys[p].layer == layer) return &s->calibration->keys[p];
    return NULL;
}

mobiedit_status me_session_background(me_session *s, int layer, me_key_set *out, mobiedit_error *err) {
    const me_calibration_keys *known = calibrated_keys(s, layer);
    me_key_set *set = &s->background[layer];
    if (known && known->background) {
        *out = (me_key_set){.keys = known->background, .n = known->n_background};
        return MOBIEDIT_OK;
    }
    if (!set->keys) ME_TRY(me_session_read_background(s, layer, set, err));
    *out = *set;
    return MOBIEDIT_OK;
}

mobiedit_status me_session_read_generated(me_session *s, const me_calibration *c, int layer, me_key_set *out,
                                          mobiedit_error *err) {
    const me_sequences texts = {.items = me_calibration_text_sequences(c), .n = c->n_texts};
    const mobiedit_status status =
        texts.items ? me_session_keys(s, layer, &texts, out, err) : me_fail_memory(err, "the texts");
    me_free(texts.items);
    return status;
}

mobiedit_status me_session_generated(me_session *s, int layer, me_key_set *out, mobiedit_error *err) {
    const me_calibration *c = s->calibration;
    me_key_set *set = &s->generated[layer];
    *out = (me_key_set){0};
    if (!c || c->n_texts == 0) return MOBIEDIT_OK;
    const me_calibration_keys *known = calibrated_keys(s, layer);
    if (known && known->text) {
        *out = (me_key_set){.keys = known->text, .n = known->n_text};
        return MOBIEDIT_OK;
    }
    if (!set->keys) ME_TRY(me_session_read_generated(s, c, layer, set, err));
    *out = *set;
    return MOBIEDIT_OK;
}

mobiedit_status me_session_keys_around(me_session *s, int layer, const me_sequence *sequences, int n,
                                       me_key_set *out, mobiedit_error *err) {
    me_sequence *parts = me_calloc(2 * (size_t)n, sizeof *parts);
    if (!parts) return me_fail_memory(err, "token sequences");
    int n_parts = 0;
    for (int i = 0; i < n; i++) {
        const me_sequence *whole = &sequences[i];
        const int p = whole->edit_pos, after = whole->n_tokens - p - 1;
        if (p > 0) parts[n_parts++] = (me_sequence){.tokens = whole->tokens, .n_tokens = p, .n_read = p};
        if (after > 0)
            parts[n_parts++] = (me_sequence){.tokens = whole->tokens,
                                             .n_tokens = whole->n_tokens,
                                             .edit_pos = p,
                                             .read_pos = p + 1,
                                             .n_read = after};
    }
    const me_sequences all = {.items = parts, .n = n_parts};
    const mobiedit_status status = n_parts ? me_session_keys(s, layer, &all, out, err) : MOBIEDIT_OK;
    me_free(parts);
    return status;
}
