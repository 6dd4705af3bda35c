/* The arithmetic of mobile NPUs, for finding out what it does to an edit: every matrix product is one of
 * fixed-point numbers (fixed.h). Weights are int8, symmetric, with a scale for each output channel;
 * activations int16 or int8 with one scale for a whole tensor, the same for all inputs that there will ever
 * be: the largest that a calibration saw is the largest that there is, and what goes beyond saturates. Norms,
 * softmax, attention, rope and the residual stay in float. */
#ifndef ME_NATIVE_PROFILE_H
#define ME_NATIVE_PROFILE_H

#include "engine/native/batch.h"

/* Runs the calibration with the engine's own arithmetic, then turns all weights to fixed point, which takes a
 * byte for each. From then on all products are the profile's. E_ARGUMENT for other bits than 16 and 8, or
 * without a calibration. On failure engine->profile may be set, to be closed with the engine. */
mobiedit_status me_profile_open(me_native *engine, const me_native_options *options, mobiedit_error *err);
void me_profile_close(struct me_profile *profile);

/* Whether products are the profile's: false without one, and while it is calibrated. */
bool me_profile_computes(const me_native *engine);

/* What h holds, complete, will be multiplied with `weight`: notes the largest value, or quantises it. */
void me_profile_input(me_native *engine, const me_tensor *weight);

/* Rows [first, last) of a product with the input that was last quantised. */
void me_profile_product(const me_native *engine, const me_product *product, int64_t first, int64_t last,
                        int thread);

#endif
