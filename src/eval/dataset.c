/* Reads a data set of facts. */
#include "eval/dataset.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/words.h"
#include "eval/csv.h"
#include "eval/schemas.h"
#include "eval/subject.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Settles the fact, or notes why it cannot be used. */
static mobiedit_status take(const me_place *at, me_fact *fact, me_dataset *out) {
    mobiedit_error why = {0}, text = {0};
    const mobiedit_status status = me_fact_settle(fact, &why);
    if (status == MOBIEDIT_OK) {
        out->n++;
        return MOBIEDIT_OK;
    }
    me_fact_free(fact);
    if (status != MOBIEDIT_E_ARGUMENT) return me_fail(at->err, status, "%s", why.message);
    (void)me_fail(&text, status, "case %zu: %s", at->index, why.message);
    return me_texts_add(&out->unusable, text.message, at->err);
}

static mobiedit_status read_list(const cJSON *root, const char *name, me_dataset *out, mobiedit_error *err) {
    if (!cJSON_IsArray(root)) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: not a list of facts", name);
    const int n = cJSON_GetArraySize(root);
    if (n == 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the list of facts is empty", name);
    if (n > ME_DATASET_MAX_FACTS)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: more than %d facts", name, ME_DATASET_MAX_FACTS);
    out->facts = me_calloc((size_t)n, sizeof *out->facts);
    if (!out->facts) return me_fail_memory(err, "the facts");
    me_place at = {.file = name, .err = err};
    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        me_fact *fact = &out->facts[out->n];
        const mobiedit_status status = me_read_case(&at, item, fact);
        if (status != MOBIEDIT_OK) me_fact_free(fact);
        ME_TRY(status);
        ME_TRY(take(&at, fact, out));
        at.index++;
    }
    return MOBIEDIT_OK;
}

static mobiedit_status parse_json(const char *text, size_t length, const char *name, me_dataset *out,
                                  mobiedit_error *err) {
    cJSON *root = NULL;
    me_dataset read = {0};
    mobiedit_status status = me_json_parse(text, length, name, &root, err);
    if (status == MOBIEDIT_OK) status = read_list(root, name, &read, err);
    cJSON_Delete(root);
    if (status != MOBIEDIT_OK) me_dataset_free(&read);
    *out = read;
    return status;
}

static bool ends_in(const char *name, const char *ending) {
    const size_t n = strlen(name), length = strlen(ending);
    return n >= length && strcasecmp(name + n - length, ending) == 0;
}

static bool is_json(const char *text, size_t length, const char *name) {
    if (ends_in(name, ".json")) return true;
    if (ends_in(name, ".csv")) return false;
    size_t at = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < length && me_is_space(text[at]))
        at++;
    return at < length && (text[at] == '[' || text[at] == '{');
}

static mobiedit_status refuse_none(const me_dataset *read, const char *name, mobiedit_error *err) {
    if (read->unusable.n == 0) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: there are no facts", name);
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s: none of the %zu facts can be used: %s", name,
                   read->unusable.n, read->unusable.items[0]);
}

mobiedit_status me_dataset_parse(const char *text, size_t length, const char *name, me_dataset *out,
                                 mobiedit_error *err) {
    *out = (me_dataset){0};
    if (length >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the file is UTF-16; save it as UTF-8", name);
    ME_TRY(is_json(text, length, name) ? parse_json(text, length, name, out, err)
                                       : me_csv_parse(text, length, name, out, err));
    out->hash = me_hash(text, length);
    if (out->n > 0) return MOBIEDIT_OK;
    const mobiedit_status status = refuse_none(out, name, err);
    me_dataset_free(out);
    return status;
}

mobiedit_status me_dataset_read(const char *path, me_dataset *out, mobiedit_error *err) {
    *out = (me_dataset){0};
    char *text = NULL;
    size_t length = 0;
    ME_TRY(me_read_file(path, ME_DATASET_MAX_FILE, &text, &length, err));
    const mobiedit_status status = me_dataset_parse(text, length, path, out, err);
    me_free(text);
    return status;
}
