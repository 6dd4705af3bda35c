/* What the ledgers and calibrations of the fuzzers are bound to: a model of
 * which nothing but its sizes is known. */
#ifndef FUZZ_BARE_MODEL_H
#define FUZZ_BARE_MODEL_H

#include "model/model.h"

enum { BARE_D_MODEL = 2, BARE_D_FF = 3, BARE_N_VOCAB = 16 };
#define BARE_FINGERPRINT "00000000000000000000000000000000"

static inline me_model bare_model(void) {
    return (me_model){.path = "fuzz.gguf",
                      .n_layer = 2,
                      .d_model = BARE_D_MODEL,
                      .d_ff = BARE_D_FF,
                      .n_vocab = BARE_N_VOCAB};
}

#endif
