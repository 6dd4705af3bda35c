/* What the model goes on to say after a fact's prompts, and how varied its texts about the subject are. */
#ifndef ME_EVAL_GENERATION_H
#define ME_EVAL_GENERATION_H

#include "eval/fact.h"
#include "runtime/runtime.h"

enum {
    ME_GENERATION_PROMPT_TOKENS = 16,   /* of the continuation of the fact's prompt */
    ME_GENERATION_OTHER_TOKENS = 6,     /* of the other prompts */
    ME_GENERATION_FLUENCY_TOKENS = 100, /* of a generated text with its prompt */
    ME_GENERATION_TOP = 5,              /* generated tokens are drawn from so many */
    ME_GENERATION_TEXTS = 5,            /* generated texts, at most */
};

typedef struct {
    bool said;     /* continuations of prompts: */
    bool all;      /* of all, else of the fact's own and the neighbours' alone */
    bool fluency;  /* generated texts */
    uint64_t seed; /* of what is drawn there */
} me_generation_options;

/* The prompts in the order of `said` in a mobiedit_eval_case: the fact's own,
 * paraphrases, neighbours, portability. */
typedef struct {
    char **texts; /* [n] greedy continuations; NULL where none was wanted */
    size_t n;
    double fluency; /* mean n-gram entropy of the generated texts, bits; NaN where none was wanted */
} me_generation;

/* As the runtime now is. *out is freed with me_generation_free. */
mobiedit_status me_generation_run(me_runtime *runtime, const me_fact *fact,
                                  const me_generation_options *options, me_generation *out,
                                  mobiedit_error *err);
void me_generation_free(me_generation *generation);

/* Prompt i of those, and its kind; the fact's own (i = 0) is NULL. */
const char *me_generation_prompt(const me_fact *fact, size_t i, mobiedit_said_kind *kind);
size_t me_generation_prompts(const me_fact *fact);

#endif
