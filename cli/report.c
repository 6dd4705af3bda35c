#include "report.h"

#include "base/file.h"
#include "ledger.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double mebibytes(size_t bytes) {
    return (double)bytes / (1 << 20);
}

/* ---- edit -------------------------------------------------------------------------------------------- */

/* The prompt without its braces, then what the model goes on with. */
static void print_text(const char *label, const char *prompt, const char *text) {
    (void)printf("%-13s ", label);
    for (const char *p = prompt; *p; p++)
        if (*p != '{' && *p != '}') (void)putchar(*p);
    (void)printf("%s\n", text ? text : "");
}

void report_edit(const options *o, const mobiedit_edit_result *r, const mobiedit_change *change) {
    print_text("before", o->positional[1], r->before);
    if (r->stop == MOBIEDIT_STOP_ALREADY_SAID) {
        (void)printf("The model already says \"%s\": nothing was written.\n", o->positional[2]);
        if (change) report_change(change);
        return;
    }
    print_text("after", o->positional[1], r->after);
    if (o->output) (void)printf("%-13s %s\n", "adapter", o->output);
    if (change) report_change(change);
    if (change && change->known) return;
    (void)printf("%-13s %s, layer %d, %d rounds, loss %.3f, |delta| %.2f of |v|\n", "edit", r->solver,
                 r->layer, r->rounds, (double)r->loss, (double)r->delta_ratio);
    (void)printf("%-13s %zu prompts, %zu tokens\n", "evaluations", r->evaluations, r->token_passes);
    (void)printf("%-13s %.2f s wall, %.2f s CPU\n", "time", r->seconds, r->cpu_seconds);
    if (!isnan(r->joules)) (void)printf("%-13s %.1f J\n", "energy", r->joules);
    (void)printf("%-13s %.0f MiB\n", "peak memory", mebibytes(r->peak_rss_bytes));
}

/* [[evaluations, loss], ...] */
static void add_trace(cJSON *object, const mobiedit_edit_result *r) {
    cJSON *trace = cJSON_AddArrayToObject(object, "trace");
    for (size_t i = 0; i < r->n_trace; i++) {
        const double point[2] = {(double)r->trace[i].evaluations, (double)r->trace[i].loss};
        cJSON_AddItemToArray(trace, cJSON_CreateDoubleArray(point, 2));
    }
}

int report_edit_json(const options *o, const mobiedit_edit_result *r, const mobiedit_change *change,
                     const mobiedit_error *err, int status) {
    cJSON *object = cJSON_CreateObject();
    const bool written = err->status == MOBIEDIT_OK && r->stop != MOBIEDIT_STOP_ALREADY_SAID;
    json_add_text(object, "version", mobiedit_version());
    json_add_text(object, "status", mobiedit_status_name(err->status));
    json_add_text(object, "message", err->status == MOBIEDIT_OK ? NULL : err->message);
    json_add_text(object, "model", me_base_name(o->positional[0]));
    json_add_text(object, "prompt", o->positional[1]);
    json_add_text(object, "target", o->positional[2]);
    json_add_text(object, "adapter", written ? o->output : NULL);
    json_add_text(object, "before", r->before);
    json_add_text(object, "after", r->after);
    json_add_text(object, "solver", r->solver);
    json_add_text(object, "stop", mobiedit_stop_name(r->stop));
    json_add_number(object, "layer", r->layer);
    json_add_number(object, "rounds", r->rounds);
    json_add_number(object, "loss", (double)r->loss);
    json_add_number(object, "delta_ratio", (double)r->delta_ratio);
    json_add_count(object, "evals", r->evaluations);
    json_add_count(object, "token_passes", r->token_passes);
    json_add_number(object, "seconds", r->seconds);
    json_add_number(object, "cpu_seconds", r->cpu_seconds);
    json_add_number(object, "joules", r->joules);
    json_add_count(object, "peak_rss_bytes", r->peak_rss_bytes);
    add_trace(object, r);
    if (change) change_add_json(object, change);
    return json_print(object, status);
}

/* ---- merge ------------------------------------------------------------------------------------------- */

static int report_merge_json(const options *o, const mobiedit_merge_result *r) {
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "version", mobiedit_version());
    json_add_text(object, "model", me_base_name(o->positional[0]));
    json_add_text(object, "merged", o->output);
    json_add_number(object, "tensors", r->tensors);
    json_add_text(object, "type", r->type);
    json_add_number(object, "error", r->error);
    json_add_count(object, "facts", r->facts);
    json_add_count(object, "held", r->held);
    json_add_count(object, "kept", r->kept);
    json_add_number(object, "seconds", r->seconds);
    json_add_count(object, "peak_rss_bytes", r->peak_rss_bytes);
    return json_print(object, STATUS_DONE);
}

