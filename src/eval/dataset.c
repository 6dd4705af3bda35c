#include "eval/dataset.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The case at hand, for messages. */
typedef struct {
    const char *file;
    size_t index;
    mobiedit_error *err;
} place;

static mobiedit_status refuse(const place *at, const char *field, const char *what) {
    return me_fail(at->err, MOBIEDIT_E_FORMAT, "%s: case %zu: %s %s", at->file, at->index, field, what);
}

static mobiedit_status copy_text(const place *at, const cJSON *item, const char *field, char **out) {
    if (!item) return refuse(at, field, "is missing");
    if (!cJSON_IsString(item) || !item->valuestring) return refuse(at, field, "is not a string");
    const size_t length = strlen(item->valuestring);
    if (length == 0) return refuse(at, field, "is empty");
    if (length > ME_DATASET_MAX_TEXT) return refuse(at, field, "is too long");
    if (!me_utf8_valid(item->valuestring)) return refuse(at, field, "is not UTF-8");
    *out = me_strndup(item->valuestring, length);
    return *out ? MOBIEDIT_OK : me_fail_memory(at->err, "the facts");
}

/* A list that is missing or null is an empty one. */
static mobiedit_status copy_texts(const place *at, const cJSON *list, const char *field, me_texts *out) {
    if (!list || cJSON_IsNull(list)) return MOBIEDIT_OK;
    if (!cJSON_IsArray(list)) return refuse(at, field, "is not a list");
    const int n = cJSON_GetArraySize(list);
    if (n > ME_DATASET_MAX_PROMPTS) return refuse(at, field, "has too many prompts");
    out->items = me_calloc((size_t)n, sizeof *out->items);
    if (!out->items) return me_fail_memory(at->err, "the facts");
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        ME_TRY(copy_text(at, item, field, &out->items[out->n]));
        out->n++;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status read_case_id(const place *at, const cJSON *item, int64_t *out) {
    if (!item) {
        *out = (int64_t)at->index;
        return MOBIEDIT_OK;
    }
    const double limit = 9007199254740992.0; /* 2^53: JSON numbers beyond are not exact */
    if (!cJSON_IsNumber(item)) return refuse(at, "case_id", "is not a number");
    const double value = item->valuedouble;
    if (!(fabs(value) <= limit) || value != floor(value)) return refuse(at, "case_id", "is not an integer");
    *out = (int64_t)value;
    return MOBIEDIT_OK;
}

static mobiedit_status read_rewrite(const place *at, const cJSON *rewrite, me_fact *fact) {
    const char *const field = "requested_rewrite";
    if (!rewrite) return refuse(at, field, "is missing");
    if (!cJSON_IsObject(rewrite)) return refuse(at, field, "is not an object");
    const cJSON *relation = cJSON_GetObjectItemCaseSensitive(rewrite, "relation_id");
    const cJSON *target = cJSON_GetObjectItemCaseSensitive(rewrite, "target_new");
    ME_TRY(copy_text(at, cJSON_GetObjectItemCaseSensitive(rewrite, "prompt"), "requested_rewrite.prompt",
                     &fact->prompt));
    ME_TRY(copy_text(at, cJSON_GetObjectItemCaseSensitive(rewrite, "subject"), "requested_rewrite.subject",
                     &fact->subject));
    if (relation && !cJSON_IsNull(relation))
        ME_TRY(copy_text(at, relation, "requested_rewrite.relation_id", &fact->relation));
    if (!target) return refuse(at, "requested_rewrite.target_new", "is missing");
    if (!cJSON_IsObject(target)) return refuse(at, "requested_rewrite.target_new", "is not an object");
    ME_TRY(copy_text(at, cJSON_GetObjectItemCaseSensitive(target, "str"), "requested_rewrite.target_new.str",
                     &fact->target));
    const char *hole = strstr(fact->prompt, "{}");
    if (!hole) return refuse(at, "requested_rewrite.prompt", "has no {} for the subject");
    if (strstr(hole + 2, "{}")) return refuse(at, "requested_rewrite.prompt", "has more than one {}");
    return MOBIEDIT_OK;
}

static mobiedit_status read_fact(const place *at, const cJSON *item, me_fact *fact) {
    if (!cJSON_IsObject(item)) return refuse(at, "the case", "is not an object");
    ME_TRY(read_case_id(at, cJSON_GetObjectItemCaseSensitive(item, "case_id"), &fact->case_id));
    ME_TRY(read_rewrite(at, cJSON_GetObjectItemCaseSensitive(item, "requested_rewrite"), fact));
    ME_TRY(copy_texts(at, cJSON_GetObjectItemCaseSensitive(item, "paraphrase_prompts"), "paraphrase_prompts",
                      &fact->paraphrases));
    return copy_texts(at, cJSON_GetObjectItemCaseSensitive(item, "neighborhood_prompts"),
                      "neighborhood_prompts", &fact->neighbours);
}

static mobiedit_status read_facts(const cJSON *root, const char *name, me_dataset *out, mobiedit_error *err) {
    if (!cJSON_IsArray(root))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: not a list of facts in CounterFact's schema", name);
    const int n = cJSON_GetArraySize(root);
    if (n == 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the list of facts is empty", name);
    if (n > ME_DATASET_MAX_FACTS)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: more than %d facts", name, ME_DATASET_MAX_FACTS);
    out->facts = me_calloc((size_t)n, sizeof *out->facts);
    if (!out->facts) return me_fail_memory(err, "the facts");
    place at = {.file = name, .err = err};
    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        at.index = out->n++; /* counted first, so that a fact read by half is freed */
        ME_TRY(read_fact(&at, item, &out->facts[at.index]));
    }
    return MOBIEDIT_OK;
}

/* Line and column (from 1) of a byte, for the place of a syntax error. */
static mobiedit_status refuse_syntax(const char *name, const char *text, const char *end, const char *at,
                                     mobiedit_error *err) {
    size_t line = 1, column = 1;
    for (const char *p = text; p < at && p < end; p++) {
        line += *p == '\n';
        column = *p == '\n' ? 1 : column + 1;
    }
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s: not JSON: line %zu, column %zu", name, line, column);
}

static bool only_space(const char *text, const char *end) {
    while (text < end && *text && strchr(" \t\r\n", *text))
        text++;
    return text == end;
}

mobiedit_status me_dataset_parse(const char *text, size_t length, const char *name, me_dataset *out,
                                 mobiedit_error *err) {
    const char *end = text;
    cJSON *root = cJSON_ParseWithLengthOpts(text, length, &end, false);
    me_dataset read = {0};
    mobiedit_status status;
    if (!root || !only_space(end, text + length))
        status = refuse_syntax(name, text, text + length, end ? end : text, err);
    else
        status = read_facts(root, name, &read, err);
    cJSON_Delete(root);
    if (status != MOBIEDIT_OK) me_dataset_free(&read);
    *out = read;
    return status;
}

mobiedit_status me_dataset_read(const char *path, me_dataset *out, mobiedit_error *err) {
    *out = (me_dataset){0};
    size_t length;
    char *text = NULL;
    ME_TRY(me_read_file(path, ME_DATASET_MAX_FILE, &text, &length, err));
    const mobiedit_status status = me_dataset_parse(text, length, path, out, err);
    me_free(text);
    return status;
}

static void texts_free(me_texts *texts) {
    for (size_t i = 0; i < texts->n; i++)
        me_free(texts->items[i]);
    me_free(texts->items);
}

void me_dataset_free(me_dataset *dataset) {
    for (size_t i = 0; i < dataset->n; i++) {
        me_fact *fact = &dataset->facts[i];
        me_free(fact->prompt);
        me_free(fact->subject);
        me_free(fact->relation);
        me_free(fact->target);
        texts_free(&fact->paraphrases);
        texts_free(&fact->neighbours);
    }
    me_free(dataset->facts);
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
