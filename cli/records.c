/* Prints the ledger's records and changes, as text and as JSON. */
#define _POSIX_C_SOURCE 200809L
#include "records.h"
#include "output.h"

#include <stdio.h>
#include <time.h>

const char *date_text(int64_t seconds, char text[20]) {
    const time_t when = (time_t)seconds;
    struct tm local;
    if (!localtime_r(&when, &local) || strftime(text, 20, "%Y-%m-%d %H:%M", &local) == 0) return "-";
    return text;
}

static const char *holds_text(const mobiedit_record *r) {
    if (r->state != MOBIEDIT_RECORD_ACTIVE || r->holds < 0) return "-";
    return r->holds ? "yes" : "no";
}

void report_record_header(void) {
    print_line("  id  state       holds  layer  made              fact");
}

void report_record(const mobiedit_record *r) {
    char date[20];
    print_part("%4lld  %-10s  %-5s  %5d  %-16s  %s -> %s", (long long)r->id,
               mobiedit_record_state_name(r->state), holds_text(r), r->solve.layer,
               date_text(r->created, date), r->prompt, r->target);
    if (r->superseded_by) print_part(" (by %lld)", (long long)r->superseded_by);
    if (r->solve.stop == MOBIEDIT_STOP_ALREADY_SAID) print_part(" (said by the model itself)");
    print_newline();
}

static void add_id(cJSON *object, const char *name, int64_t id) {
    if (id)
        (void)cJSON_AddNumberToObject(object, name, (double)id);
    else
        (void)cJSON_AddNullToObject(object, name);
}

void search_add_json(cJSON *object, const mobiedit_solve_stats *solve) {
    me_json_add_number(object, "rounds", solve->rounds);
    me_json_add_number(object, "loss", (double)solve->loss);
    me_json_add_number(object, "delta_ratio", (double)solve->delta_ratio);
    me_json_add_count(object, "evals", solve->evaluations);
    me_json_add_count(object, "token_passes", solve->token_passes);
    me_json_add_number(object, "seconds", solve->seconds);
}

cJSON *record_json(const mobiedit_record *r) {
    cJSON *object = cJSON_CreateObject();
    add_id(object, "id", r->id);
    me_json_add_text(object, "state", mobiedit_record_state_name(r->state));
    add_id(object, "superseded_by", r->superseded_by);
    me_json_add_text(object, "prompt", r->prompt);
    me_json_add_text(object, "target", r->target);
    cJSON *keep = cJSON_AddArrayToObject(object, "keep");
    for (size_t i = 0; i < r->n_keep; i++)
        cJSON_AddItemToArray(keep, cJSON_CreateString(r->keep[i]));
    me_json_add_number(object, "layer", r->solve.layer);
    me_json_add_text(object, "solver", r->solve.solver);
    (void)cJSON_AddNumberToObject(object, "seed", (double)r->solve.seed);
    me_json_add_text(object, "stop", mobiedit_stop_name(r->solve.stop));
    search_add_json(object, &r->solve);
    me_json_add_text(object, "before", r->before);
    me_json_add_text(object, "after", r->after);
    if (r->holds < 0)
        (void)cJSON_AddNullToObject(object, "holds");
    else
        (void)cJSON_AddBoolToObject(object, "holds", r->holds);
    add_id(object, "created", r->created);
    add_id(object, "changed", r->changed);
    add_id(object, "verified", r->verified);
    return object;
}

static bool count_record(void *user, const mobiedit_record *record) {
    *(int *)user +=
        record->state == MOBIEDIT_RECORD_ACTIVE && record->solve.stop != MOBIEDIT_STOP_ALREADY_SAID;
    return true;
}

int count_active(mobiedit_ledger *ledger, int *status) {
    mobiedit_error err = {0};
    int n = 0;
    if (mobiedit_ledger_list(ledger, 0, count_record, &n, &err) == MOBIEDIT_OK) return n;
    *status = complain_of(&err);
    return -1;
}

void report_adapter(const char *path, int active) {
    if (active == 0)
        print_line("%-13s %s, which does nothing: no edit is active", "adapter", path);
    else
        print_line("%-13s %s, of %d active edit%s", "adapter", path, active, active == 1 ? "" : "s");
}

void adapter_add_json(cJSON *object, const char *path, int active) {
    me_json_add_text(object, "adapter", path);
    me_json_add_number(object, "active", active);
}

void report_change(const mobiedit_change *c) {
    if (c->known)
        print_line("%-13s %lld, which is already active", "recorded", (long long)c->id);
    else if (c->id)
        print_line("%-13s %lld", "recorded", (long long)c->id);
    if (c->superseded)
        print_line("%-13s edit %lld, of the same prompt", "superseded", (long long)c->superseded);
    if (c->restored) print_line("%-13s edit %lld is active again", "restored", (long long)c->restored);
    if (c->resolved) print_line("%-13s %d other edits, so that they still hold", "solved again", c->resolved);
    if (c->lost)
        print_line("%-13s %d other edits no longer hold (mobiedit verify tells which)", "lost", c->lost);
    if (c->related)
        print_line("%-13s %d other edits of the subject may not hold now (mobiedit verify --repair)",
                   "related", c->related);
}

void change_add_json(cJSON *object, const mobiedit_change *c) {
    add_id(object, "id", c->id);
    (void)cJSON_AddBoolToObject(object, "known", c->known);
    add_id(object, "superseded", c->superseded);
    add_id(object, "restored", c->restored);
    me_json_add_number(object, "solved_anew", c->resolved);
    me_json_add_number(object, "lost", c->lost);
    me_json_add_number(object, "related", c->related);
}

/* Nats a token from which on other text is no longer what it was: with the ten facts of doc/ledger.md it is
 * .17, and with a hundred, which leave nothing of the model, 3.1. */
static const double MUCH_DRIFT = 0.5;

void report_together(const mobiedit_verify_summary *together) {
    print_part("%-13s %d of %d active edits hold", "together", together->hold, together->active);
    if (together->said) print_part(" (%d of them facts that the model says by itself)", together->said);
    if (together->resolved) print_part(", %d of them solved again", together->resolved);
    print_newline();
    if (together->active == 0) return;
    print_line("%-13s %.3f nats a token, in text that has nothing to do with them", "drift", together->drift);
    if (together->drift > MUCH_DRIFT) print_line("%-13s these are too many for this model: undo some", "");
}

void together_add_json(cJSON *object, const mobiedit_verify_summary *together) {
    me_json_add_number(object, "active", together->active);
    me_json_add_number(object, "said_by_itself", together->said);
    me_json_add_number(object, "hold", together->hold);
    me_json_add_number(object, "solved_anew", together->resolved);
    me_json_add_number(object, "drift", together->drift);
}

void warnings_add_json(cJSON *object, bool high_loss, const char *known_as) {
    (void)cJSON_AddBoolToObject(object, "high_loss", high_loss);
    me_json_add_text(object, "known_as", known_as);
}
