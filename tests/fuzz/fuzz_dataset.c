/* Fuzzes the reader of fact files: any bytes either are refused with one line or give a sound data set. */
#include "base/memory.h"
#include "eval/dataset.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const me_texts *texts) {
    for (size_t i = 0; i < texts->n; i++)
        if (!*texts->items[i]) abort();
}

/* What callers rely on; a breach ends the run. */
static void check_fact(const me_fact *fact) {
    char *prompt = me_fact_prompt(fact), *request = me_fact_request_prompt(fact);
    if (!prompt || !request || strlen(prompt) + 2 != strlen(request)) abort();
    if (!*fact->subject || !*fact->target) abort();
    check_texts(&fact->paraphrases);
    check_texts(&fact->generations);
    check_texts(&fact->same_subject);
    check_texts(&fact->chat);
    check_texts(&fact->chat_neighbours);
    if (fact->tell && !*fact->tell) abort();
    for (size_t i = 0; i < fact->neighbours.n; i++) {
        const char *truth = me_fact_neighbour_truth(fact, i);
        if (!*fact->neighbours.items[i].prompt || (truth && !*truth)) abort();
    }
    for (size_t i = 0; i < fact->portability.n; i++)
        if (!*fact->portability.items[i].prompt || fact->portability.items[i].answers.n == 0) abort();
    me_free(prompt);
    me_free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    me_dataset facts;
    mobiedit_error err = {0};
    if (me_dataset_parse((const char *)data, size, "fuzz", &facts, &err) == MOBIEDIT_OK) {
        for (size_t i = 0; i < facts.n; i++)
            check_fact(&facts.facts[i]);
    } else if (err.status == MOBIEDIT_OK || strchr(err.message, '\n')) {
        abort();
    }
    me_dataset_free(&facts);
    return 0;
}
