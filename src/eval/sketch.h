/* Next-token distributions that are kept to be compared with later ones. To bound memory, of each only the
 * likeliest tokens are kept by name, and the rest as one. */
#ifndef ME_EVAL_SKETCH_H
#define ME_EVAL_SKETCH_H

#include "base/error.h"

#include <stddef.h>

/* n positions of one model. */
typedef struct me_sketches me_sketches;

/* n_top: tokens kept by name, fewer where the vocabulary is smaller. */
mobiedit_status me_sketches_open(int n_vocab, int n_top, size_t n, me_sketches **out, mobiedit_error *err);
void me_sketches_close(me_sketches *sketches);

/* Keeps the distribution of position `at` < n. logits: [n_vocab] */
void me_sketch_take(me_sketches *sketches, size_t at, const float *logits);

/* KL(kept || softmax(logits)), nats, as me_likely_kl of base/logits.h has it. */
double me_sketch_kl(const me_sketches *sketches, size_t at, const float *logits);

#endif
