/* An engine without a model for tests of solvers: hidden = h0[carrier] +
 * J[carrier] delta, made of seeded noise. */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include "engine/engine.h"

enum { FAKE_D = 32, FAKE_VOCAB = 64, FAKE_CARRIERS = 3, FAKE_TARGETS = 2 };

typedef struct {
    me_engine engine; /* first: an me_engine pointer is one to this */
    me_model model;
    float gain; /* scale of J; 0: delta changes nothing */
    float output[FAKE_VOCAB * FAKE_D];
    float norm[FAKE_D];
    float base[FAKE_CARRIERS][FAKE_TARGETS][FAKE_D];
    float jacobian[FAKE_CARRIERS][FAKE_TARGETS][FAKE_D][FAKE_D];
    int passes; /* suffix evaluations that were asked for */
    /* Calls for a carrier's responses, and along which dimension the first delta of the first one stepped. */
    int n_probed[FAKE_CARRIERS], first_probed[FAKE_CARRIERS];
} fake_engine;

void fake_engine_init(fake_engine *fake, float gain);

/* FAKE_CARRIERS sequences that fit the engine. */
extern const me_sequence fake_sequences[FAKE_CARRIERS];

#endif
