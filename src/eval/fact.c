/* Facts: their lists and memory, and the prompts of each. */
#include "eval/fact.h"

#include "base/memory.h"
#include "base/words.h"

#include <stdio.h>
#include <string.h>

/* Room for one more. */
static mobiedit_status reserve_text(me_texts *texts, mobiedit_error *err) {
    return me_grow(&texts->items, &texts->capacity, texts->n + 1, sizeof *texts->items)
               ? MOBIEDIT_OK
               : me_fail_memory(err, "the facts");
}

mobiedit_status me_texts_add(me_texts *texts, const char *text, mobiedit_error *err) {
    ME_TRY(reserve_text(texts, err));
    texts->items[texts->n] = me_strdup(text);
    if (!texts->items[texts->n]) return me_fail_memory(err, "the facts");
    texts->n++;
    return MOBIEDIT_OK;
}

void me_texts_free(me_texts *texts) {
    for (size_t i = 0; i < texts->n; i++)
        me_free(texts->items[i]);
    me_free(texts->items);
    *texts = (me_texts){0};
}

void me_items_free(me_items *items) {
    for (size_t i = 0; i < items->n; i++) {
        me_free(items->items[i].prompt);
        me_texts_free(&items->items[i].answers);
    }
    me_free(items->items);
    *items = (me_items){0};
}

void me_fact_free(me_fact *fact) {
    me_free(fact->prompt);
    me_free(fact->subject);
    me_free(fact->relation);
    me_free(fact->target);
    me_free(fact->truth);
    me_texts_free(&fact->also);
    me_texts_free(&fact->paraphrases);
    me_items_free(&fact->neighbours);
    me_items_free(&fact->portability);
    me_texts_free(&fact->generations);
    me_texts_free(&fact->same_subject);
    me_texts_free(&fact->chat);
    me_texts_free(&fact->chat_neighbours);
    me_free(fact->tell);
    *fact = (me_fact){0};
}

void me_dataset_free(me_dataset *dataset) {
    for (size_t i = 0; i < dataset->n; i++)
        me_fact_free(&dataset->facts[i]);
    me_free(dataset->facts);
    me_texts_free(&dataset->unusable);
    *dataset = (me_dataset){0};
}

/* The prompt with open + subject + close in the place of {}. */
static char *fill(const me_fact *fact, const char *open, const char *close) {
    const char *hole = strstr(fact->prompt, "{}");
    const size_t before = (size_t)(hole - fact->prompt);
    const size_t size = strlen(fact->prompt) + strlen(fact->subject) + strlen(open) + strlen(close) + 1;
    char *text = me_calloc(size, 1);
    if (text)
        (void)snprintf(text, size, "%.*s%s%s%s%s", (int)before, fact->prompt, open, fact->subject, close,
                       hole + 2);
    return text;
}

char *me_fact_request_prompt(const me_fact *fact) {
    return fill(fact, "{", "}");
}

char *me_fact_prompt(const me_fact *fact) {
    return fill(fact, "", "");
}

char *me_fact_statement(const me_fact *fact, const char *answer) {
    char *prompt = me_fact_prompt(fact), *text = NULL;
    const size_t size = prompt ? strlen(prompt) + strlen(answer) + sizeof " " : 0;
    if (size) text = me_calloc(size, 1);
    if (text)
        (void)snprintf(text, size, "%s%s%s", prompt, me_space_between(prompt, answer) ? " " : "", answer);
    me_free(prompt);
    return text;
}

const char *me_fact_neighbour_truth(const me_fact *fact, size_t i) {
    const me_texts *answers = &fact->neighbours.items[i].answers;
    return answers->n > 0 ? answers->items[0] : fact->truth;
}
