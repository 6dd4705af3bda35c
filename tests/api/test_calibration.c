/* Calibration: what is measured of a small model is what its passes give, and its file is whole, the model's
 * own, or refused. */
#define _GNU_SOURCE
#include "edit/measure.h"

#include "base/memory.h"
#include "edit/basis.h"
#include "edit/carriers.h"
#include "edit/texts.h"
#include "edit/trials.h"
#include "opened_model.h"
#include "scratch.h"
#include "store/calibration_file.h"
#include "store/fingerprint.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LAYER = 1, D = 64 };

static opened_model opened;
static me_model *model;
static me_vocab *vocab;
static me_engine *engine;
static me_session *session;
static me_calibration *measured;
static size_t evaluations;
static char fingerprint[ME_FINGERPRINT_SIZE];

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    const tiny_model_options options = {.n_layer = 4};
    const char *path = scratch_path("model.gguf");
    if (!tiny_model_write(path, "llama", &options) || !opened_model_open(&opened, path, 2)) return -1;
    model = opened.model;
    vocab = opened.vocab;
    engine = opened.engine;
    session = opened.session;
    if (me_fingerprint(model, fingerprint, NULL) || me_calibration_begin(model, LAYER, &measured, NULL))
        return -1;
    static const int32_t words[ME_CALIBRATION_TEXT_TOKENS + 1] = {1, 2, 3, 4, 5, 6};
    me_calibration_add_text(measured, words, 5);
    me_calibration_add_text(measured, words + 1, ME_CALIBRATION_TEXT_TOKENS);
    if (me_calibration_measure_keys(session, measured, NULL) != MOBIEDIT_OK) return -1;
    while (measured->n_done < measured->n_total)
        if (me_calibration_measure(session, measured, &evaluations, NULL) != MOBIEDIT_OK) return -1;
    return model->d_model == D ? 0 : -1;
}

static int tear_down(void **state) {
    me_calibration_close(measured);
    opened_model_close(&opened);
    return scratch_close(state);
}

static void every_kind_is_measured(void **state) {
    (void)state;
    enum { PROMPTS_A_BLOCK = 12 };
    assert_int_equal(measured->n_total, PROMPTS_A_BLOCK * ME_CALIBRATION_BLOCKS);
    size_t carriers = 0;
    for (int k = 0; k < ME_KINDS; k++)
        for (int block = 0; block < ME_CALIBRATION_BLOCKS; block++) {
            assert_in_range(measured->counts[k][block], k == ME_KIND_OWN ? PROMPTS_A_BLOCK : 1,
                            PROMPTS_A_BLOCK);
            carriers += (size_t)measured->counts[k][block];
        }
    assert_int_equal(evaluations, carriers * (D / ME_CALIBRATION_BLOCKS + 1));
}

/* One prompt's J is what its passes give: a step along one dimension changes the final hidden vector so. */
static void one_prompt_is_as_its_passes(void **state) {
    (void)state;
    me_calibration *one;
    size_t count = 0;
    assert_int_equal(me_calibration_begin(model, LAYER, &one, NULL), MOBIEDIT_OK);
    assert_int_equal(me_calibration_measure(session, one, &count, NULL), MOBIEDIT_OK);
    char text[256];
    const char *hole = strstr(me_texts_calibration[0], "{}");
    (void)snprintf(text, sizeof text, "%.*s{%s}%s", (int)(hole - me_texts_calibration[0]),
                   me_texts_calibration[0], me_texts_names[0], hole + 2);
    const mobiedit_request request = {.prompt = text, .target = "x"};
    me_prompt prompt;
    me_sequences sequences = {0};
    me_prefix *prefix;
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    assert_int_equal(me_session_add_prompt(session, &prompt, NULL, &sequences, NULL), MOBIEDIT_OK);
    sequences.items[0].read_pos = sequences.items[0].n_tokens - 1;
    assert_int_equal(engine->ops->prefix(engine, LAYER, sequences.items, 1, &prefix, NULL), MOBIEDIT_OK);
    float delta[D] = {0}, hidden[D], length = 0, value = 0;
    for (int i = 0; i < D; i++) {
        length += prefix->hidden[i] * prefix->hidden[i];
        value += prefix->values[i] * prefix->values[i];
    }
    const int which = 0;
    for (int j = 0; j < D; j += 4 * ME_CALIBRATION_BLOCKS) {
        delta[j] = 0.1F * sqrtf(value);
        assert_int_equal(engine->ops->suffix(engine, prefix, delta, 1, &which, 1, hidden, NULL), MOBIEDIT_OK);
        delta[j] = 0;
        float along = 0;
        for (int i = 0; i < D; i++)
            along += (hidden[i] - prefix->hidden[i]) * prefix->hidden[i] / length;
        for (int i = 0; i < D; i++)
            assert_float_equal(one->means[j * D + i],
                               (hidden[i] - (1 + along) * prefix->hidden[i]) / (0.1F * sqrtf(length)), 1e-3F);
    }
    /* The other dimensions are for the prompts that follow. */
    for (int j = 0; j < D; j++)
        for (int i = 0; j % ME_CALIBRATION_BLOCKS && i < D; i++)
            assert_true(one->means[j * D + i] == 0);
    engine->ops->prefix_free(engine, prefix);
    me_sequences_free(&sequences);
    me_prompt_free(&prompt);
    me_calibration_close(one);
}

