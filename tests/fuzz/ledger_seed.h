/* What the ledgers and calibrations of the fuzzer are bound to: a model of which nothing but its sizes is
 * known. */
#ifndef FUZZ_LEDGER_SEED_H
#define FUZZ_LEDGER_SEED_H

#include "model/model.h"

enum { LEDGER_D_MODEL = 2, LEDGER_D_FF = 3 };
#define LEDGER_FINGERPRINT "00000000000000000000000000000000"

static inline me_model ledger_model(void) {
    return (me_model){.path = "fuzz.gguf", .n_layer = 2, .d_model = LEDGER_D_MODEL, .d_ff = LEDGER_D_FF};
}

#endif
