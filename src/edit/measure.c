/* Measures a calibration: responses to steps of delta, and keys of text. */
#include "edit/measure.h"

#include "base/memory.h"
#include "edit/carriers.h"
#include "edit/session.h"
#include "edit/texts.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* As the probe solver's differences, in |v|. */
static const float STEP = 0.1F;
/* Names are far apart in their list, so that all kinds of them come. */
enum { NAME_STRIDE = 37 };

mobiedit_status me_calibration_begin(const me_model *model, int layer, me_calibration **out,
                                     mobiedit_error *err) {
    return me_calibration_open(model, layer, (int)me_texts_count(me_texts_calibration),
                               me_texts_background_hash(), out, err);
}

/* ---- the model's own text ---------------------------------------------------------------------------- */

mobiedit_status me_calibration_measure_keys(me_session *session, me_calibration *c, mobiedit_error *err) {
    me_calibration_keys *at_answer = &c->keys[1];
    c->keys[0].layer = c->layer;
    if (!at_answer->text && !at_answer->background)
        at_answer->layer = me_answer_layer(session->engine->model);
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
        me_calibration_keys *k = &c->keys[p];
        me_key_set found = {0};
        if (!k->text) {
            ME_TRY(me_session_read_generated(session, c, k->layer, &found, err));
            k->text = found.keys;
            k->n_text = found.n;
        }
        if (!k->background) {
            ME_TRY(me_session_read_background(session, k->layer, &found, err));
            k->background = found.keys;
            k->n_background = found.n;
        }
    }
    return MOBIEDIT_OK;
}

/* ---- responses --------------------------------------------------------------------------------------- */

/* The carriers of the prompt's kinds, of which only the prompt itself is read: no target is asked for. */
static mobiedit_status make_carriers(const me_session *s, int prompt, me_sequences *out,
                                     mobiedit_error *err) {
    const char *pattern = me_texts_calibration[prompt], *hole = strstr(pattern, "{}");
    const char *name = me_texts_names[(size_t)prompt * NAME_STRIDE % me_texts_count(me_texts_names)];
    char text[256];
    (void)snprintf(text, sizeof text, "%.*s{%s}%s", (int)(hole - pattern), pattern, name, hole + 2);
    const mobiedit_request request = {.prompt = text, .target = "so"};
    const me_carrier_options options = {.reworded = true};
    me_prompt parsed, settled;
    size_t core;
    ME_TRY(me_prompt_parse(&request, &parsed, err));
    mobiedit_status status = me_prompt_settle(s->vocab, &parsed, &settled, err);
    if (status == MOBIEDIT_OK) status = me_subject_core(s->vocab, &settled, &core, err);
    if (status == MOBIEDIT_OK) status = me_carriers_make(s->vocab, &settled, core, &options, out, err);
    me_prompt_free(&parsed);
    for (int i = 0; status == MOBIEDIT_OK && i < out->n; i++) {
        out->items[i].n_read = 1;
        out->items[i].n_tokens = out->items[i].read_pos + 1;
    }
    return status;
}

/* Dimensions of the block: block, block + ME_CALIBRATION_BLOCKS, ... below d. */
static int block_size(int d, int block) {
    return (d - block + ME_CALIBRATION_BLOCKS - 1) / ME_CALIBRATION_BLOCKS;
}

/* Changes [n][d] of hidden [d] by steps of step |v| -> rows of J, in place. */
static void to_jacobian(float *responses, int n, float step, const float *hidden, int d) {
    const float length2 = cblas_sdot(d, hidden, 1, hidden, 1);
    if (!(length2 > 0)) return;
    for (int j = 0; j < n; j++) {
        float *row = responses + (size_t)j * (size_t)d;
        cblas_saxpy(d, -cblas_sdot(d, row, 1, hidden, 1) / length2, hidden, 1, row, 1);
        cblas_sscal(d, 1 / (step * sqrtf(length2)), row, 1);
    }
}

/* The block's rows of the kind's mean move towards those of the next J. */
static void take(me_calibration *c, int kind, int block, const float *rows) {
    const int d = c->d;
    float *mean = c->means + (size_t)kind * (size_t)d * (size_t)d;
    const float n = (float)++c->counts[kind][block];
    for (int i = 0, j = block; j < d; i++, j += ME_CALIBRATION_BLOCKS)
        cblas_saxpby(d, 1 / n, rows + (size_t)i * (size_t)d, 1, 1 - 1 / n, mean + (size_t)j * (size_t)d, 1);
}

/* One carrier, a block of the dimensions of delta. scratch: [2][block_size][d]. */
static mobiedit_status measure_carrier(me_engine *engine, me_calibration *c, const me_sequence *carrier,
                                       int kind, int block, float *scratch, mobiedit_error *err) {
    const size_t d = (size_t)c->d;
    const int n = block_size(c->d, block), which = 0;
    float *deltas = scratch, *responses = scratch + (size_t)n * d;
    me_prefix *prefix;
    ME_TRY(engine->ops->prefix(engine, c->layer, carrier, 1, &prefix, err));
    const float step = STEP > engine->least_step ? STEP : engine->least_step;
    const float length = step * cblas_snrm2(c->d, prefix->values, 1);
    memset(deltas, 0, (size_t)n * d * sizeof *deltas);
    for (size_t i = 0, j = (size_t)block; j < d; i++, j += ME_CALIBRATION_BLOCKS)
        deltas[i * d + j] = length;
    float *base = me_calloc(d, sizeof *base);
    mobiedit_status status =
        base ? engine->ops->responses(engine, prefix, base, deltas, n, &which, 1, responses, err)
             : me_fail_memory(err, "the calibration");
    me_free(base);
    if (status == MOBIEDIT_OK) {
        to_jacobian(responses, n, step, prefix->hidden, c->d);
        take(c, kind, block, responses);
    }
    engine->ops->prefix_free(engine, prefix);
    return status;
}

mobiedit_status me_calibration_measure(me_session *session, me_calibration *c, size_t *evaluations,
                                       mobiedit_error *err) {
    const int block = c->n_done % ME_CALIBRATION_BLOCKS;
    const size_t n = (size_t)block_size(c->d, block);
    me_sequences carriers = {0};
    float *scratch = me_calloc(2 * n * (size_t)c->d, sizeof *scratch);
    mobiedit_status status =
        scratch ? make_carriers(session, c->n_done, &carriers, err) : me_fail_memory(err, "the calibration");
    for (int i = 0; status == MOBIEDIT_OK && i < carriers.n; i++) {
        status =
            measure_carrier(session->engine, c, &carriers.items[i], carriers.kinds[i], block, scratch, err);
        *evaluations += n + 1;
    }
    if (status == MOBIEDIT_OK) c->n_done++;
    me_sequences_free(&carriers);
    me_free(scratch);
    return status;
}
