/* Everything that is asked about a fact, as the runtime now is: how likely answers are, and whether they are
 * said. All questions go through the runtime together. */
#ifndef ME_EVAL_SCORES_H
#define ME_EVAL_SCORES_H

#include "eval/fact.h"
#include "runtime/runtime.h"

/* NaN where the fact has no such prompts, or nothing is known to be true. */
typedef struct {
    double rewrite, efficacy;
    double paraphrase, paraphrase_score;
    double neighbour_score;
    double portability;
    bool says;               /* the target, after the prompt */
    bool *paraphrase_says;   /* [paraphrases.n] */
    bool *portability_says;  /* [portability.n]: any of the answers */
    float *neighbour_logits; /* [neighbours.n][n_vocab]: of the next token */
} me_scores;

/* With `neighbours_only`, fills what is about neighbours and leaves the rest
 * zero. *out is freed with me_scores_free. */
mobiedit_status me_scores_measure(me_runtime *runtime, const me_fact *fact, bool neighbours_only,
                                  me_scores *out, mobiedit_error *err);
void me_scores_free(me_scores *scores);

#endif
