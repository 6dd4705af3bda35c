/* Writes an evaluation, or a comparison of two, as a page of tables and plots. */
#include "html.h"

#include "base/names.h"
#include "page.h"
#include "units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 12 }; /* cases in full */

static void put_row(FILE *out, const char *name, const char *value) {
    (void)fputs("<tr><th>", out);
    page_text(out, name);
    (void)fputs("</th><td>", out);
    page_text(out, value && *value ? value : "-");
    (void)fputs("</td></tr>\n", out);
}

static void put_number(FILE *out, const char *text) {
    (void)fprintf(out, "<td class=\"n\">%s</td>", text);
}

static void put_value(FILE *out, me_unit unit, double value) {
    char text[UNIT_TEXT];
    put_number(out, unit_value(unit, value, text));
}

static void put_metric_name(FILE *out, const me_metric *metric) {
    (void)fprintf(out, "<tr><th>%s <span class=\"soft\">%s</span></th>", metric->label,
                  unit_name(metric->unit));
}

/* ---- one case ---------------------------------------------------------------------------------------- */

static void put_continuation(FILE *out, const char *text) {
    (void)fputs("<td>", out);
    if (text) {
        (void)fputs("<q>", out);
        page_text(out, text);
        (void)fputs("</q>", out);
    }
    (void)fputs("</td>", out);
}

/* The prompt with its subject and the target. */
static void put_fact(FILE *out, const mobiedit_eval_case *c) {
    const char *hole = strstr(c->prompt, "{}");
    const int before = (int)(hole - c->prompt);
    for (int i = 0; i < before; i++) {
        const char one[2] = {c->prompt[i], '\0'};
        page_text(out, one);
    }
    (void)fputs("<b>", out);
    page_text(out, c->subject);
    (void)fputs("</b>", out);
    page_text(out, hole + 2);
    (void)fputs(" &rarr; <b>", out);
    page_text(out, c->target);
    (void)fputs("</b>", out);
}

static void put_metrics(FILE *out, const mobiedit_eval_case *c) {
    (void)fputs("<p class=\"soft\">", out);
    for (int m = 0; m < ME_METRICS; m++) {
        char text[UNIT_TEXT];
        const double value = me_metric_value(m, c);
        if (isnan(value)) continue;
        (void)fprintf(out, "%s %s%s; ", me_metric_table[m].label,
                      unit_value(me_metric_table[m].unit, value, text), unit_name(me_metric_table[m].unit));
    }
    (void)fprintf(out, "layer %d</p>\n", c->layer);
}

static const char *mark(const mobiedit_said *said) {
    return said->held ? "<td class=\"good\">yes</td>" : "<td class=\"bad\">no</td>";
}

static void put_said(FILE *out, const mobiedit_eval_case *c) {
    if (c->n_said == 0) return;
    (void)fputs("<table><tr><th></th><th>asked</th><th>before</th><th>after</th><th>as it should</th></tr>\n",
                out);
    for (size_t i = 0; i < c->n_said; i++) {
        const mobiedit_said *said = &c->said[i];
        (void)fprintf(out, "<tr><td class=\"soft\">%s</td>", me_said_kind_name(said->kind));
        put_continuation(out, said->prompt);
        put_continuation(out, said->before);
        put_continuation(out, said->after);
        (void)fprintf(out, "%s</tr>\n", mark(said));
    }
    (void)fputs("</table>\n", out);
}

static void begin_case(FILE *out, const mobiedit_eval_case *c, bool open) {
    (void)fprintf(out, "<details%s><summary>case %lld: ", open ? " open" : "", (long long)c->case_id);
    put_fact(out, c);
    (void)fputs(" <span class=\"soft\">", out);
    page_text(out, page_relation(c->relation));
    (void)fputs("</span></summary>\n", out);
}

static void put_message(FILE *out, const mobiedit_eval_case *c) {
    if (!c->message) return;
    (void)fputs("<p class=\"bad\">", out);
    page_text(out, c->message);
    (void)fputs("</p>\n", out);
}

/* ---- an evaluation ----------------------------------------------------------------------------------- */

static void put_summary(FILE *out, const html_evaluation *e) {
    const mobiedit_eval_summary *s = e->summary;
    char text[64];
    (void)fputs("<table>\n", out);
    put_row(out, "model", e->model);
    put_row(out, "facts", e->facts);
    put_row(out, "solver", s->solver);
    put_row(out, "adapter", e->adapter);
    if (e->baseline) put_row(out, "baseline", e->baseline);
    (void)snprintf(text, sizeof text, "%d, %d not edited, %d unusable", s->cases, s->failed, s->unusable);
    put_row(out, "cases", text);
    put_row(out, "mobiedit", mobiedit_version());
    (void)fputs("</table>\n<h2>Summary</h2>\n<table>\n<tr><th></th><th class=\"n\">mean</th><th class=\"n\" "
                "colspan=\"2\">95 % interval</th><th class=\"n\">cases</th></tr>\n",
                out);
    for (int m = 0; m < ME_METRICS; m++) {
        const me_metric *metric = &me_metric_table[m];
        const mobiedit_figure *f = &s->figures[m];
        if (f->n == 0) continue;
        put_metric_name(out, metric);
        put_value(out, metric->unit, f->mean);
        put_value(out, metric->unit, f->low);
        put_value(out, metric->unit, f->high);
        (void)fprintf(out, "<td class=\"n\">%d</td></tr>\n", f->n);
    }
    (void)fputs("</table>\n", out);
}