/* A second measurement of the same prompts gives the same, bit for bit. */
static void measuring_is_repeatable(void **state) {
    (void)state;
    me_calibration *again;
    size_t count = 0;
    assert_int_equal(me_calibration_begin(model, LAYER, &again, NULL), MOBIEDIT_OK);
    while (again->n_done < again->n_total)
        assert_int_equal(me_calibration_measure(session, again, &count, NULL), MOBIEDIT_OK);
    assert_int_equal(count, evaluations);
    assert_memory_equal(again->means, measured->means, ME_KINDS * D * D * sizeof(float));
    me_calibration_close(again);
}

static const char *write_file(void) {
    const char *path = scratch_path("calibration");
    assert_int_equal(me_calibration_file_write(measured, fingerprint, path, NULL), MOBIEDIT_OK);
    return path;
}

static mobiedit_status read_file(const char *path, const char *whose, me_calibration *out,
                                 mobiedit_error *err) {
    return me_calibration_file_read(model, whose, path, out, err);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    me_calibration *c;
    mobiedit_error err = {0};
    assert_int_equal(me_calibration_begin(model, 0, &c, NULL), MOBIEDIT_OK);
    assert_int_equal(read_file(write_file(), fingerprint, c, &err), MOBIEDIT_OK);
    assert_int_equal(c->layer, LAYER);
    assert_int_equal(c->n_done, measured->n_done);
    assert_memory_equal(c->counts, measured->counts, sizeof c->counts);
    assert_memory_equal(c->means, measured->means, ME_KINDS * D * D * sizeof(float));
    assert_int_equal(c->n_texts, 2);
    assert_memory_equal(c->texts, measured->texts, 2 * ME_CALIBRATION_TEXT_TOKENS * sizeof(int32_t));
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
        const me_calibration_keys *k = &c->keys[p], *written = &measured->keys[p];
        assert_int_equal(k->layer, written->layer);
        assert_int_equal(k->n_text, 5 + ME_CALIBRATION_TEXT_TOKENS);
        for (int i = 0; i < k->n_text * D; i++)
            assert_true(fabsf(k->text[i] - written->text[i]) <= 1e-3F * fabsf(written->text[i]) + 1e-6F);
        assert_int_equal(k->n_background, written->n_background);
        assert_memory_equal(k->background, written->background, (size_t)k->n_background * D * sizeof(float));
    }
    assert_int_equal(c->keys[0].layer, LAYER);
    assert_int_equal(c->keys[1].layer, me_answer_layer(model));
    me_calibration_close(c);
}

/* A later build with other background sentences: theirs are measured again. */
static void keys_of_other_sentences_are_not_taken(void **state) {
    (void)state;
    measured->background_hash ^= 1;
    const char *path = write_file();
    measured->background_hash ^= 1;
    me_calibration *c;
    assert_int_equal(me_calibration_begin(model, 0, &c, NULL), MOBIEDIT_OK);
    assert_int_equal(read_file(path, fingerprint, c, NULL), MOBIEDIT_OK);
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
        assert_non_null(c->keys[p].text);
        assert_null(c->keys[p].background);
        assert_int_equal(c->keys[p].n_background, 0);
    }
    me_calibration_close(c);
}

