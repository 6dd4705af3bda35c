/* Reads one case of a data set in the schemas that dataset.h lists. */
#include "eval/schemas.h"

#include "base/memory.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static mobiedit_status read_case_id(const me_place *at, const cJSON *item, int64_t *out) {
    if (!item) {
        *out = (int64_t)at->index;
        return MOBIEDIT_OK;
    }
    const double limit = 9007199254740992.0; /* 2^53: JSON numbers beyond are not exact */
    if (!cJSON_IsNumber(item)) return me_refuse_field(at, "case_id", "is not a number");
    const double value = item->valuedouble;
    if (!(fabs(value) <= limit) || value != floor(value))
        return me_refuse_field(at, "case_id", "is not an integer");
    *out = (int64_t)value;
    return MOBIEDIT_OK;
}

/* Takes the first string over, where there is one. */
static mobiedit_status copy_first(const me_place *at, const cJSON *item, const char *field, char **out) {
    me_texts texts = {0};
    const mobiedit_status status = me_copy_strings(at, item, field, &texts);
    if (status == MOBIEDIT_OK && texts.n > 0) {
        *out = texts.items[0];
        texts.items[0] = NULL;
    }
    me_texts_free(&texts);
    return status;
}

/* ---- portability ------------------------------------------------------------------------------------- */

/* A prompt with its answers, or lists of both in parallel. */
static mobiedit_status add_parallel(const me_place *at, const cJSON *prompts, const cJSON *answers,
                                    const char *field, me_items *out) {
    if (!prompts) return MOBIEDIT_OK;
    if (!cJSON_IsArray(prompts)) return me_add_item(at, prompts, answers, field, out);
    const int n = cJSON_GetArraySize(prompts);
    if (answers && (!cJSON_IsArray(answers) || cJSON_GetArraySize(answers) != n))
        return me_refuse_field(at, field, "has not as many answers as prompts");
    const cJSON *prompt, *answer = answers ? answers->child : NULL;
    cJSON_ArrayForEach(prompt, prompts) {
        ME_TRY(me_add_item(at, prompt, answer, field, out));
        if (answer) answer = answer->next;
    }
    return MOBIEDIT_OK;
}

/* Questions that no answer is known of cannot be measured. */
static void drop_unanswered(me_items *items) {
    size_t n = 0;
    for (size_t i = 0; i < items->n; i++) {
        if (items->items[i].answers.n > 0) {
            items->items[n++] = items->items[i];
            continue;
        }
        me_free(items->items[i].prompt);
        me_texts_free(&items->items[i].answers);
    }
    items->n = n;
}

static mobiedit_status read_portability(const me_place *at, const cJSON *item, me_fact *fact) {
    const char *name;
    const cJSON *object = me_field(item, NAMES("portability"), &name);
    const cJSON *question = me_field(object, NAMES("New Question"), &name);
    if (question)
        ME_TRY(me_add_item(at, question, cJSON_GetObjectItemCaseSensitive(object, "New Answer"),
                           "portability", &fact->portability));
    else
        ME_TRY(me_add_questions(at, object, "portability", &fact->portability));
    const cJSON *prompts = me_field(item, NAMES("portability_prompt", "portability_prompts"), &name);
    const char *answers_name;
    const cJSON *answers =
        me_field(item, NAMES("portability_ground_truth", "portability_answer"), &answers_name);
    ME_TRY(add_parallel(at, prompts, answers, name, &fact->portability));
    drop_unanswered(&fact->portability);
    return MOBIEDIT_OK;
}

/* ---- CounterFact ------------------------------------------------------------------------------------- */

/* {"str": text} */
static mobiedit_status read_target(const me_place *at, const cJSON *target, const char *field,
                                   const char *text_field, char **out) {
    if (!target) return me_refuse_field(at, field, "is missing");
    if (!cJSON_IsObject(target)) return me_refuse_field(at, field, "is not an object");
    return me_copy_text(at, cJSON_GetObjectItemCaseSensitive(target, "str"), text_field, out);
}

static mobiedit_status read_rewrite(const me_place *at, const cJSON *rewrite, me_fact *fact) {
    if (!cJSON_IsObject(rewrite)) return me_refuse_field(at, "requested_rewrite", "is not an object");
    const char *name;
    const cJSON *relation = me_field(rewrite, NAMES("relation_id"), &name);
    const cJSON *truth = me_field(rewrite, NAMES("target_true"), &name);
    ME_TRY(me_copy_text(at, cJSON_GetObjectItemCaseSensitive(rewrite, "prompt"), "requested_rewrite.prompt",
                        &fact->prompt));
    ME_TRY(me_copy_text(at, cJSON_GetObjectItemCaseSensitive(rewrite, "subject"), "requested_rewrite.subject",
                        &fact->subject));
    if (relation) ME_TRY(me_copy_text(at, relation, "requested_rewrite.relation_id", &fact->relation));
    ME_TRY(read_target(at, cJSON_GetObjectItemCaseSensitive(rewrite, "target_new"),
                       "requested_rewrite.target_new", "requested_rewrite.target_new.str", &fact->target));
    if (truth)
        ME_TRY(read_target(at, truth, "requested_rewrite.target_true", "requested_rewrite.target_true.str",
                           &fact->truth));
    const char *hole = strstr(fact->prompt, "{}");
    if (!hole) return me_refuse_field(at, "requested_rewrite.prompt", "has no {} for the subject");
    if (strstr(hole + 2, "{}"))
        return me_refuse_field(at, "requested_rewrite.prompt", "has more than one {}");
    return MOBIEDIT_OK;
}

