/* Finds the facts of one file that ask for the same prompt. */
#include "eval/repeats.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static int compare_prompts(const me_fact *a, const me_fact *b) {
    const int prompts = strcmp(a->prompt, b->prompt);
    return prompts ? prompts : strcmp(a->subject, b->subject);
}

/* Of pointers into one list: those of one prompt in the list's order. */
static int compare(const void *a, const void *b) {
    const me_fact *one = *(const me_fact *const *)a, *other = *(const me_fact *const *)b;
    const int prompts = compare_prompts(one, other);
    return prompts ? prompts : (one > other) - (one < other);
}

mobiedit_status me_last_of_prompt(const me_dataset *facts, size_t **last, mobiedit_error *err) {
    const me_fact **sorted = me_calloc(facts->n, sizeof *sorted);
    *last = me_calloc(facts->n, sizeof **last);
    if (!sorted || !*last) {
        me_free(sorted);
        me_free(*last);
        return me_fail_memory(err, "the facts");
    }
    for (size_t i = 0; i < facts->n; i++)
        sorted[i] = &facts->facts[i];
    qsort(sorted, facts->n, sizeof *sorted, compare);
    const me_fact *of_run = NULL; /* from the back, a prompt's last fact comes first */
    for (size_t i = facts->n; i-- > 0;) {
        if (!of_run || compare_prompts(of_run, sorted[i]) != 0) of_run = sorted[i];
        (*last)[sorted[i] - facts->facts] = (size_t)(of_run - facts->facts);
    }
    me_free(sorted);
    return MOBIEDIT_OK;
}
