/* The activation functions of an MLP, one value at a time. */
#include "model/model.h"

#include <math.h>

bool me_has_gate(me_activation activation) {
    return activation != ME_ACTIVATION_UP_GELU_TANH && activation != ME_ACTIVATION_UP_RELU_SQUARED;
}

float me_up_offset(me_activation activation) {
    return activation == ME_ACTIVATION_CLAMPED_SWISH ? 1 : 0;
}

float me_reading_limit(me_activation activation) {
    return activation == ME_ACTIVATION_CLAMPED_SWISH ? ME_SWISH_LIMIT : INFINITY;
}

float me_activate(me_activation activation, float x) {
    if (activation == ME_ACTIVATION_SILU) return x / (1 + expf(-x));
    if (activation == ME_ACTIVATION_RELU) return x > 0 ? x : 0;
    if (activation == ME_ACTIVATION_UP_RELU_SQUARED) return x > 0 ? x * x : 0;
    if (activation == ME_ACTIVATION_CLAMPED_SWISH) {
        const float held = fminf(x, ME_SWISH_LIMIT);
        return held / (1 + expf(-ME_SWISH_SLOPE * held));
    }
    /* 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3) */
    const float u = 0.797884561F * x * (1 + 0.044715F * x * x);
    return x / (1 + expf(-2 * u));
}
