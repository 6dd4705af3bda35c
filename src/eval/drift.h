/* How much an edit changes what it should not touch at all: the next-token distributions in generic text that
 * no solver and no key ever sees. */
#ifndef ME_EVAL_DRIFT_H
#define ME_EVAL_DRIFT_H

#include "runtime/runtime.h"

typedef struct me_drift me_drift;

/* Takes the distributions of the runtime as it is, unedited. To bound memory, of each position only the
 * ME_DRIFT_TOP likeliest tokens are kept by name, and the rest as one. */
enum { ME_DRIFT_TOP = 256 };
mobiedit_status me_drift_open(me_runtime *runtime, me_drift **out, mobiedit_error *err);
void me_drift_close(me_drift *drift);

/* Mean over positions of KL(before || after), nats, over those tokens and the rest as one: never more than
 * the KL over the whole vocabulary, and less by what happens inside the rest. */
mobiedit_status me_drift_measure(const me_drift *drift, me_runtime *runtime, double *kl, mobiedit_error *err);

int me_drift_positions(const me_drift *drift);

/* The texts, ended by NULL. */
extern const char *const me_drift_texts[];

#endif