int report_merge(const options *o, const mobiedit_merge_result *r) {
    if (o->json) return report_merge_json(o, r);
    (void)printf("%-13s %s\n", "merged", o->output);
    (void)printf("%-13s %d %s in %s, edit off by %.2g %%\n", "changed", r->tensors,
                 r->tensors == 1 ? "matrix" : "matrices", r->type, 100 * r->error);
    (void)printf("%-13s %zu of %zu, as with the adapter\n", "facts", r->kept, r->facts);
    (void)printf("%-13s %.2f s wall\n", "time", r->seconds);
    (void)printf("%-13s %.0f MiB\n", "peak memory", mebibytes(r->peak_rss_bytes));
    return STATUS_DONE;
}

/* ---- eval -------------------------------------------------------------------------------------------- */

void report_case_header(void) {
    (void)puts("  case  rewrite  paraphrase  unchanged  neighbour KL  evaluations  seconds  fact");
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
    (void)printf("%6lld  %-7s  %10s  %9s  %12s  %11zu  %7.2f  ", (long long)c->case_id,
                 c->rewrite > 0 ? "yes" : "no", percent(c->paraphrase, paraphrase),
                 percent(c->unchanged, unchanged), nats(c->neighbour_kl, kl), c->evaluations, c->seconds);
    (void)printf("%.*s%s%s -> %s", (int)(hole - c->prompt), c->prompt, c->subject, hole + 2, c->target);
    if (c->message) (void)printf(" (%s)", c->message);
    if (c->stop == MOBIEDIT_STOP_ALREADY_SAID) (void)fputs(" (already said)", stdout);
    (void)putchar('\n');
    (void)fflush(stdout);
}

static void add_metrics(cJSON *object, double rewrite, double paraphrase, double unchanged, double kl) {
    json_add_number(object, "rewrite", rewrite);
    json_add_number(object, "paraphrase", paraphrase);
    json_add_number(object, "unchanged", unchanged);
    json_add_number(object, "neighbour_kl", kl);
}

cJSON *report_case_json(const mobiedit_eval_case *c) {
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(object, "case_id", (double)c->case_id);
    json_add_text(object, "prompt", c->prompt);
    json_add_text(object, "subject", c->subject);
    json_add_text(object, "relation", c->relation);
    json_add_text(object, "target", c->target);
    json_add_text(object, "status", mobiedit_status_name(c->status));
    json_add_text(object, "message", c->message);
    json_add_text(object, "stop", mobiedit_stop_name(c->stop));
    add_metrics(object, c->rewrite, c->paraphrase, c->unchanged, c->neighbour_kl);
    json_add_count(object, "evals", c->evaluations);
    json_add_number(object, "seconds", c->seconds);
    json_add_number(object, "layer", c->layer);
    return object;
}

void report_eval(const mobiedit_eval_summary *s) {
    char text[16];
    (void)printf("\n%-13s %d, %d not edited (solver %s)\n", "cases", s->cases, s->failed, s->solver);
    (void)printf("%-13s %s\n", "rewrite", percent(s->rewrite, text));
    (void)printf("%-13s %s\n", "paraphrase", percent(s->paraphrase, text));
    (void)printf("%-13s %s\n", "unchanged", percent(s->unchanged, text));
    (void)printf("%-13s %s nats\n", "neighbour KL", nats(s->neighbour_kl, text));
    if (!isnan(s->seconds))
        (void)printf("%-13s %.0f prompts, mean an edit\n%-13s %.2f s, median an edit\n", "evaluations",
                     s->evaluations, "time", s->seconds);
    (void)printf("%-13s %.0f MiB\n", "peak memory", mebibytes(s->peak_rss_bytes));
}

int report_eval_json(const options *o, const mobiedit_eval_summary *s, cJSON *per_case) {
    cJSON *object = cJSON_CreateObject();
    json_add_text(object, "version", mobiedit_version());
    json_add_text(object, "model", me_base_name(o->positional[0]));
    json_add_text(object, "facts", me_base_name(o->positional[1]));
    json_add_text(object, "solver", s->solver);
    json_add_number(object, "cases", s->cases);
    json_add_number(object, "failed", s->failed);
    add_metrics(object, s->rewrite, s->paraphrase, s->unchanged, s->neighbour_kl);
    json_add_number(object, "evals", s->evaluations);
    json_add_number(object, "seconds", s->seconds);
    json_add_count(object, "peak_rss_bytes", s->peak_rss_bytes);
    if (!cJSON_AddItemToObject(object, "per_case", per_case)) cJSON_Delete(per_case);
    return json_print(object, STATUS_DONE);
}