/* The figures of each relation. */
typedef struct {
    const char *name;
    mobiedit_figure figures[ME_METRICS];
} relation;

/* Whether any relation has the metric: columns of dashes are left out. */
static bool is_measured(int m, const relation *relations, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (relations[i].figures[m].n > 0) return true;
    return false;
}

static void put_relations_table(FILE *out, const relation *relations, size_t n) {
    (void)fputs("<h2>Relations</h2>\n<table>\n<tr><th></th><th class=\"n\">cases</th>", out);
    for (int m = 0; m < ME_METRICS; m++)
        if (is_measured(m, relations, n))
            (void)fprintf(out, "<th class=\"n\">%s%s</th>", me_metric_table[m].label,
                          unit_name(me_metric_table[m].unit));
    (void)fputs("</tr>\n", out);
    for (size_t i = 0; i < n; i++) {
        (void)fputs("<tr><th>", out);
        page_text(out, page_relation(relations[i].name));
        (void)fprintf(out, "</th><td class=\"n\">%d</td>", relations[i].figures[0].n);
        for (int m = 0; m < ME_METRICS; m++)
            if (is_measured(m, relations, n))
                put_value(out, me_metric_table[m].unit, relations[i].figures[m].mean);
        (void)fputs("</tr>\n", out);
    }
    (void)fputs("</table>\n", out);
}

static void put_relation_bars(FILE *out, int m, const relation *relations, size_t n) {
    page_bar *bars = calloc(n ? n : 1, sizeof *bars);
    char title[64];
    if (!bars) return;
    for (size_t i = 0; i < n; i++) {
        const mobiedit_figure *f = &relations[i].figures[m];
        bars[i] = (page_bar){
            .label = relations[i].name, .mean = f->mean, .low = f->low, .high = f->high, .n = f->n};
    }
    (void)snprintf(title, sizeof title, "%s by relation, %%", me_metric_table[m].label);
    page_bars(out, title, bars, n);
    free(bars);
}

static void put_histogram(FILE *out, int m, const me_cases *cases) {
    double *values = calloc(cases->n ? cases->n : 1, sizeof *values);
    char title[64];
    if (!values) return;
    for (size_t i = 0; i < cases->n; i++)
        values[i] = me_metric_value(m, &cases->items[i]);
    (void)snprintf(title, sizeof title, "%s, cases", me_metric_table[m].label);
    page_histogram(out, title, unit_name(me_metric_table[m].unit) + 1, values, cases->n);
    free(values);
}

enum { PARAPHRASE = 1, UNCHANGED = 2 }; /* in the table of metrics */

static void put_by_relation(FILE *out, const html_evaluation *e) {
    const me_cases *cases = e->cases;
    const char **names = calloc(cases->n ? cases->n : 1, sizeof *names);
    relation *relations = calloc(cases->n ? cases->n : 1, sizeof *relations);
    size_t n = names ? me_relations(cases->items, cases->n, names) : 0;
    for (size_t i = 0; relations && i < n; i++) {
        relations[i].name = names[i];
        if (me_figures(cases->items, cases->n, names[i], relations[i].figures, NULL) != MOBIEDIT_OK) n = i;
    }
    (void)fputs("<h2>Plots</h2>\n<div class=\"plots\">\n", out);
    put_histogram(out, ME_METRIC_EVALS, cases);
    put_histogram(out, ME_METRIC_SECONDS, cases);
    put_histogram(out, ME_METRIC_LOSS, cases);
    if (relations) {
        put_relation_bars(out, PARAPHRASE, relations, n);
        put_relation_bars(out, UNCHANGED, relations, n);
    }
    (void)fputs("</div>\n", out);
    if (relations) put_relations_table(out, relations, n);
    free(names);
    free(relations);
}

static double or_one(double share) {
    return isnan(share) ? 1 : share;
}

/* What is right with a case: the less, the worse. */
static double merit(const mobiedit_eval_case *c) {
    return or_one(c->metrics.rewrite) + or_one(c->metrics.paraphrase) + or_one(c->metrics.unchanged);
}

static int worst_first(const void *x, const void *y) {
    const mobiedit_eval_case *a = *(const mobiedit_eval_case *const *)x,
                             *b = *(const mobiedit_eval_case *const *)y;
    if (merit(a) != merit(b)) return merit(a) < merit(b) ? -1 : 1;
    return a->case_id < b->case_id ? -1 : a->case_id > b->case_id;
}

