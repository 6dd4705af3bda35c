/* Rotary position embedding: tables of angles, and their use on a head. */
#include "engine/native/rope.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static bool same_rope(const me_rope *a, const me_rope *b) {
    return a->neox == b->neox && a->dims == b->dims && a->freq_base == b->freq_base &&
           a->freq_scale == b->freq_scale && a->ext_factor == b->ext_factor &&
           a->attn_factor == b->attn_factor && a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow &&
           a->n_ctx_orig == b->n_ctx_orig && a->freq_factors == b->freq_factors;
}

mobiedit_status me_ropes_open(const me_model *model, me_ropes *ropes, mobiedit_error *err) {
    ropes->tables = me_calloc((size_t)model->n_layer, sizeof *ropes->tables);
    ropes->of_layer = me_calloc((size_t)model->n_layer, sizeof *ropes->of_layer);
    if (!ropes->tables || !ropes->of_layer) return me_fail_memory(err, "the rope tables");
    for (int layer = 0; layer < model->n_layer; layer++) {
        const me_rope *rope = &model->layers[layer].rope;
        int i = 0;
        while (i < ropes->n && !same_rope(ropes->tables[i].rope, rope))
            i++;
        if (i == ropes->n) ropes->tables[ropes->n++].rope = rope;
        ropes->of_layer[layer] = i;
    }
    return MOBIEDIT_OK;
}

void me_ropes_close(me_ropes *ropes) {
    for (int i = 0; i < ropes->n; i++)
        me_free(ropes->tables[i].angles);
    me_free(ropes->tables);
    me_free(ropes->of_layer);
}

/* The dimension whose wave turns `turns` times in the original context (YaRN, arXiv 2309.00071). */
static float yarn_dimension(const me_rope *rope, float turns) {
    return (float)rope->dims * logf((float)rope->n_ctx_orig / (turns * 2.0f * 3.14159265f)) /
           (2.0f * logf(rope->freq_base));
}

/* Share of extrapolation (the unscaled angle) of dimension pair i: 1 below `low`, 0 above `high`. */
static float yarn_ramp(float low, float high, int i) {
    float y = ((float)i - low) / fmaxf(0.001f, high - low);
    return 1.0f - fminf(1.0f, fmaxf(0.0f, y));
}

static void fill_position(const me_rope *rope, int position, float *angles) {
    float low = 0, high = 0, magnitude = rope->attn_factor;
    if (rope->ext_factor != 0) {
        low = fmaxf(0, floorf(yarn_dimension(rope, rope->beta_fast)));
        high = fminf((float)rope->dims - 1, ceilf(yarn_dimension(rope, rope->beta_slow)));
        magnitude *= 1.0f + 0.1f * logf(1.0f / rope->freq_scale);
    }
    float step = powf(rope->freq_base, -2.0f / (float)rope->dims);
    float theta = (float)position;
    for (int i = 0; i < rope->dims / 2; i++) {
        float full = theta / (rope->freq_factors ? rope->freq_factors[i] : 1.0f);
        float angle = rope->freq_scale * full;
        if (rope->ext_factor != 0) {
            float mix = yarn_ramp(low, high, i) * rope->ext_factor;
            angle = angle * (1 - mix) + full * mix;
        }
        *angles++ = cosf(angle) * magnitude;
        *angles++ = sinf(angle) * magnitude;
        theta *= step;
    }
}

static mobiedit_status reserve_table(me_rope_table *table, int n_positions, mobiedit_error *err) {
    if (n_positions <= table->n_positions) return MOBIEDIT_OK;
    size_t width = (size_t)table->rope->dims / 2 * 2;
    if (width == 0) return MOBIEDIT_OK;
    float *angles = me_calloc((size_t)n_positions * width, sizeof *angles);
    if (!angles) return me_fail_memory(err, "the rope tables");
    if (table->angles) memcpy(angles, table->angles, (size_t)table->n_positions * width * sizeof *angles);
    for (int position = table->n_positions; position < n_positions; position++)
        fill_position(table->rope, position, angles + (size_t)position * width);
    me_free(table->angles);
    table->angles = angles;
    table->n_positions = n_positions;
    return MOBIEDIT_OK;
}

mobiedit_status me_ropes_reserve(me_ropes *ropes, int n_positions, mobiedit_error *err) {
    for (int i = 0; i < ropes->n; i++)
        ME_TRY(reserve_table(&ropes->tables[i], n_positions, err));
    return MOBIEDIT_OK;
}

void me_rope_head(const me_ropes *ropes, int layer, int position, float *head) {
    const me_rope_table *table = &ropes->tables[ropes->of_layer[layer]];
    size_t half = (size_t)table->rope->dims / 2;
    if (half == 0) return;
    const float *angles = table->angles + (size_t)position * half * 2;
    size_t step = table->rope->neox ? 1 : 2;
    size_t other = table->rope->neox ? half : 1;
    for (size_t i = 0; i < half; i++) {
        float *a = head + i * step, *b = a + other;
        float c = angles[2 * i], s = angles[2 * i + 1], x = *a, y = *b;
        *a = x * c - y * s;
        *b = x * s + y * c;
    }
}
