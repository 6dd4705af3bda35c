/* A calibration in memory. */
#include "model/calibration.h"

#include "base/memory.h"

mobiedit_status me_calibration_open(const me_model *model, int layer, int n_prompts, uint64_t background_hash,
                                    me_calibration **out, mobiedit_error *err) {
    const size_t d = (size_t)model->d_model;
    me_calibration *c = me_calloc(1, sizeof *c);
    if (!c) return me_fail_memory(err, "the calibration");
    *c = (me_calibration){
        .layer = layer,
        .d = model->d_model,
        .n_total = n_prompts,
        .background_hash = background_hash,
        .means = me_calloc(ME_CALIBRATION_KINDS * d * d, sizeof(float)),
        .texts = me_calloc((size_t)ME_CALIBRATION_TEXTS * ME_CALIBRATION_TEXT_TOKENS, sizeof(int32_t))};
    if (c->means && c->texts) {
        *out = c;
        return MOBIEDIT_OK;
    }
    me_calibration_close(c);
    return me_fail_memory(err, "the calibration");
}

void me_calibration_close(me_calibration *c) {
    if (!c) return;
    me_free(c->means);
    me_free(c->texts);
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
        me_free(c->keys[p].text);
        me_free(c->keys[p].background);
    }
    me_free(c);
}

void me_calibration_add_text(me_calibration *c, const int32_t *tokens, int n) {
    int32_t *row = c->texts + (size_t)c->n_texts++ * ME_CALIBRATION_TEXT_TOKENS;
    for (int i = 0; i < ME_CALIBRATION_TEXT_TOKENS; i++)
        row[i] = i < n ? tokens[i] : ME_NO_TOKEN;
}