/* Before there are texts, and before they are measured. */
static void parts_may_be_missing(void **state) {
    (void)state;
    const char *path = scratch_path("calibration");
    const int n_texts = measured->n_texts;
    me_calibration_keys keys[ME_CALIBRATION_PLACES];
    memcpy(keys, measured->keys, sizeof keys);
    me_calibration *c;
    assert_int_equal(me_calibration_begin(model, 0, &c, NULL), MOBIEDIT_OK);
    for (int has_texts = 0; has_texts <= 1; has_texts++) {
        measured->n_texts = has_texts ? n_texts : 0;
        for (int p = 0; p < ME_CALIBRATION_PLACES; p++)
            measured->keys[p].text = measured->keys[p].background = NULL;
        const mobiedit_status status = me_calibration_file_write(measured, fingerprint, path, NULL);
        measured->n_texts = n_texts;
        memcpy(measured->keys, keys, sizeof keys);
        assert_int_equal(status, MOBIEDIT_OK);
        assert_int_equal(read_file(path, fingerprint, c, NULL), MOBIEDIT_OK);
        assert_int_equal(c->n_texts, has_texts ? n_texts : 0);
        for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
            assert_null(c->keys[p].text);
            assert_null(c->keys[p].background);
        }
    }
    me_calibration_close(c);
}

/* What the session has of the texts: the file's keys at the layer, the same from the engine at any. */
static void texts_serve_every_layer(void **state) {
    (void)state;
    me_key_set at_layer, none, again;
    assert_int_equal(me_session_generated(session, LAYER, &none, NULL), MOBIEDIT_OK);
    assert_null(none.keys);
    session->calibration = measured;
    assert_int_equal(me_session_generated(session, LAYER, &at_layer, NULL), MOBIEDIT_OK);
    assert_ptr_equal(at_layer.keys, measured->keys[0].text);
    measured->keys[0].layer = LAYER + 1;
    const mobiedit_status status = me_session_generated(session, LAYER, &again, NULL);
    measured->keys[0].layer = LAYER;
    session->calibration = NULL;
    assert_int_equal(status, MOBIEDIT_OK);
    assert_ptr_not_equal(again.keys, measured->keys[0].text);
    assert_int_equal(again.n, at_layer.n);
    assert_memory_equal(again.keys, at_layer.keys, (size_t)again.n * D * sizeof(float));
}

/* The same keys with a calibration as without, at its layer from it. */
static void background_comes_from_the_calibration(void **state) {
    (void)state;
    me_key_set without, with, elsewhere;
    assert_int_equal(me_session_background(session, LAYER, &without, NULL), MOBIEDIT_OK);
    session->calibration = measured;
    const mobiedit_status status = me_session_background(session, LAYER, &with, NULL);
    const mobiedit_status other = me_session_background(session, LAYER + 1, &elsewhere, NULL);
    session->calibration = NULL;
    assert_int_equal(status, MOBIEDIT_OK);
    assert_int_equal(other, MOBIEDIT_OK);
    assert_ptr_equal(with.keys, measured->keys[0].background);
    assert_ptr_not_equal(without.keys, with.keys);
    assert_int_equal(with.n, without.n);
    assert_memory_equal(with.keys, without.keys, (size_t)with.n * D * sizeof(float));
    assert_int_equal(elsewhere.n, with.n);
    assert_memory_not_equal(elsewhere.keys, with.keys, (size_t)with.n * D * sizeof(float));
}

/* ---- the layer --------------------------------------------------------------------------------------- */

static void layers_around_the_usual_one_are_tried(void **state) {
    (void)state;
    me_layer_trials trials;
    me_layer_trials_begin(model, &trials);
    assert_int_equal(trials.n_layers, 3); /* of layers 0 to 3 the last cannot be edited */
    for (int i = 0; i < trials.n_layers; i++)
        assert_int_equal(trials.layers[i], i);
    assert_int_equal(trials.layers[trials.usual], me_default_layer(model));
    assert_int_equal(trials.n_done, 0);
    assert_int_equal(me_layer_trials_left(&trials), 3 * ME_TRIAL_FACTS);
    assert_true(isnan(me_layer_trials_loss(&trials, 0)));
}

static void one_layer_needs_no_trials(void **state) {
    (void)state;
    me_model shallow = *model;
    shallow.n_layer = 2;
    me_layer_trials trials;
    me_layer_trials_begin(&shallow, &trials);
    assert_int_equal(trials.n_layers, 1);
    assert_int_equal(me_layer_trials_left(&trials), 0);
    assert_int_equal(me_layer_trials_choose(&trials), 0);
}