static void put_worst(FILE *out, const me_cases *cases) {
    const mobiedit_eval_case **order = calloc(cases->n ? cases->n : 1, sizeof *order);
    if (!order) return;
    for (size_t i = 0; i < cases->n; i++)
        order[i] = &cases->items[i];
    qsort(order, cases->n, sizeof *order, worst_first);
    (void)fputs("<h2>Worst cases</h2>\n<p class=\"soft\">Those with the least of rewrite, paraphrase and "
                "unchanged.</p>\n",
                out);
    for (size_t i = 0; i < cases->n && i < SHOWN; i++) {
        begin_case(out, order[i], true);
        put_message(out, order[i]);
        put_metrics(out, order[i]);
        put_said(out, order[i]);
        (void)fputs("</details>\n", out);
    }
    free(order);
}

static void put_evaluation(FILE *out, const void *what) {
    const html_evaluation *e = what;
    page_begin(out, "Evaluation of edits");
    put_summary(out, e);
    put_by_relation(out, e);
    put_worst(out, e->cases);
    page_end(out);
}

mobiedit_status html_write_evaluation(const char *path, const html_evaluation *what, mobiedit_error *err) {
    return page_write(path, put_evaluation, what, err);
}

/* ---- a comparison ------------------------------------------------------------------------------------ */

static void put_source(FILE *out, const char *letter, const char *path, const me_results *r) {
    (void)fprintf(out, "<tr><th>%s</th>", letter);
    const char *const texts[] = {path, r->model, r->facts, r->solver};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        (void)fputs("<td>", out);
        page_text(out, texts[i]);
        (void)fputs("</td>", out);
    }
    (void)fprintf(out, "<td class=\"n\">%zu</td></tr>\n", r->cases.n);
}

/* Green or red where the interval leaves 0 out. */
static const char *judgement(const me_metric *metric, const mobiedit_figure *difference) {
    if (metric->better == 0 || difference->n == 0) return "";
    if (difference->low > 0) return metric->better > 0 ? "good" : "bad";
    if (difference->high < 0) return metric->better > 0 ? "bad" : "good";
    return "";
}

static void put_differences(FILE *out, const me_comparison *c) {
    (void)fputs("<h2>Differences</h2>\n<p class=\"soft\">Over the cases of both; b - a, with a paired 95 % "
                "interval. Coloured where the interval leaves 0 out.</p>\n<table>\n<tr><th></th><th "
                "class=\"n\">a</th><th class=\"n\">b</th><th class=\"n\">b - a</th><th class=\"n\" "
                "colspan=\"2\">interval</th><th class=\"n\">cases</th></tr>\n",
                out);
    for (int m = 0; m < ME_METRICS; m++) {
        const me_metric *metric = &me_metric_table[m];
        const mobiedit_figure *d = &c->differences[m];
        char mean[UNIT_TEXT], low[UNIT_TEXT], high[UNIT_TEXT];
        if (d->n == 0) continue;
        put_metric_name(out, metric);
        put_value(out, metric->unit, c->a[m].mean);
        put_value(out, metric->unit, c->b[m].mean);
        (void)fprintf(out, "<td class=\"n %s\">%s</td>", judgement(metric, d),
                      unit_change(metric->unit, d->mean, mean));
        put_number(out, unit_change(metric->unit, d->low, low));
        put_number(out, unit_change(metric->unit, d->high, high));
        (void)fprintf(out, "<td class=\"n\">%d</td></tr>\n", d->n);
    }
    (void)fputs("</table>\n", out);
}

static void put_changed(FILE *out, const me_comparison *c) {
    (void)fputs("<h2>Cases that changed most</h2>\n", out);
    for (size_t i = 0; i < c->n && i < SHOWN && c->pairs[i].change > 0; i++) {
        const me_pair *pair = &c->pairs[i];
        begin_case(out, pair->a, true);
        (void)fputs("<h3>a</h3>\n", out);
        put_message(out, pair->a);
        put_metrics(out, pair->a);
        put_said(out, pair->a);
        (void)fputs("<h3>b</h3>\n", out);
        put_message(out, pair->b);
        put_metrics(out, pair->b);
        put_said(out, pair->b);
        (void)fputs("</details>\n", out);
    }
}

static void put_comparison(FILE *out, const void *what) {
    const html_comparison *h = what;
    page_begin(out, "Two evaluations of edits");
    (void)fputs("<table>\n<tr><th></th><th>file</th><th>model</th><th>facts</th><th>solver</th><th "
                "class=\"n\">cases</th></tr>\n",
                out);
    put_source(out, "a", h->path_a, h->a);
    put_source(out, "b", h->path_b, h->b);
    (void)fprintf(out, "</table>\n<p>%zu cases in both, %zu in a alone, %zu in b alone.</p>\n",
                  h->comparison->n, h->comparison->only_a, h->comparison->only_b);
    put_differences(out, h->comparison);
    put_changed(out, h->comparison);
    page_end(out);
}

mobiedit_status html_write_comparison(const char *path, const html_comparison *what, mobiedit_error *err) {
    return page_write(path, put_comparison, what, err);
}
