/* The engine's operations on prefixes, and those that go on with a sequence, see engine.h. */
#ifndef ME_NATIVE_PREFIX_H
#define ME_NATIVE_PREFIX_H

#include "engine/engine.h"

mobiedit_status me_native_prefix(me_engine *base, int layer, const me_sequence *sequences, int n,
                                 me_prefix **out, mobiedit_error *err);
void me_native_prefix_free(me_engine *engine, me_prefix *base);
mobiedit_status me_native_suffix(me_engine *base, const me_prefix *prefix, const float *deltas, int n_deltas,
                                 const int *which, int n_which, float *hidden, mobiedit_error *err);
mobiedit_status me_native_responses(me_engine *engine, const me_prefix *prefix, const float *base,
                                    const float *deltas, int n_deltas, const int *which, int n_which,
                                    float *responses, mobiedit_error *err);
mobiedit_status me_native_generate(me_engine *base, const me_sequence *sequences, int n, int n_tokens,
                                   int32_t *tokens, int layer, float *keys, mobiedit_error *err);

#endif
