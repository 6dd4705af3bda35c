/* The activation functions of an MLP, one value at a time. */
#include "model/model.h"

#include <math.h>

float me_activate(me_activation activation, float gate) {
    if (activation == ME_ACTIVATION_SILU) return gate / (1 + expf(-gate));
    /* 0.5 g (1 + tanh(u)) = g / (1 + exp(-2u)), u = sqrt(2 / pi) (g + 0.044715 g^3) */
    const float u = 0.797884561F * gate * (1 + 0.044715F * gate * gate);
    return gate / (1 + expf(-2 * u));
}
