/* One layer over the batch, in four steps. layer.c begins with what they compute. */
#ifndef ME_NATIVE_LAYER_H
#define ME_NATIVE_LAYER_H

#include "engine/native/batch.h"

/* x += attention(norm(x)), h = ffn norm of x, quantised. With `narrow`, K and V are computed for all columns
 * and the rest for read positions only. K and V of the columns stay in `wide` until me_layer_key. */
void me_layer_attention(me_native *engine, int index, bool narrow, float *focus);

/* h = activation(gate) * up, the key: input of the down projection, [n_rows][d_ff]. */
void me_layer_key(me_native *engine, int index);

/* out = down projection of h. */
void me_layer_value(me_native *engine, int index);

/* x += out, behind the post norm if the model has one. */
void me_layer_residual(me_native *engine, int index);

/* The last three steps: the MLP. */
void me_layer_mlp(me_native *engine, int index);

/* All four steps; narrow and focus as in me_layer_attention. */
void me_layer_run(me_native *engine, int index, bool narrow, float *focus);

/* me_layer_residual for one row given by itself: x[d] += post norm of out[d]; out is overwritten. */
void me_residual_row(me_native *engine, int index, float *x, float *out);

#endif
