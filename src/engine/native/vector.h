/* Float arithmetic over vectors, written for the vectoriser. */
#ifndef ME_NATIVE_VECTOR_H
#define ME_NATIVE_VECTOR_H

#include "model/model.h"

float me_dot(const float *a, const float *b, int n);
void me_add_scaled(float *y, const float *x, float scale, int n); /* y += scale * x */
void me_exp(float *x, float shift, int n);                        /* x = exp(x - shift) */

/* y = x / rms(x) * weight; x and y may be the same. */
void me_rms_norm(const float *x, const float *weight, int n, float eps, float *y);

/* y = activation(gate) * up */
void me_gated(me_activation activation, const float *gate, const float *up, int n, float *y);

#endif
