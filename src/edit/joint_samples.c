/* Collects the samples of the joint solve. */
#include "edit/joint_samples.h"

#include "base/memory.h"
#include "edit/answer_keys.h"
#include "edit/texts.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Most samples of each kind; what ME_KEY_MAX leaves is for the subjects. */
enum {
    MAX_BACKGROUND = 1000,
    MAX_GENERATED = 5000,
    MAX_NAMES = 700,
    MAX_NEAR_NAMES = 600,
    MAX_AROUND = 500,
    MAX_ASKED = 300, /* names, in other words */
    MAX_OTHERS = 2000,
    MAX_SAID = 1000,
    MAX_KEEP = 200,
    MAX_ELSEWHERE = 1000
};
/* A key to keep that points where a subject's key does would forbid that edit. */
static const float SAME_KEY = 0.95F;
/* ---- order ------------------------------------------------------------------------------------------- */

static size_t subject_length(const me_prompt *p) {
    return p->subject_end - p->subject_begin;
}

static int compare_subjects(const me_prompt *a, const me_prompt *b) {
    const size_t n = subject_length(a), m = subject_length(b);
    const int order = memcmp(a->text + a->subject_begin, b->text + b->subject_begin, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

/* "My sister" and "my sister" are one subject, but their keys are two. */
bool me_same_subject(const me_prompt *a, const me_prompt *b) {
    const char *first = a->text + a->subject_begin, *second = b->text + b->subject_begin;
    const size_t n = subject_length(a);
    if (n != subject_length(b)) return false;
    return memcmp(first, second, n) == 0 ||
           (n > 1 && me_begins_small(first) && me_begins_small(second) &&
            strncasecmp(first, second, 1) == 0 && memcmp(first + 1, second + 1, n - 1) == 0);
}

/* The text before the subject: what a key at the subject depends on. */
static bool same_before(const me_prompt *a, const me_prompt *b) {
    return a->subject_begin == b->subject_begin && memcmp(a->text, b->text, a->subject_begin) == 0;
}

/* Whether the prompts are edited at the same kind of place, and have the same text around their subjects, as
 * far as a key there knows it. `tail` as me_prompt_settle gives it. */
static bool same_surroundings(const me_prompt *a, const me_prompt *b) {
    if (a->at_answer != b->at_answer || !same_before(a, b)) return false;
    if (a->at_answer) return strcmp(a->text + a->subject_end, b->text + b->subject_end) == 0;
    return a->tail == b->tail &&
           memcmp(a->text + a->subject_end - a->tail, b->text + b->subject_end - b->tail, a->tail) == 0;
}

bool me_same_key(const me_prompt *a, const me_prompt *b) {
    if (a->at_answer != b->at_answer || compare_subjects(a, b) != 0) return false;
    return a->at_answer ? strcmp(a->text, b->text) == 0 : same_before(a, b);
}

static int compare_befores(const me_prompt *a, const me_prompt *b) {
    const size_t n = a->subject_begin, m = b->subject_begin;
    const int order = memcmp(a->text, b->text, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

/* By layer, kind of place, subject, what stands before it, the rest of the prompt, and target: an order that does not depend
 * on the caller's. */
int me_joint_compare_items(const void *x, const void *y) {
    const me_joint_edit *a = ((const me_joint_item *)x)->edit, *b = ((const me_joint_item *)y)->edit;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    if (a->prompt->at_answer != b->prompt->at_answer) return a->prompt->at_answer ? 1 : -1;
    int order = compare_subjects(a->prompt, b->prompt);
    if (order == 0) order = compare_befores(a->prompt, b->prompt);
    if (order == 0) order = strcmp(a->prompt->text, b->prompt->text);
    return order ? order : strcmp(a->prompt->target, b->prompt->target);
}

/* ---- samples of one layer ---------------------------------------------------------------------------- */

void me_joint_samples_free(me_joint_samples *samples) {
    for (int i = 0; i < samples->n_owned; i++)
        me_free(samples->owned[i]);
    me_free(samples->owned);
    me_free(samples->groups);
    me_free(samples->unit);
    me_free(samples->prompts);
}

static mobiedit_status open_samples(me_joint_samples *samples, mobiedit_error *err) {
    /* each edit may bring names, near names, asked names, other prompts, its target and prompts to keep, each
     * unit its keys and the prompt's own; four groups are shared */
    samples->capacity = 8 * samples->n + 4;
    samples->unit = me_calloc((size_t)samples->n, sizeof *samples->unit);
    samples->groups = me_calloc((size_t)samples->capacity, sizeof *samples->groups);
    samples->owned = me_calloc((size_t)samples->capacity, sizeof *samples->owned);
    samples->prompts = me_calloc((size_t)samples->n, sizeof *samples->prompts);
    if (!samples->unit || !samples->groups || !samples->owned || !samples->prompts)
        return me_fail_memory(err, "the joint solve");
    for (int i = 0; i < samples->n; i++)
        ME_TRY(me_prompt_settle(samples->session->vocab, samples->items[i].edit->prompt, &samples->prompts[i],
                                err));
    for (int i = 0; i < samples->n; i++) {
        if (i > 0 && !me_same_key(samples->items[i].edit->prompt, samples->items[i - 1].edit->prompt))
            samples->n_units++;
        samples->unit[i] = samples->n_units;
    }
    samples->n_units++;
    return MOBIEDIT_OK;
}

/* Takes keys over as a group of samples, at most `most` of them, evenly spread. */
static void add_group(me_joint_samples *samples, me_key_set set, int most, me_key_group group) {
    const size_t d = (size_t)samples->d;
    if (!set.keys) return;
    const int n = set.n < most ? set.n : most;
    for (int i = 0; i < n; i++) {
        const size_t from = (size_t)i * (size_t)set.n / (size_t)n;
        if (from != (size_t)i) memcpy(set.keys + (size_t)i * d, set.keys + from * d, d * sizeof(float));
    }
    samples->owned[samples->n_owned++] = set.keys;
    if (n == 0) return;
    group.keys = set.keys;
    group.n = n;
    samples->groups[samples->n_groups++] = group;
    samples->n_samples += n;
}

/* The session's keys are not ours to thin out. */
static mobiedit_status add_text(me_joint_samples *samples, const me_key_set *all, int most, float weight,
                                mobiedit_error *err) {
    const size_t size = (size_t)all->n * (size_t)samples->d;
    me_key_set copy = {.keys = me_calloc(size, sizeof(float)), .n = all->n};
    if (!copy.keys) return me_fail_memory(err, "keys");
    memcpy(copy.keys, all->keys, size * sizeof(float));
    add_group(samples, copy, most, (me_key_group){.weight = weight});
    return MOBIEDIT_OK;
}

/* Plain text, and what the model wrote itself where it is calibrated: each token weighs the same. With many
 * edits drift is what the solve does not know of other text (doc/experiments/background-text.md). */
static mobiedit_status add_background(me_joint_samples *samples, mobiedit_error *err) {
    me_key_set plain, generated;
    ME_TRY(me_session_background(samples->session, samples->layer, &plain, err));
    ME_TRY(me_session_generated(samples->session, samples->layer, &generated, err));
    const int n_plain = plain.n < MAX_BACKGROUND ? plain.n : MAX_BACKGROUND;
    const int n_generated = generated.n < MAX_GENERATED ? generated.n : MAX_GENERATED;
    const float weight = ME_KEY_TEXT_WEIGHT / (float)(n_plain + n_generated);
    ME_TRY(add_text(samples, &plain, n_plain, weight * (float)n_plain, err));
    return n_generated ? add_text(samples, &generated, n_generated, weight * (float)n_generated, err)
                       : MOBIEDIT_OK;
}

/* ---- names ------------------------------------------------------------------------------------------- */

/* Whether an earlier edit of the layer has the same text around its subject. */
static bool surroundings_are_known(const me_joint_samples *samples, int i) {
    for (int j = 0; j < i; j++)
        if (same_surroundings(&samples->prompts[i], &samples->prompts[j])) return true;
    return false;
}

/* A subject that is edited is no other name. */
static bool is_edited(const void *user, const char *name) {
    const me_joint_samples *samples = user;
    for (int i = 0; i < samples->n; i++) {
        const me_prompt *p = samples->items[i].edit->prompt;
        if (i > 0 && samples->unit[i] == samples->unit[i - 1]) continue;
        char subject[256];
        const size_t n = subject_length(p) < sizeof subject - 1 ? subject_length(p) : sizeof subject - 1;
        memcpy(subject, p->text + p->subject_begin, n);
        subject[n] = 0;
        if (me_names_overlap(subject, name)) return true;
    }
    return false;
}

/* Names that end like a subject hold part of it, so that here only the whole counts. */
static bool is_edited_whole(const void *user, const char *name) {
    const me_joint_samples *samples = user;
    const size_t n = strlen(name);
    for (int i = 0; i < samples->n; i++) {
        const me_prompt *p = samples->items[i].edit->prompt;
        if (subject_length(p) == n && memcmp(p->text + p->subject_begin, name, n) == 0) return true;
    }
    return false;
}

static mobiedit_status add_names_around(me_joint_samples *samples, const me_prompt *prompt,
                                        const me_name_choice *choice, int n_contexts, mobiedit_error *err) {
    me_key_set names = {0};
    const mobiedit_status status =
        me_session_names(samples->session, samples->layer, prompt, choice, &names, err);
    add_group(samples, names, MAX_NAMES,
              (me_key_group){.weight = me_key_weights_of(prompt->at_answer).names / (float)n_contexts});
    return status;
}

/* Other names in each prompt. Prompts that begin alike share them; where there are many prompts, each takes
 * some of the names, and all together take all. */
static mobiedit_status add_names(me_joint_samples *samples, mobiedit_error *err) {
    int n_contexts = 0, n_names = 0, context = 0;
    for (int i = 0; i < samples->n; i++)
        n_contexts += !surroundings_are_known(samples, i);
    while (me_texts_names[n_names])
        n_names++;
    const int step = 1 + n_names * n_contexts / MAX_NAMES;
    for (int i = 0; i < samples->n; i++) {
        if (surroundings_are_known(samples, i)) continue;
        const me_name_choice choice = {
            .first = context % step, .step = step, .skips = is_edited, .user = samples};
        context++;
        /* Of more prompts than names that may be taken, those beyond have none of their own. */
        if (step > n_names && context > MAX_NAMES) break;
        ME_TRY(add_names_around(samples, &samples->prompts[i], &choice, n_contexts, err));
    }
    return MOBIEDIT_OK;
}

/* Each unit's subject with other first words, of which each takes some where there are many units. All
 * together weigh as much as those of one edit: every column answers to all of them, and where their weight
 * grows with the units, `left` grows long to be 0 on them and answers to any text. */
static mobiedit_status add_near_names(me_joint_samples *samples, mobiedit_error *err) {
    const int n_words = (int)me_texts_count(me_texts_first_words);
    const int step = 1 + n_words * samples->n_units / MAX_NEAR_NAMES;
    for (int i = 0; i < samples->n; i++) {
        if ((i > 0 && samples->unit[i] == samples->unit[i - 1]) || samples->unit[i] >= MAX_NEAR_NAMES)
            continue;
        const me_name_choice choice = {
            .first = samples->unit[i] % step, .step = step, .skips = is_edited_whole, .user = samples};
        me_key_set names = {0};
        ME_TRY(me_session_near_names(samples->session, samples->layer, &samples->prompts[i], &choice, &names,
                                     err));
        add_group(samples, names, names.n,
                  (me_key_group){.weight = ME_KEY_NEAR_NAMES_WEIGHT / (float)samples->n_units});
    }
    return MOBIEDIT_OK;
}

/* ---- keys that may not be held at 0 ---------------------------------------------------------------------- */

static float cosine(const float *a, const float *b, int n) {
    const float length = cblas_snrm2(n, a, 1) * cblas_snrm2(n, b, 1);
    return length > 0 ? cblas_sdot(n, a, 1, b, 1) / length : 0;
}

/* Whether a key is that of a subject that is edited, which must not be held at 0. */
static bool points_at_a_subject(const me_joint_samples *samples, const float *key) {
    for (int i = 0; i < samples->n; i++)
        for (int j = 0; j < samples->items[i].edit->n_keys; j++)
            if (cosine(key, samples->items[i].edit->keys + (size_t)j * (size_t)samples->d, samples->d) >
                SAME_KEY)
                return true;
    return false;
}

/* Leaves out keys that point at a subject of the layer. */
static void drop_subjects(const me_joint_samples *samples, me_key_set *keys) {
    const size_t d = (size_t)samples->d;
    int kept = 0;
    for (int j = 0; j < keys->n; j++) {
        const float *key = keys->keys + (size_t)j * d;
        if (!points_at_a_subject(samples, key))
            memmove(keys->keys + (size_t)kept++ * d, key, d * sizeof *key);
    }
    keys->n = kept;
}

/* ---- of edits at the answer ------------------------------------------------------------------------------ */

static int count_answers(const me_joint_samples *samples) {
    int n = 0;
    for (int i = 0; i < samples->n; i++)
        n += samples->prompts[i].at_answer;
    return n;
}

/* Other names in other words; each edit takes some where there are many. */
static mobiedit_status add_asked(me_joint_samples *samples, mobiedit_error *err) {
    const int n_edits = count_answers(samples), n_names = (int)me_texts_count(me_texts_names);
    const int step = ME_KEY_ASKED_STEP + n_names * n_edits / MAX_ASKED;
    for (int i = 0, at = 0; i < samples->n; i++) {
        if (!samples->prompts[i].at_answer || at >= MAX_ASKED) continue;
        const me_name_choice choice = {
            .first = at++ % step, .step = step, .skips = is_edited, .user = samples};
        const me_answer_choice asked = {.names = &choice};
        me_answer_keys keys;
        ME_TRY(
            me_answer_keys_read(samples->session, samples->layer, &samples->prompts[i], &asked, &keys, err));
        add_group(samples, keys.asked, keys.asked.n,
                  (me_key_group){.weight = ME_KEY_ASKED_WEIGHT / (float)n_edits});
    }
    return MOBIEDIT_OK;
}

/* What else is said of each subject, but what another edit is about. */
static mobiedit_status add_others(me_joint_samples *samples, mobiedit_error *err) {
    const int n_edits = count_answers(samples);
    const int step = 1 + ME_ANSWER_OTHERS * n_edits / MAX_OTHERS;
    for (int i = 0, at = 0; i < samples->n; i++) {
        if (!samples->prompts[i].at_answer || at >= MAX_OTHERS) continue;
        const me_text_choice choice = {.first = at++ % step, .step = step};
        const me_answer_choice others = {.others = &choice};
        me_answer_keys keys;
        ME_TRY(
            me_answer_keys_read(samples->session, samples->layer, &samples->prompts[i], &others, &keys, err));
        drop_subjects(samples, &keys.others);
        add_group(samples, keys.others, MAX_OTHERS / n_edits + 1,
                  (me_key_group){.weight = ME_KEY_OTHERS_WEIGHT});
    }
    return MOBIEDIT_OK;
}

/* Each target in its edit's carriers, and what the model says behind it. */
static mobiedit_status said_keys(const me_joint_samples *samples, int i, me_key_set *out,
                                 mobiedit_error *err) {
    const me_prompt *prompt = &samples->prompts[i];
    const me_vocab *vocab = samples->session->vocab;
    const me_carrier_options options = {.n_prefixed = ME_PREFIXED_CARRIERS, .reworded = true};
    me_sequences carriers = {0};
    size_t core;
    ME_TRY(me_subject_core(vocab, prompt, &core, err));
    mobiedit_status status = me_carriers_make(vocab, prompt, core, &options, &carriers, err);
    if (status == MOBIEDIT_OK) status = me_session_go_on(samples->session, ME_BEHIND, &carriers, err);
    const me_answer_choice said = {.carriers = &carriers};
    me_answer_keys keys = {0};
    if (status == MOBIEDIT_OK)
        status = me_answer_keys_read(samples->session, samples->layer, prompt, &said, &keys, err);
    *out = keys.said;
    me_sequences_free(&carriers);
    return status;
}

static mobiedit_status add_said(me_joint_samples *samples, mobiedit_error *err) {
    const int n_edits = count_answers(samples);
    for (int i = 0, at = 0; i < samples->n; i++) {
        if (!samples->prompts[i].at_answer || at++ >= MAX_SAID) continue;
        me_key_set keys = {0};
        ME_TRY(said_keys(samples, i, &keys, err));
        drop_subjects(samples, &keys);
        add_group(samples, keys, MAX_SAID / n_edits + 1, (me_key_group){.weight = ME_KEY_SAID_WEIGHT});
    }
    return MOBIEDIT_OK;
}

/* ---- the prompts' own tokens, and what is to be kept ------------------------------------------------- */

/* The prompt with its target. At the answer the target's last token counts too: it stands behind the sequence. */
static mobiedit_status add_bare(const me_joint_samples *samples, int i, me_sequences *out,
                                mobiedit_error *err) {
    const me_prompt *prompt = samples->items[i].edit->prompt;
    ME_TRY(me_session_add_prompt(samples->session, prompt, prompt->target, out, err));
    out->items[out->n - 1].n_tokens += prompt->at_answer;
    return MOBIEDIT_OK;
}

static mobiedit_status add_around(me_joint_samples *samples, mobiedit_error *err) {
    me_sequences bare = {0};
    me_key_set keys = {0};
    mobiedit_status status = MOBIEDIT_OK;
    const int step = (samples->n + MAX_AROUND - 1) / MAX_AROUND;
    for (int i = 0; i < samples->n && status == MOBIEDIT_OK; i += step)
        status = add_bare(samples, i, &bare, err);
    if (status == MOBIEDIT_OK)
        status = me_session_keys_around(samples->session, samples->layer, bare.items, bare.n, &keys, err);
    me_sequences_free(&bare);
    add_group(samples, keys, MAX_AROUND,
              (me_key_group){.weight = count_answers(samples) ? ME_KEY_SAID_WEIGHT : 1});
    return status;
}

/* The subjects that other layers' edits are about: a neuron here that stirs at one of them changes the key
 * that its own neuron, further up, reads. */
static mobiedit_status add_elsewhere(me_joint_samples *samples, mobiedit_error *err) {
    me_sequences bare = {0};
    me_key_set keys = {0};
    mobiedit_status status = MOBIEDIT_OK;
    for (int i = 0; i < samples->n_all && status == MOBIEDIT_OK; i++)
        if (samples->all[i].edit->layer != samples->layer)
            status = me_session_add_prompt(samples->session, samples->all[i].edit->prompt, NULL, &bare, err);
    if (status == MOBIEDIT_OK && bare.n)
        status = me_session_keys(samples->session, samples->layer, &bare, &keys, err);
    me_sequences_free(&bare);
    drop_subjects(samples, &keys);
    add_group(samples, keys, MAX_ELSEWHERE, (me_key_group){.weight = (float)keys.n});
    return status;
}

static mobiedit_status add_keep(me_joint_samples *samples, mobiedit_error *err) {
    for (int i = 0; i < samples->n; i++) {
        const me_joint_edit *edit = samples->items[i].edit;
        me_key_set keys = {0};
        ME_TRY(me_session_text_keys(samples->session, samples->layer, edit->keep, edit->n_keep, &keys, err));
        drop_subjects(samples, &keys);
        add_group(samples, keys, MAX_KEEP / samples->n + 1, (me_key_group){.weight = (float)keys.n});
    }
    return MOBIEDIT_OK;
}

/* ---- units ------------------------------------------------------------------------------------------- */

/* Whether another unit of the subject has the key too. */
static bool is_ambiguous(const me_joint_samples *samples, int unit, const me_prompt *prompt,
                         const float *key) {
    for (int i = 0; i < samples->n; i++) {
        const me_joint_edit *other = samples->items[i].edit;
        if (samples->unit[i] == unit || !me_same_subject(other->prompt, prompt)) continue;
        for (int j = 0; j < other->n_keys; j++)
            if (cosine(key, other->keys + (size_t)j * (size_t)samples->d, samples->d) > SAME_KEY) return true;
    }
    return false;
}

/* The keys of edits [first, last), which are one unit, without ambiguous ones; the bare prompts' stay in any
 * case. rows has room for all. Returns how many. */
static int list_keys(const me_joint_samples *samples, int first, int last, const float **rows) {
    int n = 0;
    for (int i = first; i < last; i++) {
        const me_joint_edit *edit = samples->items[i].edit;
        for (int j = 0; j < edit->n_keys; j++) {
            const float *key = edit->keys + (size_t)j * (size_t)samples->d;
            if (j == 0 || !is_ambiguous(samples, samples->unit[first], edit->prompt, key)) rows[n++] = key;
        }
    }
    return n;
}

/* m rows of `total` keys: all where they are no more, else means of neighbouring ones. */
static mobiedit_status mean_keys(const me_joint_samples *samples, const float *const *rows, int total, int m,
                                 me_key_set *out, mobiedit_error *err) {
    const size_t d = (size_t)samples->d;
    float *keys = me_calloc((size_t)m * d, sizeof *keys);
    if (!keys) return me_fail_memory(err, "keys");
    for (int i = 0; i < m; i++) {
        const int from = (int)((long)i * total / m), to = (int)((long)(i + 1) * total / m);
        for (int j = from; j < to; j++)
            cblas_saxpy(samples->d, 1.0F / (float)(to - from), rows[j], 1, keys + (size_t)i * d, 1);
    }
    *out = (me_key_set){.keys = keys, .n = m};
    return MOBIEDIT_OK;
}

static mobiedit_status unit_keys(const me_joint_samples *samples, int first, int last, int most,
                                 me_key_set *out, mobiedit_error *err) {
    int total = 0;
    for (int i = first; i < last; i++)
        total += samples->items[i].edit->n_keys;
    const float **rows = me_calloc((size_t)total, sizeof *rows);
    if (!rows) return me_fail_memory(err, "keys");
    total = list_keys(samples, first, last, rows);
    const mobiedit_status status = mean_keys(samples, rows, total, total < most ? total : most, out, err);
    me_free(rows);
    return status;
}

static int unit_end(const me_joint_samples *samples, int first) {
    int last = first + 1;
    while (last < samples->n && samples->unit[last] == samples->unit[first])
        last++;
    return last;
}

/* The bare prompt's key once more, as for one edit. */
static void add_own_key(me_joint_samples *samples, int first) {
    samples->groups[samples->n_groups++] = (me_key_group){.keys = samples->items[first].edit->keys,
                                                          .n = 1,
                                                          .target = 1,
                                                          .column = samples->unit[first],
                                                          .weight = ME_KEY_OWN_WEIGHT};
    samples->n_samples++;
}

static mobiedit_status add_units(me_joint_samples *samples, mobiedit_error *err) {
    const int most = (ME_KEY_MAX - samples->n_samples) / samples->n_units - 1;
    if (most < 1)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%d edits at layer %d are too many to be solved together",
                       samples->n_units, samples->layer);
    for (int first = 0, last; first < samples->n; first = last) {
        last = unit_end(samples, first);
        me_key_set keys = {0};
        ME_TRY(unit_keys(samples, first, last, most, &keys, err));
        add_group(samples, keys, most,
                  (me_key_group){.target = 1,
                                 .column = samples->unit[first],
                                 .weight = me_key_weights_of(samples->prompts[first].at_answer).own});
        add_own_key(samples, first);
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_joint_samples_collect(me_joint_samples *samples, mobiedit_error *err) {
    ME_TRY(open_samples(samples, err));
    ME_TRY(add_background(samples, err));
    ME_TRY(add_names(samples, err));
    ME_TRY(add_near_names(samples, err));
    ME_TRY(add_asked(samples, err));
    ME_TRY(add_others(samples, err));
    ME_TRY(add_said(samples, err));
    ME_TRY(add_around(samples, err));
    ME_TRY(add_keep(samples, err));
    ME_TRY(add_elsewhere(samples, err));
    return add_units(samples, err);
}
