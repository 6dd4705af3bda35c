/* Reads the results of two evaluations and compares them fact by fact. */
#include "eval/results.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)1 << 30)

/* ---- reading ----------------------------------------------------------------------------------------- */

static mobiedit_status copy_name(const cJSON *root, const char *field, const char *path, char **out,
                                 mobiedit_error *err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, field);
    const bool named = cJSON_IsString(item) && item->valuestring;
    if (named && !me_utf8_valid(item->valuestring))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s is not UTF-8", path, field);
    *out = me_strdup(named ? item->valuestring : "");
    return *out ? MOBIEDIT_OK : me_fail_memory(err, "the results");
}

static mobiedit_status read_results(const cJSON *root, const char *path, me_results *out,
                                    mobiedit_error *err) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "per_case"), *item;
    if (!cJSON_IsObject(root) || !cJSON_IsArray(list))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not the result of mobiedit eval --json", path);
    ME_TRY(copy_name(root, "model", path, &out->model, err));
    ME_TRY(copy_name(root, "facts", path, &out->facts, err));
    ME_TRY(copy_name(root, "solver", path, &out->solver, err));
    size_t index = 0;
    cJSON_ArrayForEach(item, list) {
        char where[512];
        (void)snprintf(where, sizeof where, "%.400s: case %zu", path, index++);
        ME_TRY(me_cases_add_json(&out->cases, item, where, err));
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_results_read(const char *path, me_results *out, mobiedit_error *err) {
    *out = (me_results){0};
    char *text = NULL;
    size_t length = 0;
    cJSON *root = NULL;
    ME_TRY(me_read_file(path, MAX_FILE, &text, &length, err));
    mobiedit_status status = me_json_parse(text, length, path, &root, err);
    me_free(text);
    ME_TRY(status);
    status = read_results(root, path, out, err);
    cJSON_Delete(root);
    return status;
}

void me_results_free(me_results *results) {
    me_free(results->model);
    me_free(results->facts);
    me_free(results->solver);
    me_cases_free(&results->cases);
    *results = (me_results){0};
}

/* ---- comparing --------------------------------------------------------------------------------------- */

static const mobiedit_eval_case *find(const me_cases *cases, int64_t id) {
    for (size_t i = 0; i < cases->n; i++)
        if (cases->items[i].case_id == id) return &cases->items[i];
    return NULL;
}

static bool same_fact(const mobiedit_eval_case *a, const mobiedit_eval_case *b) {
    return strcmp(a->prompt, b->prompt) == 0 && strcmp(a->subject, b->subject) == 0 &&
           strcmp(a->target, b->target) == 0;
}

/* |b - a|; 0 where either is NaN. */
static double distance(double a, double b) {
    return isnan(a) || isnan(b) ? 0 : fabs(b - a);
}

static double change(const mobiedit_metrics *a, const mobiedit_metrics *b) {
    /* The KL only orders cases that are alike in the shares. */
    return distance(a->rewrite, b->rewrite) + distance(a->paraphrase, b->paraphrase) +
           distance(a->unchanged, b->unchanged) + 1e-3 * distance(a->neighbour_kl, b->neighbour_kl);
}

static int most_changed_first(const void *x, const void *y) {
    const me_pair *a = x, *b = y;
    if (a->change != b->change) return a->change < b->change ? 1 : -1;
    return a->a->case_id < b->a->case_id ? -1 : a->a->case_id > b->a->case_id;
}

static mobiedit_status make_pairs(const me_results *a, const me_results *b, me_comparison *out,
                                  mobiedit_error *err) {
    out->pairs = me_calloc(a->cases.n, sizeof *out->pairs);
    if (!out->pairs) return me_fail_memory(err, "the comparison");
    for (size_t i = 0; i < a->cases.n; i++) {
        const mobiedit_eval_case *one = &a->cases.items[i], *other = find(&b->cases, one->case_id);
        if (find(&a->cases, one->case_id) != one) continue; /* it occurs again */
        if (!other) {
            out->only_a++;
            continue;
        }
        if (!same_fact(one, other))
            return me_fail(err, MOBIEDIT_E_MISMATCH, "case %lld is another fact in the second file",
                           (long long)one->case_id);
        out->pairs[out->n++] =
            (me_pair){.a = one, .b = other, .change = change(&one->metrics, &other->metrics)};
    }
    for (size_t i = 0; i < b->cases.n; i++)
        out->only_b += !find(&a->cases, b->cases.items[i].case_id);
    if (out->n == 0) return me_fail(err, MOBIEDIT_E_MISMATCH, "no case is in both files");
    qsort(out->pairs, out->n, sizeof *out->pairs, most_changed_first);
    return MOBIEDIT_OK;
}

/* values: [3][n] of a, of b, and their differences. */
static mobiedit_status compare_metric(me_comparison *out, int m, double *values, mobiedit_error *err) {
    const size_t n = out->n;
    for (size_t i = 0; i < n; i++) {
        values[i] = me_metric_value(m, out->pairs[i].a);
        values[n + i] = me_metric_value(m, out->pairs[i].b);
        values[2 * n + i] = values[n + i] - values[i];
    }
    out->a[m].name = out->b[m].name = out->differences[m].name = me_metric_table[m].name;
    ME_TRY(me_bootstrap(values, n, &out->a[m], err));
    ME_TRY(me_bootstrap(values + n, n, &out->b[m], err));
    return me_bootstrap(values + 2 * n, n, &out->differences[m], err);
}

mobiedit_status me_compare(const me_results *a, const me_results *b, me_comparison *out,
                           mobiedit_error *err) {
    *out = (me_comparison){0};
    mobiedit_status status = make_pairs(a, b, out, err);
    double *values = status == MOBIEDIT_OK ? me_calloc(3 * out->n, sizeof *values) : NULL;
    if (status == MOBIEDIT_OK && !values) status = me_fail_memory(err, "the comparison");
    for (int m = 0; m < ME_METRICS && status == MOBIEDIT_OK; m++)
        status = compare_metric(out, m, values, err);
    me_free(values);
    if (status != MOBIEDIT_OK) me_comparison_free(out);
    return status;
}

void me_comparison_free(me_comparison *comparison) {
    me_free(comparison->pairs);
    *comparison = (me_comparison){0};
}
