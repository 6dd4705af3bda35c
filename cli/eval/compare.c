/* mobiedit eval --compare: two results side by side, as text, JSON or a page. */
#include "compare.h"
#include "output.h"

#include "html.h"
#include "json.h"
#include "units.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN = 10 }; /* cases that changed most */

/* ---- for people -------------------------------------------------------------------------------------- */

static void print_metrics(const me_comparison *c) {
    print_line("%-23s %9s %9s %9s  %s", "", "a", "b", "b - a", "95 % interval");
    for (int m = 0; m < ME_METRICS; m++) {
        const me_unit unit = me_metric_table[m].unit;
        const mobiedit_figure *d = &c->differences[m];
        char a[UNIT_TEXT], b[UNIT_TEXT], mean[UNIT_TEXT], low[UNIT_TEXT], high[UNIT_TEXT];
        if (d->n == 0) continue;
        print_line("%-23s %9s %9s %9s  %s to %s%s", me_metric_table[m].label,
                   unit_value(unit, c->a[m].mean, a), unit_value(unit, c->b[m].mean, b),
                   unit_change(unit, d->mean, mean), unit_change(unit, d->low, low),
                   unit_change(unit, d->high, high), unit_name(unit));
    }
}

static void print_pair(const me_pair *pair) {
    const mobiedit_eval_case *c = pair->a;
    const char *hole = strstr(c->prompt, "{}");
    print_part("%6lld ", (long long)c->case_id);
    for (int m = 0; m < 3; m++) { /* rewrite, paraphrase, unchanged */
        char a[UNIT_TEXT], b[UNIT_TEXT];
        print_part(" %6s %6s ", unit_value(ME_UNIT_SHARE, me_metric_value(m, pair->a), a),
                   unit_value(ME_UNIT_SHARE, me_metric_value(m, pair->b), b));
    }
    print_line(" %.*s%s%s -> %s", (int)(hole - c->prompt), c->prompt, c->subject, hole + 2, c->target);
}

static void print_comparison(const me_comparison *c) {
    print_line("%zu cases in both, %zu in a alone, %zu in b alone", c->n, c->only_a, c->only_b);
    print_newline();
    print_metrics(c);
    print_newline();
    print_line("changed most, %% of a and b");
    print_line("%6s  %-15s %-15s %-15s fact", "case", "rewrite", "paraphrase", "unchanged");
    for (size_t i = 0; i < c->n && i < SHOWN && c->pairs[i].change > 0; i++)
        print_pair(&c->pairs[i]);
}

/* ---- for programs ------------------------------------------------------------------------------------ */

static void add_source(cJSON *object, const char *name, const char *path, const me_results *r) {
    cJSON *source = cJSON_AddObjectToObject(object, name);
    me_json_add_text(source, "file", me_base_name(path));
    me_json_add_text(source, "model", r->model);
    me_json_add_text(source, "facts", r->facts);
    me_json_add_text(source, "solver", r->solver);
    me_json_add_count(source, "cases", r->cases.n);
}

static void add_metrics(cJSON *object, const me_comparison *c) {
    cJSON *metrics = cJSON_AddObjectToObject(object, "metrics");
    for (int m = 0; m < ME_METRICS; m++) {
        const mobiedit_figure *d = &c->differences[m];
        cJSON *one = cJSON_AddObjectToObject(metrics, d->name);
        me_json_add_number(one, "a", c->a[m].mean);
        me_json_add_number(one, "b", c->b[m].mean);
        me_json_add_number(one, "difference", d->mean);
        me_json_add_number(one, "low", d->low);
        me_json_add_number(one, "high", d->high);
        me_json_add_number(one, "n", d->n);
    }
}

static void add_pairs(cJSON *object, const me_comparison *c) {
    cJSON *list = cJSON_AddArrayToObject(object, "per_case");
    for (size_t i = 0; i < c->n; i++) {
        const me_pair *pair = &c->pairs[i];
        cJSON *one = cJSON_CreateObject();
        (void)cJSON_AddNumberToObject(one, "case_id", (double)pair->a->case_id);
        me_json_add_text(one, "prompt", pair->a->prompt);
        me_json_add_text(one, "subject", pair->a->subject);
        me_json_add_text(one, "target", pair->a->target);
        for (int m = 0; m < ME_METRICS; m++) {
            cJSON *values = cJSON_AddObjectToObject(one, me_metric_table[m].name);
            me_json_add_number(values, "a", me_metric_value(m, pair->a));
            me_json_add_number(values, "b", me_metric_value(m, pair->b));
        }
        (void)cJSON_AddItemToArray(list, one);
    }
}

static int print_json(const options *o, const me_results *a, const me_results *b, const me_comparison *c) {
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "version", mobiedit_version());
    add_source(object, "a", o->positional[0], a);
    add_source(object, "b", o->positional[1], b);
    me_json_add_count(object, "pairs", c->n);
    me_json_add_count(object, "only_a", c->only_a);
    me_json_add_count(object, "only_b", c->only_b);
    add_metrics(object, c);
    add_pairs(object, c);
    return json_print(object, STATUS_DONE);
}

/* ---- both -------------------------------------------------------------------------------------------- */

static int report(const options *o, const me_results *a, const me_results *b, const me_comparison *c) {
    mobiedit_error err = {0};
    const html_comparison page = {.path_a = me_base_name(o->positional[0]),
                                  .path_b = me_base_name(o->positional[1]),
                                  .a = a,
                                  .b = b,
                                  .comparison = c};
    if (o->html && html_write_comparison(o->html, &page, &err) != MOBIEDIT_OK) return complain_of(&err);
    if (o->json) return print_json(o, a, b, c);
    print_comparison(c);
    return STATUS_DONE;
}

int compare_files(const options *o) {
    me_results a = {0}, b = {0};
    me_comparison comparison = {0};
    mobiedit_error err = {0};
    mobiedit_status status = me_results_read(o->positional[0], &a, &err);
    if (status == MOBIEDIT_OK) status = me_results_read(o->positional[1], &b, &err);
    if (status == MOBIEDIT_OK) status = me_compare(&a, &b, &comparison, &err);
    const int done = status == MOBIEDIT_OK ? report(o, &a, &b, &comparison) : complain_of(&err);
    me_comparison_free(&comparison);
    me_results_free(&a);
    me_results_free(&b);
    return done;
}
