/* Fuzzes the reader of calibrations: any bytes are refused with one line, or give one of the model's size
 * whose values are all numbers. */
#define _GNU_SOURCE
#include "bare_model.h"
#include "bytes_file.h"
#include "edit/measure.h"
#include "store/calibration_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What callers rely on; a breach ends the run. */
static void check(const me_calibration *c, const me_model *model) {
    if (c->layer < 0 || c->layer > model->n_layer - 2 || c->n_done < 0 || c->n_done > c->n_total) abort();
    for (int k = 0; k < ME_CALIBRATION_KINDS; k++)
        for (int block = 0; block < ME_CALIBRATION_BLOCKS; block++)
            if (c->counts[k][block] < 0 || c->counts[k][block] > c->n_done) abort();
    for (int i = 0; i < ME_CALIBRATION_KINDS * c->d * c->d; i++)
        if (!isfinite(c->means[i])) abort();
    const me_layer_trials *t = &c->trials;
    if (t->n_layers < 0 || t->n_layers > ME_LAYER_CANDIDATES || t->usual < 0 ||
        (t->n_layers && t->usual >= t->n_layers) || t->n_done < 0 || me_layer_trials_left(t) < 0)
        abort();
    for (int i = 0; i < t->n_layers; i++)
        if (t->layers[i] < 0 || t->layers[i] > model->n_layer - 2) abort();
    for (int i = 0; i < t->n_done; i++)
        if (!isfinite(t->losses[i])) abort();
    if (me_layer_trials_left(t) && c->n_done) abort();
    if (c->n_texts < 0 || c->n_texts > ME_CALIBRATION_TEXTS) abort();
    int n_tokens = 0;
    for (int i = 0; i < c->n_texts; i++) {
        const int32_t *text = c->texts + (size_t)i * ME_CALIBRATION_TEXT_TOKENS;
        const int n = me_calibration_text_length(text);
        for (int j = 0; j < n; j++)
            if (text[j] < 0 || text[j] >= model->n_vocab) abort();
        if (n == 0) abort();
        n_tokens += n;
    }
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
        const me_calibration_keys *k = &c->keys[p];
        if (k->layer < 0 || k->layer > model->n_layer - 2) abort();
        if (k->text && k->n_text != n_tokens) abort();
        for (int i = 0; k->text && i < n_tokens * c->d; i++)
            if (!isfinite(k->text[i])) abort();
        if (k->n_background < 0 || !k->background != (k->n_background == 0)) abort();
        for (int i = 0; i < k->n_background * c->d; i++)
            if (!isfinite(k->background[i])) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const me_model model = bare_model();
    bytes_file file = bytes_file_open(data, size, 0);
    me_calibration *calibration = NULL;
    mobiedit_error err = {0};
    if (me_calibration_begin(&model, 0, &calibration, &err) != MOBIEDIT_OK) abort();
    if (me_calibration_file_read(&model, BARE_FINGERPRINT, file.path, calibration, &err) == MOBIEDIT_OK)
        check(calibration, &model);
    else if (err.status == MOBIEDIT_OK || strchr(err.message, '\n'))
        abort();
    me_calibration_close(calibration);
    bytes_file_close(&file);
    return 0;
}
