/* What asking for answers and judging them share. */
#ifndef ME_EVAL_ANSWERS_PRIVATE_H
#define ME_EVAL_ANSWERS_PRIVATE_H

#include "eval/answers.h"
#include "eval/sketch.h"

typedef struct {
    mobiedit_said_kind kind;
    char *prompt;
    me_tokens asked;  /* the prompt's tokens, as they were put to the model last */
    me_tokens answer; /* from before, its end token among them */
    me_tokens told;   /* both, up to the last position that is compared */
    char *before, *after;
    size_t first;  /* its first position among those that are compared */
    int n;         /* positions that are compared, */
    bool *skipped; /* [n] of these, those that are not; NULL: none */
    me_token next; /* the next token from before, */
    bool sure;     /* which has at least half of the probability */
    bool same;     /* the next token is still that */
    double kl;     /* sum over the positions that are compared and not skipped */
} me_answer;

struct me_answers {
    const me_fact *fact;
    const char *system;
    const me_vocab *vocab;
    int n_vocab;
    me_answer *items;
    size_t n, capacity;
    me_sketches *before; /* distributions of all positions that are compared */
};

#endif
