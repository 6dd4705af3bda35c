#include "edit/session.h"

#include "base/memory.h"
#include "edit/texts.h"
#include "model/calibration.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NEAR_NAME = 256 };

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
    const me_context context = {.context = text, .subject = subject, .core = core, .target = target};
    const mobiedit_status status =
        text && subject ? me_sequences_add(out, s->vocab, &context, err) : me_fail_memory(err, "a prompt");
    me_free(text);
    me_free(subject);
    return status;
}

mobiedit_status me_session_keys(me_session *s, int layer, const me_sequences *sequences, me_key_set *out,
                                mobiedit_error *err) {
    size_t n = 0;
    for (int i = 0; i < sequences->n; i++)
        n += (size_t)sequences->items[i].n_read;
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

mobiedit_status me_session_keys_at_subjects(me_session *s, int layer, const me_sequences *sequences,
                                            me_key_set *out, mobiedit_error *err) {
    me_sequence *items = me_calloc((size_t)sequences->n, sizeof *items);
    if (!items) return me_fail_memory(err, "token sequences");
    for (int i = 0; i < sequences->n; i++) {
        const int p = sequences->items[i].edit_pos;
        items[i] = (me_sequence){.tokens = sequences->items[i].tokens,
                                 .n_tokens = p + 1,
                                 .edit_pos = p,
                                 .read_pos = p,
                                 .n_read = 1};
    }
    const me_sequences cut = {.items = items, .n = sequences->n};
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

mobiedit_status me_session_background(me_session *s, int layer, me_key_set *out, mobiedit_error *err) {
    const me_calibration *c = s->calibration;
    me_key_set *set = &s->background[layer];
    if (c && c->layer == layer && c->background_keys) {
        *out = (me_key_set){.keys = c->background_keys, .n = c->n_background_keys};
        return MOBIEDIT_OK;
    }
    if (!set->keys) ME_TRY(me_session_read_background(s, layer, set, err));
    *out = *set;
    return MOBIEDIT_OK;
}

mobiedit_status me_session_generated(me_session *s, int layer, me_key_set *out, mobiedit_error *err) {
    const me_calibration *c = s->calibration;
    me_key_set *set = &s->generated[layer];
    *out = (me_key_set){0};
    if (!c || c->n_texts == 0) return MOBIEDIT_OK;
    if (c->layer == layer && c->text_keys) {
        *out = (me_key_set){.keys = c->text_keys, .n = c->n_text_keys};
        return MOBIEDIT_OK;
    }
    if (!set->keys) {
        const me_sequences texts = {.items = me_calibration_text_sequences(c), .n = c->n_texts};
        const mobiedit_status status =
            texts.items ? me_session_keys(s, layer, &texts, set, err) : me_fail_memory(err, "the texts");
        me_free(texts.items);
        ME_TRY(status);
    }
    *out = *set;
    return MOBIEDIT_OK;
}

/* ---- neurons that can be spared ---------------------------------------------------------------------- */

typedef struct {
    float use;
    int index;
} used_neuron;

static int compare_use(const void *x, const void *y) {
    const used_neuron *a = x, *b = y;
    if (a->use != b->use) return a->use < b->use ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

static int compare_floats(const void *x, const void *y) {
    const float a = *(const float *)x, b = *(const float *)y;
    return (a > b) - (a < b);
}

/* used [d_ff]: sum over n tokens of activation^2, times the squared length of the neuron's column; the
 * matrix is read by rows. */
static void weigh_neurons(const me_tensor *down, const float *activations, int n, float *scratch,
                          used_neuron *used) {
    const size_t d_ff = (size_t)down->n_in;
    float *squares = scratch, *row = scratch + d_ff;
    for (int64_t r = 0; r < down->n_out; r++) {
        me_tensor_row(down, r, row);
        for (size_t i = 0; i < d_ff; i++)
            squares[i] += row[i] * row[i];
    }
    for (size_t i = 0; i < d_ff; i++)
        used[i] = (used_neuron){.index = (int)i};
    for (int t = 0; t < n; t++)
        for (size_t i = 0; i < d_ff; i++) {
            const float a = activations[(size_t)t * d_ff + i];
            used[i].use += a * a * squares[i];
        }
    qsort(used, d_ff, sizeof *used, compare_use);
}

/* loudest [n] is scratch */
static float measure_loudness(const float *activations, int n, size_t d_ff, float *loudest) {
    for (int t = 0; t < n; t++) {
        loudest[t] = 0;
        for (size_t i = 0; i < d_ff; i++)
            loudest[t] = fmaxf(loudest[t], fabsf(activations[(size_t)t * d_ff + i]));
    }
    qsort(loudest, (size_t)n, sizeof *loudest, compare_floats);
    return 2 * loudest[n / 2];
}

/* activations [n][d_ff] at the background keys, n of them, which were read from the same texts */
static mobiedit_status background_activations(me_session *s, int layer, const me_key_set *background,
                                              float *activations, mobiedit_error *err) {
    const struct me_engine_ops *ops = s->engine->ops;
    if (ops->activations_at)
        return ops->activations_at(s->engine, layer, background->keys, background->n, activations, err);
    me_sequences texts = {0};
    mobiedit_status status = me_sequences_add_texts(&texts, s->vocab, me_texts_background,
                                                    me_texts_count(me_texts_background), err);
    if (status == MOBIEDIT_OK)
        status = ops->activations(s->engine, layer, texts.items, texts.n, activations, err);
    me_sequences_free(&texts);
    return status;
}

static mobiedit_status find_spare(me_session *s, int layer, const me_key_set *background,
                                  me_spare_neurons *out, mobiedit_error *err) {
    const me_tensor *down = &s->engine->model->layers[layer].down;
    const size_t d_ff = (size_t)down->n_in;
    const int n = background->n;
    float *activations = me_calloc((size_t)n * d_ff, sizeof *activations);
    float *scratch = me_calloc(2 * d_ff + (size_t)n, sizeof *scratch);
    used_neuron *used = me_calloc(d_ff, sizeof *used);
    int *order = me_calloc(d_ff, sizeof *order);
    mobiedit_status status = activations && scratch && used && order
                                 ? background_activations(s, layer, background, activations, err)
                                 : me_fail_memory(err, "the neurons' activations");
    if (status == MOBIEDIT_OK) {
        weigh_neurons(down, activations, n, scratch, used);
        for (size_t i = 0; i < d_ff; i++)
            order[i] = used[i].index;
        const float loudness = measure_loudness(activations, n, d_ff, scratch + 2 * d_ff);
        *out = (me_spare_neurons){.order = order, .loudness = loudness > 0 ? loudness : 1};
        order = NULL;
    }
    me_free(activations);
    me_free(scratch);
    me_free(used);
    me_free(order);
    return status;
}

mobiedit_status me_session_spare(me_session *s, int layer, const me_spare_neurons **out,
                                 mobiedit_error *err) {
    me_spare_neurons *spare = &s->spare[layer];
    *out = spare;
    if (spare->order) return MOBIEDIT_OK;
    me_key_set background;
    ME_TRY(me_session_background(s, layer, &background, err));
    return find_spare(s, layer, &background, spare, err);
}

/* ---- other keys -------------------------------------------------------------------------------------- */

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

bool me_names_overlap(const char *subject, const char *name) {
    return strstr(subject, name) || strstr(name, subject);
}

/* The prompt up to its subject's last token, "{}" for the subject. Freed with me_free; NULL: out of memory.
 */
static char *names_context(const me_prompt *prompt) {
    const size_t size = prompt->subject_end + sizeof "{}";
    char *context = me_calloc(size, 1);
    if (context)
        (void)snprintf(context, size, "%.*s{}%.*s", (int)prompt->subject_begin, prompt->text,
                       (int)prompt->tail, prompt->text + prompt->subject_end - prompt->tail);
    return context;
}

static mobiedit_status add_name(const me_session *s, const char *context, const me_prompt *prompt,
                                const char *name, me_sequences *out, mobiedit_error *err) {
    const me_context named = {.context = context, .subject = name, .core = strlen(name) + prompt->tail};
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
static mobiedit_status add_near_names(const me_session *s, const char *context, const me_prompt *prompt,
                                      const me_name_choice *choice, me_sequences *out, mobiedit_error *err) {
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
    if (status == MOBIEDIT_OK && sequences.n) status = me_session_keys(s, layer, &sequences, out, err);
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
