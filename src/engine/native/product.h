/* Matrix products of the batch's h. */
#ifndef ME_NATIVE_PRODUCT_H
#define ME_NATIVE_PRODUCT_H

#include "engine/native/batch.h"

/* The batch's h now holds inputs of n_in values for n_rows rows. */
void me_act_shape(me_native *engine, int64_t n_in, int n_rows);

/* Rows [first, last) of h are complete: quantises them for the products to come. */
void me_act_quantize(me_native *engine, int first, int last);

/* In a batch of variations, h does not survive: only the difference from the base's row goes through the
 * weights, quantised at its own scale, and the base's outputs are added. Rounding errors are then in
 * proportion to the difference, not to h. Under a profile variations are rows like all others. */
void me_products(me_native *engine, const me_product *products, int n);

#endif
