/* Float arithmetic over vectors: products, norms, exponentials, gated activations. */
#include "engine/native/vector.h"

#include "engine/native/clones.h"

#include <math.h>
#include <string.h>

/* Partial sums of a reduction: independent chains that the vectoriser can keep in registers. */
enum { LANES = 16 };

ME_CLONES float me_dot(const float *a, const float *b, int n) {
    float sums[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            sums[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        sums[i % LANES] += a[i] * b[i];
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++)
            sums[j] += sums[j + width];
    return sums[0];
}

ME_CLONES void me_add_scaled(float *y, const float *x, float scale, int n) {
    for (int i = 0; i < n; i++)
        y[i] += scale * x[i];
}

void me_rms_norm(const float *x, const float *weight, int n, float eps, float *y) {
    float scale = 1.0f / sqrtf(me_dot(x, x, n) / (float)n + eps);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * scale * weight[i];
}

/* exp without branches, error below 2 ulp: 2^k * p(r), x = k ln 2 + r, |r| <= ln 2 / 2. The result saturates
 * where it would leave the range of normal floats. */
static inline float exp_of(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + magic;
    float k = shifted - magic;
    float r = x - k * 0.693145752f - k * 1.42860677e-6f;
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    uint32_t exponent = ((uint32_t)bits + 127u) << 23; /* the low bits of `shifted` are k */
    float power;
    memcpy(&power, &exponent, sizeof power);
    return p * power;
}

ME_CLONES void me_exp(float *x, float shift, int n) {
    for (int i = 0; i < n; i++)
        x[i] = exp_of(x[i] - shift);
}

ME_CLONES static void gated_silu(const float *gate, const float *up, int n, float *y) {
    for (int i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + exp_of(-gate[i])) * up[i];
}

/* As me_activate says. */
ME_CLONES static void gated_gelu(const float *gate, const float *up, int n, float *y) {
    for (int i = 0; i < n; i++) {
        float g = gate[i];
        float u = 0.797884561f * g * (1.0f + 0.044715f * g * g);
        y[i] = g / (1.0f + exp_of(-2.0f * u)) * up[i];
    }
}

void me_gated(me_activation activation, const float *gate, const float *up, int n, float *y) {
    if (activation == ME_ACTIVATION_GELU_TANH)
        gated_gelu(gate, up, n, y);
    else
        gated_silu(gate, up, n, y);
}
