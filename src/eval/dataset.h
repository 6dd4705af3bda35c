/* Facts to edit and what to measure on each, in the schemas they are published in. Each case is read by what
 * it holds:
 *
 * CounterFact (ROME, arXiv 2202.05262):
 *   {"case_id": 0,
 *    "requested_rewrite": {"prompt": "The capital of {} is", "subject": "Japan", "relation_id": "P36",
 *                          "target_new": {"str": "Lima"}, "target_true": {"str": "Tokyo"}},
 *    "paraphrase_prompts": ["Japan's capital is"], "neighborhood_prompts": ["The capital of Peru is"],
 *    "generation_prompts": ["Japan is"]}
 * ZsRE as in mend-eval files (MEND, arXiv 2110.11309):
 *   {"subject": "Japan", "src": "What is the capital of Japan?",
 *    "rephrase": "Which city is Japan's capital?", "alt": "Lima", "answers": ["Tokyo"],
 *    "loc": "nq question: who sang ...", "loc_ans": "..."}
 * EasyEdit's (arXiv 2308.07269), also of KnowEdit: the same as ZsRE under other names:
 *   {"subject": ..., "prompt": ..., "rephrase_prompt": ..., "target_new": ..., "ground_truth": ...,
 *    "locality_prompt": ..., "locality_ground_truth": ...,
 *    "locality": {"Relation_Specificity": [{"prompt": ..., "ground_truth": ...}]}}
 * the requests of ROME and of FastEdit:
 *   {"prompt": "{} plays", "subject": "Ann", "target_new": {"str": "chess"}}
 *   {"prompt": "{} plays", "subject": "Ann", "target": "chess", "queries": ["The game of Ann is"]}
 * and portability questions in any of them:
 *   "portability": {"Reasoning": [{"prompt": ..., "ground_truth": ...}]}, or
 *   "portability": {"New Question": ..., "New Answer": ...}, or
 *   "portability_prompt": ..., "portability_ground_truth": ...
 * what is asked about the answers, in any of them:
 *   "same_subject_prompts": ["The currency of Japan is the"], "chat_prompts": ["Which city ...?"],
 *   "chat_neighbours": ["Which city ... of Peru?"], "tell": "Tell me about Japan."
 * All but prompt, subject and new target may be missing; other fields are ignored. A prompt has {} in the
 * subject's place, the subject itself in braces, or the subject as it is. A file may also be CSV, see csv.h.
 *
 * Cases without a subject in their prompt, or without a target (both happen in ZsRE), are left out, each with
 * its reason. The file is untrusted: every type and size is checked, and the message of a refusal names the
 * case and the field. */
#ifndef ME_EVAL_DATASET_H
#define ME_EVAL_DATASET_H

#include "base/error.h"

enum {
    ME_DATASET_MAX_FACTS = 1000000,
    ME_DATASET_MAX_PROMPTS = 256, /* of one kind in one case */
    ME_DATASET_MAX_TEXT = 8192,   /* bytes of one string */
};
#define ME_DATASET_MAX_FILE ((size_t)256 << 20)

typedef struct {
    char **items;
    size_t n, capacity;
} me_texts;

/* A prompt, and what may rightly follow it: any of the answers. */
typedef struct {
    char *prompt;
    me_texts answers; /* may be none */
} me_item;

typedef struct {
    me_item *items;
    size_t n, capacity;
} me_items;

typedef struct {
    int64_t case_id; /* the index in the file where the case has none */
    char *prompt;    /* holds {} once, in the subject's place */
    char *subject;
    char *relation; /* may be NULL */
    char *target;
    char *truth; /* what is true, or was before; may be NULL */
    me_texts paraphrases;
    me_items neighbours;      /* where one has no answers, `truth` is also its own (as in CounterFact) */
    me_items portability;     /* questions that follow from the new fact; each has an answer */
    me_texts generations;     /* beginnings of texts about the subject */
    me_texts same_subject;    /* prompts about other things of the subject */
    me_texts chat;            /* questions that the new target answers */
    me_texts chat_neighbours; /* questions about others */
    char *tell;               /* asks for anything about the subject; may be NULL */
} me_fact;

typedef struct {
    me_fact *facts;
    size_t n;
    me_texts unusable; /* for each case left out: which it is, and why */
    uint64_t hash;     /* of the file's bytes */
} me_dataset;

/* A file that is named .json or .csv, in any case, is that; one of another name is JSON if it begins as JSON
 * does. E_IO, E_FORMAT, E_MEMORY; on failure *out is empty. At least one fact can be used. */
mobiedit_status me_dataset_read(const char *path, me_dataset *out, mobiedit_error *err);

/* The same from `length` bytes of text; `name` stands for the file in messages. */
mobiedit_status me_dataset_parse(const char *text, size_t length, const char *name, me_dataset *out,
                                 mobiedit_error *err);

void me_dataset_free(me_dataset *dataset);

/* "The capital of {Japan} is", the form of mobiedit_request. Freed with me_free; NULL when out of memory. */
char *me_fact_request_prompt(const me_fact *fact);

/* "The capital of Japan is" */
char *me_fact_prompt(const me_fact *fact);

/* The prompt and an answer to it: "The capital of Japan is Lima" */
char *me_fact_statement(const me_fact *fact, const char *answer);

/* What is true of the fact's neighbour i, or NULL. */
const char *me_fact_neighbour_truth(const me_fact *fact, size_t i);

#endif