static void a_trial_gives_a_loss(void **state) {
    (void)state;
    me_layer_trials trials;
    size_t n = 0;
    me_layer_trials_begin(model, &trials);
    for (int i = 0; i < trials.n_layers; i++) {
        const size_t before = n;
        assert_int_equal(me_layer_trials_step(session, &trials, &n, NULL), MOBIEDIT_OK);
        assert_int_equal(trials.n_done, i + 1);
        assert_true(n > before);
        assert_true(isfinite(trials.losses[i]) && trials.losses[i] >= 0);
        assert_true(me_layer_trials_loss(&trials, i) == (double)trials.losses[i]);
    }
    me_layer_trials again;
    me_layer_trials_begin(model, &again);
    assert_int_equal(me_layer_trials_step(session, &again, &n, NULL), MOBIEDIT_OK);
    assert_memory_equal(again.losses, trials.losses, sizeof *again.losses);
}

static void another_layer_must_be_surely_better(void **state) {
    (void)state;
    static const struct {
        float gain, noise;
        int chosen;
    } cases[] = {{0, 0, 1}, {0.5F, 0.1F, 2}, {0.5F, 2, 1}, {-0.5F, 0.1F, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        me_layer_trials trials;
        me_layer_trials_begin(model, &trials);
        for (int i = 0; i < me_layer_trials_total(&trials); i++) {
            const float noise = i / trials.n_layers % 2 ? cases[c].noise : -cases[c].noise;
            trials.losses[trials.n_done++] = 3 - (i % trials.n_layers == 2 ? cases[c].gain + noise : 0);
        }
        assert_int_equal(me_layer_trials_choose(&trials), cases[c].chosen);
    }
}

static void trials_are_kept(void **state) {
    (void)state;
    const char *path = scratch_path("calibration");
    me_calibration *c, *read;
    assert_int_equal(me_calibration_begin(model, 1, &c, NULL), MOBIEDIT_OK);
    assert_int_equal(me_calibration_begin(model, 0, &read, NULL), MOBIEDIT_OK);
    me_layer_trials_begin(model, &c->trials);
    for (int n = 0; n <= me_layer_trials_total(&c->trials); n += 12) {
        while (c->trials.n_done < n)
            c->trials.losses[c->trials.n_done++] = 0.5F * (float)n;
        assert_int_equal(me_calibration_file_write(c, fingerprint, path, NULL), MOBIEDIT_OK);
        assert_int_equal(me_calibration_file_read(model, fingerprint, path, read, NULL), MOBIEDIT_OK);
        assert_memory_equal(&read->trials, &c->trials, sizeof c->trials);
    }
    me_calibration_close(read);
    me_calibration_close(c);
}

static void check_refused(const char *path, const char *whose, mobiedit_status status, const char *word) {
    me_calibration *c;
    mobiedit_error err = {0};
    assert_int_equal(me_calibration_begin(model, 0, &c, NULL), MOBIEDIT_OK);
    assert_int_equal(read_file(path, whose, c, &err), status);
    assert_non_null(strstr(err.message, word));
    me_calibration_close(c);
}

static void others_are_refused(void **state) {
    (void)state;
    check_refused(write_file(), "00000000000000000000000000000000", MOBIEDIT_E_MISMATCH, "another model");
    check_refused(scratch_path("model.gguf"), fingerprint, MOBIEDIT_E_FORMAT, "not a calibration");
    check_refused(scratch_path("nothing"), fingerprint, MOBIEDIT_E_IO, "nothing");
}

static void trials_are_checked(void **state) {
    (void)state;
    const me_layer_trials none = measured->trials;
    for (int bad = 0; bad < 4; bad++) {
        me_layer_trials_begin(model, &measured->trials);
        while (me_layer_trials_left(&measured->trials))
            measured->trials.losses[measured->trials.n_done++] = 1;
        if (bad == 0) measured->trials.layers[2] = model->n_layer - 1;
        if (bad == 1) measured->trials.usual = measured->trials.n_layers;
        if (bad == 2) measured->trials.losses[5] = NAN;
        if (bad == 3) measured->trials.n_done--; /* prompts come when all are made */
        const char *path = write_file();
        measured->trials = none;
        check_refused(path, fingerprint, MOBIEDIT_E_FORMAT, "damaged");
    }
}

static void tokens_are_checked(void **state) {
    (void)state;
    static const int32_t bad[] = {-2, INT32_MAX, ME_NO_TOKEN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int32_t was = measured->texts[ME_CALIBRATION_TEXT_TOKENS];
        measured->texts[ME_CALIBRATION_TEXT_TOKENS] = bad[i];
        const char *path = write_file();
        measured->texts[ME_CALIBRATION_TEXT_TOKENS] = was;
        check_refused(path, fingerprint, MOBIEDIT_E_FORMAT, "damaged");
    }
}

/* Cut anywhere, it is refused; with a byte of a number's exponent flipped, it is refused or finite. */
static void damage_is_noticed(void **state) {
    (void)state;
    const char *path = write_file();
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    assert_int_equal(fclose(file), 0);
    for (long cut = 0; cut < size - 32; cut += size / 23) {
        me_calibration *c;
        (void)write_file();
        assert_int_equal(truncate(path, cut), 0);
        assert_int_equal(me_calibration_begin(model, 0, &c, NULL), MOBIEDIT_OK);
        assert_int_equal(read_file(path, fingerprint, c, NULL), MOBIEDIT_E_FORMAT);
        me_calibration_close(c);
    }
    (void)write_file();
    file = fopen(path, "r+b");
    const float nan = NAN;
    assert_int_equal(fseek(file, -64, SEEK_END), 0);
    assert_int_equal(fwrite(&nan, sizeof nan, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    check_refused(path, fingerprint, MOBIEDIT_E_FORMAT, "not a number");
}

/* How much of what was measured the directions [n][D] reach: sum over the kinds and directions of |v J|^2. */
static double reached(const float *directions, int n) {
    double sum = 0;
    for (int k = 0; k < ME_KINDS; k++)
        for (int v = 0; v < n; v++)
            for (int o = 0; o < D; o++) {
                double moved = 0;
                for (int i = 0; i < D; i++)
                    moved += directions[v * D + i] * measured->means[(k * D + i) * D + o];
                sum += moved * moved;
            }
    return sum;
}

static void check_orthonormal(const float *directions, int n) {
    for (int a = 0; a < n; a++)
        for (int b = 0; b <= a; b++) {
            double product = 0;
            for (int i = 0; i < D; i++)
                product += directions[a * D + i] * directions[b * D + i];
            assert_true(fabs(product - (a == b)) < 1e-4);
        }
}

/* A calibration chooses the directions and guesses at the responses of a problem at its layer and a few
 * layers from there, and at no other. */
static void it_serves_layers_within_reach(void **state) {
    (void)state;
    me_prompt prompt;
    me_sequences carriers = {0};
    me_problem *problem;
    me_basis without;
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = "x"};
    const me_carrier_options options = {.n_prefixed = 1};
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    assert_int_equal(me_carriers_make(vocab, &prompt, 0, &options, &carriers, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_open(engine, LAYER, carriers.items, carriers.n, NULL,
                                     me_sequence_target(carriers.items), carriers.items->n_read, &problem,
                                     NULL),
                     MOBIEDIT_OK);
    assert_int_equal(me_basis_find(problem, NULL, 8, &without, NULL), MOBIEDIT_OK);
    assert_null(without.guesses);
    for (int away = -ME_CALIBRATION_REACH - 1; away <= ME_CALIBRATION_REACH + 1; away++) {
        const bool within = abs(away) <= ME_CALIBRATION_REACH;
        me_basis with;
        measured->layer = LAYER + away;
        assert_int_equal(me_basis_find(problem, measured, 8, &with, NULL), MOBIEDIT_OK);
        if (within)
            assert_true(reached(with.directions, 8) > 1.1 * reached(without.directions, 8));
        else
            assert_memory_equal(with.directions, without.directions, 8 * D * sizeof(float));
        check_orthonormal(with.directions, 8);
        assert_int_equal(with.guesses != NULL, within);
        me_basis_free(&with);
    }
    measured->keys[0].layer = LAYER;
    me_basis_free(&without);
    me_problem_close(problem);
    me_sequences_free(&carriers);
    me_prompt_free(&prompt);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind_is_measured),
                                       cmocka_unit_test(one_prompt_is_as_its_passes),
                                       cmocka_unit_test(measuring_is_repeatable),
                                       cmocka_unit_test(what_is_written_is_read),
                                       cmocka_unit_test(keys_of_other_sentences_are_not_taken),
                                       cmocka_unit_test(background_comes_from_the_calibration),
                                       cmocka_unit_test(parts_may_be_missing),
                                       cmocka_unit_test(texts_serve_every_layer),
                                       cmocka_unit_test(layers_around_the_usual_one_are_tried),
                                       cmocka_unit_test(one_layer_needs_no_trials),
                                       cmocka_unit_test(a_trial_gives_a_loss),
                                       cmocka_unit_test(another_layer_must_be_surely_better),
                                       cmocka_unit_test(trials_are_kept),
                                       cmocka_unit_test(trials_are_checked),
                                       cmocka_unit_test(tokens_are_checked),
                                       cmocka_unit_test(others_are_refused),
                                       cmocka_unit_test(damage_is_noticed),
                                       cmocka_unit_test(it_serves_layers_within_reach)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
