#include "fake_engine.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static const int32_t tokens[] = {1, 2, 3, 4};
const me_sequence fake_sequences[FAKE_CARRIERS] = {
    {.tokens = tokens, .n_tokens = 4, .edit_pos = 1, .read_pos = 2, .n_read = FAKE_TARGETS},
    {.tokens = tokens, .n_tokens = 4, .edit_pos = 1, .read_pos = 2, .n_read = FAKE_TARGETS},
    {.tokens = tokens, .n_tokens = 4, .edit_pos = 1, .read_pos = 2, .n_read = FAKE_TARGETS},
};

static mobiedit_status suffix(me_engine *engine, const me_prefix *prefix, const float *deltas, int n_deltas,
                              const int *which, int n_which, float *hidden, mobiedit_error *err) {
    (void)prefix;
    (void)err;
    fake_engine *fake = (fake_engine *)engine;
    fake->passes += n_deltas * n_which;
    for (int b = 0; b < n_deltas; b++)
        for (int c = 0; c < n_which; c++)
            for (int t = 0; t < FAKE_TARGETS; t++)
                for (int i = 0; i < FAKE_D; i++) {
                    double sum = fake->base[which[c]][t][i];
                    for (int j = 0; j < FAKE_D; j++)
                        sum += (double)fake->jacobian[which[c]][t][i][j] * deltas[b * FAKE_D + j];
                    *hidden++ = (float)sum;
                }
    return MOBIEDIT_OK;
}

static int longest_step(const float *base, const float *delta) {
    int longest = 0;
    for (int i = 1; i < FAKE_D; i++)
        if (fabsf(delta[i] - base[i]) > fabsf(delta[longest] - base[longest])) longest = i;
    return longest;
}

/* Exact differences: the fake has no rounding to avoid. */
static mobiedit_status responses(me_engine *engine, const me_prefix *prefix, const float *base,
                                 const float *deltas, int n_deltas, const int *which, int n_which, float *out,
                                 mobiedit_error *err) {
    size_t width = (size_t)n_which * FAKE_TARGETS * FAKE_D;
    fake_engine *fake = (fake_engine *)engine;
    for (int c = 0; c < n_which; c++)
        if (fake->n_probed[which[c]]++ == 0) fake->first_probed[which[c]] = longest_step(base, deltas);
    float *at_base = me_calloc(width, sizeof *at_base);
    mobiedit_status status = suffix(engine, prefix, base, 1, which, n_which, at_base, err);
    if (status == MOBIEDIT_OK) status = suffix(engine, prefix, deltas, n_deltas, which, n_which, out, err);
    for (size_t i = 0; status == MOBIEDIT_OK && i < (size_t)n_deltas * width; i++)
        out[i] -= at_base[i % width];
    me_free(at_base);
    return status;
}

static void prefix_free(me_engine *engine, me_prefix *prefix) {
    (void)engine;
    if (!prefix) return;
    me_free(prefix->values);
    me_free(prefix->hidden);
    me_free(prefix);
}

static mobiedit_status prefix(me_engine *engine, int layer, const me_sequence *sequences, int n,
                              me_prefix **out, mobiedit_error *err) {
    (void)sequences;
    const float zero[FAKE_D] = {0};
    int which[FAKE_CARRIERS] = {0, 1, 2};
    me_prefix *p = me_calloc(1, sizeof *p);
    *p = (me_prefix){.layer = layer,
                     .n_sequences = n,
                     .n_read = FAKE_TARGETS,
                     .values = me_calloc((size_t)n * FAKE_D, sizeof(float)),
                     .hidden = me_calloc((size_t)n * FAKE_TARGETS * FAKE_D, sizeof(float)),
                     .suffix_tokens = 3 * (size_t)n};
    for (int i = 0; i < n * FAKE_D; i++)
        p->values[i] = 1 / sqrtf(FAKE_D);
    *out = p;
    return suffix(engine, p, zero, 1, which, n, p->hidden, err);
}

static mobiedit_status logits(me_engine *engine, const float *hidden, int n, float *out,
                              mobiedit_error *err) {
    (void)err;
    const fake_engine *fake = (const fake_engine *)engine;
    for (int r = 0; r < n; r++) {
        const float *h = hidden + r * FAKE_D;
        double sum = 0;
        for (int i = 0; i < FAKE_D; i++)
            sum += (double)h[i] * h[i];
        double scale = 1 / sqrt(sum / FAKE_D + fake->model.norm_eps);
        for (int v = 0; v < FAKE_VOCAB; v++) {
            double z = 0;
            for (int i = 0; i < FAKE_D; i++)
                z += h[i] * scale * fake->norm[i] * fake->output[v * FAKE_D + i];
            *out++ = (float)z;
        }
    }
    return MOBIEDIT_OK;
}

static const struct me_engine_ops ops = {.name = "fake",
                                         .prefix = prefix,
                                         .prefix_free = prefix_free,
                                         .suffix = suffix,
                                         .responses = responses,
                                         .logits = logits};

/* Roughly normal numbers from a small congruential generator. */
static void noise(float *x, size_t n, float scale, uint64_t *state) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < 4; j++) {
            *state = *state * 6364136223846793005U + 1442695040888963407U;
            sum += (double)(*state >> 40) / (1 << 24) - 0.5;
        }
        x[i] = scale * (float)(sum * 1.7320508);
    }
}

void fake_engine_init(fake_engine *fake, float gain) {
    uint64_t state = 42;
    memset(fake, 0, sizeof *fake);
    fake->gain = gain;
    noise(fake->output, sizeof fake->output / sizeof(float), 1, &state);
    noise(&fake->base[0][0][0], sizeof fake->base / sizeof(float), 1, &state);
    noise(&fake->jacobian[0][0][0][0], (size_t)FAKE_TARGETS * FAKE_D * FAKE_D, gain, &state);
    /* Carriers of one prompt answer alike to a delta. */
    for (int c = 1; c < FAKE_CARRIERS; c++) {
        noise(&fake->jacobian[c][0][0][0], (size_t)FAKE_TARGETS * FAKE_D * FAKE_D, 0.2F * gain, &state);
        for (size_t i = 0; i < (size_t)FAKE_TARGETS * FAKE_D * FAKE_D; i++)
            (&fake->jacobian[c][0][0][0])[i] += (&fake->jacobian[0][0][0][0])[i];
    }
    for (int i = 0; i < FAKE_D; i++)
        fake->norm[i] = 1;
    fake->model = (me_model){.d_model = FAKE_D,
                             .n_vocab = FAKE_VOCAB,
                             .n_layer = 4,
                             .norm_eps = 1e-6F,
                             .output_norm = {.data = fake->norm,
                                             .type = GGML_TYPE_F32,
                                             .n_in = FAKE_D,
                                             .n_out = 1,
                                             .row_bytes = sizeof fake->norm},
                             .output = {.data = fake->output,
                                        .type = GGML_TYPE_F32,
                                        .n_in = FAKE_D,
                                        .n_out = FAKE_VOCAB,
                                        .row_bytes = FAKE_D * sizeof(float)}};
    fake->engine = (me_engine){.ops = &ops, .model = &fake->model};
}
