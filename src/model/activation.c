/* The activation functions of an MLP, one value at a time. */
#include "model/model.h"

#include <math.h>

bool me_has_gate(me_activation activation) {
    return activation == ME_ACTIVATION_SILU || activation == ME_ACTIVATION_GELU_TANH;
}

float me_activate(me_activation activation, float x) {
    if (activation == ME_ACTIVATION_SILU) return x / (1 + expf(-x));
    if (activation == ME_ACTIVATION_UP_RELU_SQUARED) return x > 0 ? x * x : 0;
    /* 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3) */
    const float u = 0.797884561F * x * (1 + 0.044715F * x * x);
    return x / (1 + expf(-2 * u));
}
