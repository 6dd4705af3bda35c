/* Keeps the finished cases of an evaluation; writes them as JSON and reads them back. */
#include "eval/cases.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/names.h"
#include "base/utf8.h"
#include "eval/figures.h"

#include <math.h>
#include <string.h>

/* ---- copies ------------------------------------------------------------------------------------------ */

void me_said_free(const mobiedit_said *said, size_t n) {
    for (size_t i = 0; i < n; i++) {
        me_free((char *)said[i].prompt);
        me_free((char *)said[i].before);
        me_free((char *)said[i].after);
    }
    me_free((mobiedit_said *)said);
}

static void case_free(const mobiedit_eval_case *one) {
    me_free((char *)one->prompt);
    me_free((char *)one->subject);
    me_free((char *)one->relation);
    me_free((char *)one->target);
    me_free((char *)one->message);
    me_said_free(one->said, one->n_said);
}

void me_cases_free(me_cases *cases) {
    for (size_t i = 0; i < cases->n; i++)
        case_free(&cases->items[i]);
    me_free(cases->items);
    *cases = (me_cases){0};
}

/* Copies the text, where there is one; false where memory runs out. */
static bool copy(const char **text) {
    if (!*text) return true;
    *text = me_strdup(*text);
    return *text != NULL;
}

/* Every text of `said` is replaced by a copy, or by NULL. */
static mobiedit_said *copy_said(const mobiedit_said *said, size_t n) {
    mobiedit_said *copies = me_calloc(n, sizeof *copies);
    if (!copies) return NULL;
    for (size_t i = 0; i < n; i++) {
        copies[i] = said[i];
        const bool whole = copy(&copies[i].prompt), before = copy(&copies[i].before);
        if (copy(&copies[i].after) && whole && before) continue;
        me_said_free(copies, i + 1);
        return NULL;
    }
    return copies;
}

static bool copy_case(const mobiedit_eval_case *from, mobiedit_eval_case *out) {
    *out = *from;
    out->said = copy_said(from->said, from->n_said);
    if (!out->said) out->n_said = 0;
    bool whole = out->said != NULL;
    const char **const texts[] = {&out->prompt, &out->subject, &out->relation, &out->target, &out->message};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        whole = copy(texts[i]) && whole;
    return whole;
}

mobiedit_status me_cases_add(me_cases *cases, const mobiedit_eval_case *added, mobiedit_error *err) {
    if (!me_grow(&cases->items, &cases->capacity, cases->n + 1, sizeof *cases->items))
        return me_fail_memory(err, "the cases");
    const bool whole = copy_case(added, &cases->items[cases->n++]);
    return whole ? MOBIEDIT_OK : me_fail_memory(err, "the cases");
}

/* ---- to JSON ----------------------------------------------------------------------------------------- */

static void add_said(cJSON *object, const mobiedit_eval_case *done) {
    cJSON *list = cJSON_AddArrayToObject(object, "said");
    for (size_t i = 0; i < done->n_said; i++) {
        const mobiedit_said *said = &done->said[i];
        cJSON *item = cJSON_CreateObject();
        me_json_add_text(item, "kind", me_said_kind_name(said->kind));
        me_json_add_text(item, "prompt", said->prompt);
        me_json_add_text(item, "before", said->before);
        me_json_add_text(item, "after", said->after);
        (void)cJSON_AddBoolToObject(item, "held", said->held);
        if (!cJSON_AddItemToArray(list, item)) cJSON_Delete(item);
    }
}

cJSON *me_case_to_json(const mobiedit_eval_case *done) {
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(object, "case_id", (double)done->case_id);
    me_json_add_text(object, "prompt", done->prompt);
    me_json_add_text(object, "subject", done->subject);
    me_json_add_text(object, "relation", done->relation);
    me_json_add_text(object, "target", done->target);
    me_json_add_text(object, "status", mobiedit_status_name(done->status));
    me_json_add_text(object, "message", done->message);
    me_json_add_text(object, "stop", isnan(done->seconds) ? NULL : mobiedit_stop_name(done->stop));
    me_json_add_number(object, "layer", done->layer);
    for (int m = 0; m < ME_METRIC_EVALS; m++)
        me_json_add_number(object, me_metric_table[m].name, me_metric_value(m, done));
    me_json_add_count(object, "evals", done->evaluations);
    me_json_add_number(object, "seconds", done->seconds);
    me_json_add_number(object, "measure_seconds", done->measure_seconds);
    if (done->n_said) add_said(object, done);
    return object;
}

/* ---- from JSON --------------------------------------------------------------------------------------- */

enum { MAX_SAID = 4096, MAX_TEXT = 1 << 20 };

static mobiedit_status refuse(const char *where, const char *field, const char *what, mobiedit_error *err) {
    (void)me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s %s", where, field, what);
    return MOBIEDIT_E_FORMAT; /* told apart from success also by static analysis */
}

/* A string of the object, borrowed; NULL where it may be missing and is. */
static mobiedit_status text_of(const cJSON *object, const char *field, bool required, const char *where,
                               const char **out, mobiedit_error *err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    *out = NULL;
    if (!item || cJSON_IsNull(item)) return required ? refuse(where, field, "is missing", err) : MOBIEDIT_OK;
    if (!cJSON_IsString(item) || !item->valuestring) return refuse(where, field, "is not a string", err);
    if (strlen(item->valuestring) > MAX_TEXT) return refuse(where, field, "is too long", err);
    if (!me_utf8_valid(item->valuestring)) return refuse(where, field, "is not UTF-8", err);
    *out = item->valuestring;
    return MOBIEDIT_OK;
}

