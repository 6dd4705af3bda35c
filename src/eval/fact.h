/* Facts to edit, and what is to be measured on each. */
#ifndef ME_EVAL_FACT_H
#define ME_EVAL_FACT_H

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
    char *truth;   /* what is true, or was before; may be NULL */
    me_texts also; /* the fact in other words, to be taught too; each has its subject in braces */
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

/* Adds a copy of the text. E_MEMORY. */
mobiedit_status me_texts_add(me_texts *texts, const char *text, mobiedit_error *err);

void me_texts_free(me_texts *texts);
void me_items_free(me_items *items);
void me_fact_free(me_fact *fact);
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