static mobiedit_status read_neighbours(const me_place *at, const cJSON *list, me_fact *fact) {
    const char *const field = "neighborhood_prompts";
    const cJSON *prompt;
    if (!list || cJSON_IsNull(list)) return MOBIEDIT_OK;
    if (!cJSON_IsArray(list)) return me_refuse_field(at, field, "is not a list");
    cJSON_ArrayForEach(prompt, list) {
        if (!cJSON_IsString(prompt)) return me_refuse_field(at, field, "is not a string");
        ME_TRY(me_add_item(at, prompt, NULL, field, &fact->neighbours));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status read_counterfact(const me_place *at, const cJSON *item, me_fact *fact) {
    ME_TRY(read_rewrite(at, cJSON_GetObjectItemCaseSensitive(item, "requested_rewrite"), fact));
    ME_TRY(me_copy_texts(at, cJSON_GetObjectItemCaseSensitive(item, "paraphrase_prompts"),
                         "paraphrase_prompts", &fact->paraphrases));
    ME_TRY(me_copy_texts(at, cJSON_GetObjectItemCaseSensitive(item, "generation_prompts"),
                         "generation_prompts", &fact->generations));
    return read_neighbours(at, cJSON_GetObjectItemCaseSensitive(item, "neighborhood_prompts"), fact);
}

/* ---- ZsRE, EasyEdit ---------------------------------------------------------------------------------- */

static bool is_word_byte(char c) {
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* Where the subject stands in the text, as a word by itself if it does anywhere; NULL: nowhere. */
static const char *find_subject(const char *text, const char *subject) {
    const size_t length = strlen(subject);
    for (const char *at = strstr(text, subject); at; at = strstr(at + 1, subject))
        if ((at == text || !is_word_byte(at[-1])) && !is_word_byte(at[length])) return at;
    return strstr(text, subject);
}

/* Puts {} in the subject's place; *usable is false where that cannot be done. */
static mobiedit_status make_hole(const me_place *at, me_fact *fact, bool *usable) {
    const char *subject = find_subject(fact->prompt, fact->subject);
    if (!subject || strpbrk(fact->prompt, "{}")) {
        *usable = false;
        return MOBIEDIT_OK;
    }
    const size_t size = strlen(fact->prompt) + sizeof "{}";
    char *prompt = me_calloc(size, 1);
    if (!prompt) return me_fail_memory(at->err, "the facts");
    (void)snprintf(prompt, size, "%.*s{}%s", (int)(subject - fact->prompt), fact->prompt,
                   subject + strlen(fact->subject));
    me_free(fact->prompt);
    fact->prompt = prompt;
    return MOBIEDIT_OK;
}

static mobiedit_status read_flat_rest(const me_place *at, const cJSON *item, me_fact *fact) {
    const char *name, *answers_name;
    const cJSON *rephrase = me_field(item, NAMES("rephrase", "rephrase_prompt"), &name);
    ME_TRY(me_copy_strings(at, rephrase, name, &fact->paraphrases));
    const cJSON *truth = me_field(item, NAMES("answers", "ground_truth"), &name);
    ME_TRY(copy_first(at, truth, name, &fact->truth));
    const cJSON *relation = me_field(item, NAMES("relation_id"), &name);
    if (relation) ME_TRY(me_copy_text(at, relation, name, &fact->relation));
    const cJSON *prompts = me_field(item, NAMES("loc", "locality_prompt"), &name);
    const cJSON *answers = me_field(item, NAMES("loc_ans", "locality_ground_truth"), &answers_name);
    ME_TRY(add_parallel(at, prompts, answers, name, &fact->neighbours));
    return me_add_questions(at, cJSON_GetObjectItemCaseSensitive(item, "locality"), "locality",
                            &fact->neighbours);
}

static mobiedit_status read_flat(const me_place *at, const cJSON *item, me_fact *fact, bool *usable) {
    const char *name;
    const cJSON *target = me_field(item, NAMES("alt", "target_new"), &name);
    ME_TRY(copy_first(at, target, name, &fact->target));
    const cJSON *subject = me_field(item, NAMES("subject"), &name);
    ME_TRY(me_copy_text(at, subject, name, &fact->subject));
    const cJSON *prompt = me_field(item, NAMES("src", "prompt"), &name);
    ME_TRY(me_copy_text(at, prompt, name, &fact->prompt));
    ME_TRY(read_flat_rest(at, item, fact));
    return make_hole(at, fact, usable);
}

/* ---- any --------------------------------------------------------------------------------------------- */

mobiedit_status me_read_case(const me_place *at, const cJSON *item, me_fact *fact, bool *usable) {
    if (!cJSON_IsObject(item)) return me_refuse_field(at, "the case", "is not an object");
    *usable = true;
    ME_TRY(read_case_id(at, cJSON_GetObjectItemCaseSensitive(item, "case_id"), &fact->case_id));
    const char *name;
    const bool flat =
        me_field(item, NAMES("src", "prompt"), &name) && me_field(item, NAMES("subject"), &name);
    if (cJSON_GetObjectItemCaseSensitive(item, "requested_rewrite"))
        ME_TRY(read_counterfact(at, item, fact));
    else if (flat)
        ME_TRY(read_flat(at, item, fact, usable));
    else
        return me_refuse_field(at, "requested_rewrite", "is missing, and so are src and subject");
    /* No model is asked to say the white space that some targets have around them. */
    me_trim(fact->target);
    me_trim(fact->truth);
    if (!fact->target || !*fact->target) *usable = false;
    return read_portability(at, item, fact);
}

void me_fact_free(me_fact *fact) {
    me_free(fact->prompt);
    me_free(fact->subject);
    me_free(fact->relation);
    me_free(fact->target);
    me_free(fact->truth);
    me_texts_free(&fact->paraphrases);
    me_items_free(&fact->neighbours);
    me_items_free(&fact->portability);
    me_texts_free(&fact->generations);
    *fact = (me_fact){0};
}
