/* Prints an evaluation: its cases as they finish, its summary, or all of it as JSON. */
#include "report_eval.h"
#include "output.h"

#include "report.h"
#include "units.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void report_case_header(void) {
    print_line("  case  rewrite  paraphrase  unchanged  neighbour KL  evaluations  seconds  fact");
}

static const char *yes_or_no(double value) {
    return isnan(value) ? "-" : value > 0 ? "yes" : "no";
}

/* A share in percent, or a dash. */
static const char *percent(double share, char text[16]) {
    if (isnan(share)) return "-";
    (void)snprintf(text, 16, "%.0f %%", 100 * share);
    return text;
}

static const char *nats(double kl, char text[16]) {
    if (isnan(kl)) return "-";
    (void)snprintf(text, 16, "%.3f", kl);
    return text;
}

void report_case(const mobiedit_eval_case *c) {
    char paraphrase[16], unchanged[16], kl[16];
    const char *hole = strstr(c->prompt, "{}");
    print_part("%6lld  %-7s  %10s  %9s  %12s  ", (long long)c->case_id, yes_or_no(c->metrics.rewrite),
               percent(c->metrics.paraphrase, paraphrase), percent(c->metrics.unchanged, unchanged),
               nats(c->metrics.neighbour_kl, kl));
    if (isnan(c->seconds))
        print_part("%11s  %7s  ", "-", "-");
    else
        print_part("%11zu  %7.2f  ", c->evaluations, c->seconds);
    print_part("%.*s%s%s -> %s", (int)(hole - c->prompt), c->prompt, c->subject, hole + 2, c->target);
    if (c->message) print_part(" (%s)", c->message);
    if (c->stop == MOBIEDIT_STOP_ALREADY_SAID) print_part(" (already said)");
    print_newline();
    (void)fflush(stdout);
}

/* A figure with its interval in its own unit. */
static void print_figure(const me_metric *metric, const mobiedit_figure *f) {
    char mean[UNIT_TEXT], low[UNIT_TEXT], high[UNIT_TEXT];
    if (f->n == 0) return;
    print_line("%-23s %8s%-8s  %s to %s", metric->label, unit_value(metric->unit, f->mean, mean),
               unit_name(metric->unit), unit_value(metric->unit, f->low, low),
               unit_value(metric->unit, f->high, high));
}

void report_eval(const options *o, const mobiedit_eval_summary *s) {
    print_newline();
    if (o->adapter)
        print_line("%-23s %8d, with %s", "cases", s->cases, o->adapter);
    else if (o->baseline)
        print_line("%-23s %8d, baseline %s", "cases", s->cases, o->baseline);
    else
        print_line("%-23s %8d, %d not edited (solver %s)", "cases", s->cases, s->failed, s->solver);
    if (s->unusable)
        print_line("%-23s %8d, left out: no subject in the prompt, or no new target", "unusable",
                   s->unusable);
    print_line("%-23s %8s%-8s  %s", "", "mean", "", "95 % interval");
    for (int m = 0; m < ME_METRICS; m++)
        print_figure(&me_metric_table[m], &s->figures[m]);
    if (s->figures[ME_METRIC_JOULES].n == 0 && s->solver) print_line("%-23s not measurable here", "energy");
    print_line("%-23s %8.0f MiB", "peak memory", report_mebibytes(s->peak_rss_bytes));
}

/* {"rewrite": {"mean": ..., "low": ..., "high": ..., "n": ...}, ...} */
static void add_figures(cJSON *object, const char *name, const mobiedit_figure *figures) {
    cJSON *list = cJSON_AddObjectToObject(object, name);
    for (int m = 0; m < ME_METRICS; m++) {
        cJSON *one = cJSON_AddObjectToObject(list, figures[m].name);
        me_json_add_number(one, "mean", figures[m].mean);
        me_json_add_number(one, "low", figures[m].low);
        me_json_add_number(one, "high", figures[m].high);
        me_json_add_number(one, "n", figures[m].n);
    }
}

/* A member per relation: its figures. */
static void add_relations(cJSON *object, const me_cases *cases) {
    cJSON *list = cJSON_AddObjectToObject(object, "relations");
    const char **names = calloc(cases->n + 1, sizeof *names);
    const size_t n = names ? me_relations(cases->items, cases->n, names) : 0;
    for (size_t i = 0; i < n; i++) {
        mobiedit_figure figures[ME_METRICS];
        if (me_figures(cases->items, cases->n, names[i], figures, NULL) == MOBIEDIT_OK)
            add_figures(list, names[i], figures);
    }
    free(names);
}

int report_eval_json(const options *o, const mobiedit_eval_summary *s, const me_cases *cases) {
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "version", mobiedit_version());
    me_json_add_text(object, "model", me_base_name(o->positional[0]));
    me_json_add_text(object, "facts", me_base_name(o->positional[1]));
    me_json_add_text(object, "solver", s->solver);
    me_json_add_text(object, "adapter", o->adapter ? me_base_name(o->adapter) : NULL);
    me_json_add_text(object, "baseline", o->baseline);
    me_json_add_text(object, "profile", report_profile(o));
    me_json_add_number(object, "cases", s->cases);
    me_json_add_number(object, "failed", s->failed);
    me_json_add_number(object, "unusable", s->unusable);
    for (int m = 0; m < ME_METRICS; m++)
        me_json_add_number(object, s->figures[m].name,
                           m == ME_METRIC_SECONDS ? s->seconds : s->figures[m].mean);
    me_json_add_count(object, "peak_rss_bytes", s->peak_rss_bytes);
    add_figures(object, "intervals", s->figures);
    add_relations(object, cases);
    cJSON *per_case = cJSON_AddArrayToObject(object, "per_case");
    for (size_t i = 0; i < cases->n; i++)
        (void)cJSON_AddItemToArray(per_case, me_case_to_json(&cases->items[i]));
    return json_print(object, STATUS_DONE);
}
