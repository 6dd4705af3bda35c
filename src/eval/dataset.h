/* Facts to edit and what to measure on each: JSON in CounterFact's schema (ROME, arXiv 2202.05262).
 *
 *   [{"case_id": 0,
 *     "requested_rewrite": {"prompt": "The capital of {} is", "subject": "Japan", "relation_id": "P36",
 *                           "target_new": {"str": "Lima"}, ...},
 *     "paraphrase_prompts": ["Japan's capital is"], "neighborhood_prompts": ["The capital of Peru is"], ...}]
 *
 * relation_id and the two lists may be missing; other fields are ignored. The file is untrusted: every type
 * and size is checked, and the message of a refusal names the case and the field. */
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
    size_t n;
} me_texts;

typedef struct {
    int64_t case_id;
    char *prompt; /* holds {} once, in the subject's place */
    char *subject;
    char *relation; /* may be NULL */
    char *target;
    me_texts paraphrases;
    me_texts neighbours;
} me_fact;

typedef struct {
    me_fact *facts;
    size_t n;
} me_dataset;

/* E_IO, E_FORMAT, E_MEMORY; on failure *out is empty. */
mobiedit_status me_dataset_read(const char *path, me_dataset *out, mobiedit_error *err);

/* The same from `length` bytes of text; `name` stands for the file in messages. */
mobiedit_status me_dataset_parse(const char *text, size_t length, const char *name, me_dataset *out,
                                 mobiedit_error *err);

void me_dataset_free(me_dataset *dataset);

/* "The capital of {Japan} is", the form of mobiedit_request. Freed with me_free; NULL when out of memory. */
char *me_fact_request_prompt(const me_fact *fact);

/* "The capital of Japan is" */
char *me_fact_prompt(const me_fact *fact);

#endif
