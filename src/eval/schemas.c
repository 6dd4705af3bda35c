/* Reads one case of a data set in the schemas that dataset.h lists. */
#include "eval/schemas.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Not every file has whole numbers there: the case's place in the file does as well. */
static int64_t read_case_id(const me_place *at, const cJSON *item) {
    const double limit = 9007199254740992.0; /* 2^53: JSON numbers beyond are not exact */
    const double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return fabs(value) <= limit && value == floor(value) ? (int64_t)value : (int64_t)at->index;
}

/* A text or a number; anything else is no name of a relation. */
static mobiedit_status read_relation(const me_place *at, const cJSON *item, const char *field, char **out) {
    char digits[32];
    if (cJSON_IsString(item)) return me_copy_optional(at, item, field, out);
    if (!cJSON_IsNumber(item)) return MOBIEDIT_OK;
    (void)snprintf(digits, sizeof digits, "%.15g", item->valuedouble);
    *out = me_strdup(digits);
    return *out ? MOBIEDIT_OK : me_fail_memory(at->err, "the facts");
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

/* {"str": text}, or a text or list of texts, of which it is the first. */
static mobiedit_status read_answer(const me_place *at, const cJSON *item, const char *field, char **out) {
    if (cJSON_IsObject(item))
        return me_copy_optional(at, cJSON_GetObjectItemCaseSensitive(item, "str"), field, out);
    return copy_first(at, item, field, out);
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

static mobiedit_status read_rewrite(const me_place *at, const cJSON *rewrite, me_fact *fact) {
    if (!cJSON_IsObject(rewrite)) return me_refuse_field(at, "requested_rewrite", "is not an object");
    ME_TRY(me_copy_optional(at, cJSON_GetObjectItemCaseSensitive(rewrite, "prompt"),
                            "requested_rewrite.prompt", &fact->prompt));
    ME_TRY(me_copy_optional(at, cJSON_GetObjectItemCaseSensitive(rewrite, "subject"),
                            "requested_rewrite.subject", &fact->subject));
    ME_TRY(read_relation(at, cJSON_GetObjectItemCaseSensitive(rewrite, "relation_id"),
                         "requested_rewrite.relation_id", &fact->relation));
    ME_TRY(read_answer(at, cJSON_GetObjectItemCaseSensitive(rewrite, "target_new"),
                       "requested_rewrite.target_new", &fact->target));
    return read_answer(at, cJSON_GetObjectItemCaseSensitive(rewrite, "target_true"),
                       "requested_rewrite.target_true", &fact->truth);
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

/* ---- ZsRE, EasyEdit, requests ------------------------------------------------------------------------ */

/* Prompts about the subject itself that came as questions. */
static mobiedit_status add_same_subject(const me_place *at, const cJSON *list, me_fact *fact) {
    me_items questions = {0};
    mobiedit_status status = me_add_questions(at, list, "locality", &questions);
    for (size_t i = 0; i < questions.n && status == MOBIEDIT_OK; i++)
        status = me_texts_add(&fact->same_subject, questions.items[i].prompt, at->err);
    me_items_free(&questions);
    return status;
}

/* KnowEdit's Relation_Specificity asks about other relations of the subject; the rest is about others. */
static mobiedit_status read_locality(const me_place *at, const cJSON *item, me_fact *fact) {
    const cJSON *list;
    if (!cJSON_IsObject(item) || cJSON_GetObjectItemCaseSensitive(item, "prompt"))
        return me_add_questions(at, item, "locality", &fact->neighbours);
    cJSON_ArrayForEach(list, item) {
        const bool same = strcmp(list->string, "Relation_Specificity") == 0;
        ME_TRY(same ? add_same_subject(at, list, fact)
                    : me_add_questions(at, list, "locality", &fact->neighbours));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status read_flat_rest(const me_place *at, const cJSON *item, me_fact *fact) {
    const char *name, *answers_name;
    const cJSON *rephrase = me_field(item, NAMES("rephrase", "rephrase_prompt", "queries"), &name);
    ME_TRY(me_copy_strings(at, rephrase, name, &fact->paraphrases));
    const cJSON *truth = me_field(item, NAMES("answers", "ground_truth", "target_true"), &name);
    ME_TRY(read_answer(at, truth, name, &fact->truth));
    ME_TRY(read_relation(at, cJSON_GetObjectItemCaseSensitive(item, "relation_id"), "relation_id",
                         &fact->relation));
    const cJSON *prompts = me_field(item, NAMES("loc", "locality_prompt"), &name);
    const cJSON *answers = me_field(item, NAMES("loc_ans", "locality_ground_truth"), &answers_name);
    ME_TRY(add_parallel(at, prompts, answers, name, &fact->neighbours));
    return read_locality(at, cJSON_GetObjectItemCaseSensitive(item, "locality"), fact);
}

static mobiedit_status read_flat(const me_place *at, const cJSON *item, const cJSON *prompt,
                                 const char *prompt_name, me_fact *fact) {
    const char *name;
    const cJSON *target = me_field(item, NAMES("alt", "target_new", "target"), &name);
    ME_TRY(read_answer(at, target, name, &fact->target));
    ME_TRY(
        me_copy_optional(at, cJSON_GetObjectItemCaseSensitive(item, "subject"), "subject", &fact->subject));
    ME_TRY(me_copy_optional(at, prompt, prompt_name, &fact->prompt));
    return read_flat_rest(at, item, fact);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static mobiedit_status read_answers(const me_place *at, const cJSON *item, me_fact *fact) {
    ME_TRY(me_copy_strings(at, cJSON_GetObjectItemCaseSensitive(item, "also"), "also", &fact->also));
    ME_TRY(me_copy_texts(at, cJSON_GetObjectItemCaseSensitive(item, "same_subject_prompts"),
                         "same_subject_prompts", &fact->same_subject));
    ME_TRY(me_copy_texts(at, cJSON_GetObjectItemCaseSensitive(item, "chat_prompts"), "chat_prompts",
                         &fact->chat));
    ME_TRY(me_copy_texts(at, cJSON_GetObjectItemCaseSensitive(item, "chat_neighbours"), "chat_neighbours",
                         &fact->chat_neighbours));
    return me_copy_optional(at, cJSON_GetObjectItemCaseSensitive(item, "tell"), "tell", &fact->tell);
}

/* ---- any --------------------------------------------------------------------------------------------- */

mobiedit_status me_read_case(const me_place *at, const cJSON *item, me_fact *fact) {
    if (!cJSON_IsObject(item)) return me_refuse_field(at, "the case", "is not an object");
    fact->case_id = read_case_id(at, cJSON_GetObjectItemCaseSensitive(item, "case_id"));
    const char *name;
    const cJSON *prompt = me_field(item, NAMES("src", "prompt"), &name);
    if (cJSON_GetObjectItemCaseSensitive(item, "requested_rewrite"))
        ME_TRY(read_counterfact(at, item, fact));
    else if (prompt)
        ME_TRY(read_flat(at, item, prompt, name, fact));
    else
        return me_refuse_field(at, "requested_rewrite", "is missing, and so are src and prompt");
    /* No model is asked to say the white space that some targets have around them. */
    me_trim(fact->target);
    me_trim(fact->truth);
    ME_TRY(read_answers(at, item, fact));
    return read_portability(at, item, fact);
}