static mobiedit_status number_of(const cJSON *object, const char *field, const char *where, double *out,
                                 mobiedit_error *err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    *out = NAN;
    if (!item || cJSON_IsNull(item)) return MOBIEDIT_OK;
    if (!cJSON_IsNumber(item)) return refuse(where, field, "is not a number", err);
    *out = item->valuedouble;
    return MOBIEDIT_OK;
}

static mobiedit_status read_one_said(const cJSON *item, const char *where, mobiedit_said *out,
                                     mobiedit_error *err) {
    const char *kind;
    if (!cJSON_IsObject(item)) return refuse(where, "said", "is not a list of objects", err);
    ME_TRY(text_of(item, "kind", true, where, &kind, err));
    ME_TRY(text_of(item, "prompt", true, where, &out->prompt, err));
    ME_TRY(text_of(item, "before", false, where, &out->before, err));
    ME_TRY(text_of(item, "after", false, where, &out->after, err));
    out->held = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "held"));
    for (int k = 0; k < ME_SAID_KINDS; k++)
        if (strcmp(kind, me_said_kind_name((mobiedit_said_kind)k)) == 0) {
            out->kind = (mobiedit_said_kind)k;
            return MOBIEDIT_OK;
        }
    return refuse(where, "kind", "is not one of those there are", err);
}

/* The list is allocated, its texts are borrowed. */
static mobiedit_status read_said(const cJSON *object, const char *where, mobiedit_eval_case *out,
                                 mobiedit_error *err) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "said"), *item;
    if (!list || cJSON_IsNull(list)) return MOBIEDIT_OK;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > MAX_SAID)
        return refuse(where, "said", "is not a list of sensible length", err);
    mobiedit_said *said = me_calloc((size_t)cJSON_GetArraySize(list), sizeof *said);
    if (!said) return me_fail_memory(err, "the cases");
    out->said = said;
    cJSON_ArrayForEach(item, list) ME_TRY(read_one_said(item, where, &said[out->n_said++], err));
    return MOBIEDIT_OK;
}

static mobiedit_status read_names(const cJSON *object, const char *where, mobiedit_eval_case *out,
                                  mobiedit_error *err) {
    const char *status, *stop;
    ME_TRY(text_of(object, "status", true, where, &status, err));
    ME_TRY(text_of(object, "stop", false, where, &stop, err));
    int found = -1;
    for (int i = MOBIEDIT_OK; i <= MOBIEDIT_E_RUNTIME; i++)
        if (strcmp(status, mobiedit_status_name((mobiedit_status)i)) == 0) found = i;
    if (found < 0) return refuse(where, "status", "is not one of those there are", err);
    out->status = (mobiedit_status)found;
    for (int i = MOBIEDIT_STOP_SOLVED; stop && i <= MOBIEDIT_STOP_ALREADY_SAID; i++)
        if (strcmp(stop, mobiedit_stop_name((mobiedit_stop)i)) == 0) out->stop = (mobiedit_stop)i;
    return MOBIEDIT_OK;
}

static mobiedit_status read_numbers(const cJSON *object, const char *where, mobiedit_eval_case *out,
                                    mobiedit_error *err) {
    double id, layer, value;
    ME_TRY(number_of(object, "case_id", where, &id, err));
    if (!(fabs(id) <= 0x1p53) || id != floor(id)) return refuse(where, "case_id", "is not an integer", err);
    out->case_id = (int64_t)id;
    ME_TRY(number_of(object, "layer", where, &layer, err));
    out->layer = fabs(layer) < 1e6 ? (int)layer : -1;
    for (int m = 0; m < ME_METRICS; m++) {
        ME_TRY(number_of(object, me_metric_table[m].name, where, &value, err));
        me_metric_set(m, out, value);
    }
    return number_of(object, "measure_seconds", where, &out->measure_seconds, err);
}

static mobiedit_status read_case(const cJSON *object, const char *where, mobiedit_eval_case *out,
                                 mobiedit_error *err) {
    if (!cJSON_IsObject(object)) return refuse(where, "the case", "is not an object", err);
    ME_TRY(text_of(object, "prompt", true, where, &out->prompt, err));
    if (!strstr(out->prompt, "{}")) return refuse(where, "prompt", "has no {} for the subject", err);
    ME_TRY(text_of(object, "subject", true, where, &out->subject, err));
    ME_TRY(text_of(object, "relation", false, where, &out->relation, err));
    ME_TRY(text_of(object, "target", true, where, &out->target, err));
    ME_TRY(text_of(object, "message", false, where, &out->message, err));
    ME_TRY(read_names(object, where, out, err));
    ME_TRY(read_numbers(object, where, out, err));
    return read_said(object, where, out, err);
}

mobiedit_status me_cases_add_json(me_cases *cases, const cJSON *object, const char *where,
                                  mobiedit_error *err) {
    mobiedit_eval_case borrowed = {.restored = true};
    mobiedit_status status = read_case(object, where, &borrowed, err);
    if (status == MOBIEDIT_OK) status = me_cases_add(cases, &borrowed, err);
    me_free((mobiedit_said *)borrowed.said);
    return status;
}
