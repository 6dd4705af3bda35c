/* Prints the ledger's records and changes, as text and as JSON. */
#define _POSIX_C_SOURCE 200809L
#include "records.h"
#include "output.h"

#include <stdio.h>
#include <string.h>
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

static const char *chat_text(const mobiedit_record *r) {
    if (r->state != MOBIEDIT_RECORD_ACTIVE || r->asides.chat < 0) return "-";
    return r->asides.chat ? "yes" : "no";
}

static size_t count_unchanged(const mobiedit_asides *asides) {
    size_t n = 0;
    for (size_t i = 0; i < asides->n_others; i++)
        n += asides->others[i].unchanged;
    return n;
}

/* "2/2", of other things about the subject. */
static const char *others_text(const mobiedit_record *r, char text[48]) {
    if (r->state != MOBIEDIT_RECORD_ACTIVE || r->asides.n_others == 0) return "-";
    (void)snprintf(text, 48, "%zu/%zu", count_unchanged(&r->asides), r->asides.n_others);
    return text;
}

void report_record_header(void) {
    print_line("  id  state       holds  chat  others  layer  made              fact");
}

void report_record(const mobiedit_record *r) {
    char date[20], others[48];
    print_part("%4lld  %-10s  %-5s  %-4s  %-6s  %5d  %-16s  %s -> %s", (long long)r->id,
               mobiedit_record_state_name(r->state), holds_text(r), chat_text(r), others_text(r, others),
               r->solve.layer, date_text(r->created, date), r->prompt, r->target);
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
    cJSON *also = cJSON_AddArrayToObject(object, "also");
    for (size_t i = 0; i < r->n_also; i++)
        cJSON_AddItemToArray(also, cJSON_CreateString(r->also[i]));
    asides_add_json(object, &r->asides);
    me_json_add_number(object, "layer", r->solve.layer);
    me_json_add_text(object, "place", r->solve.at_answer ? "answer" : "subject");
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

/* ---- beside the prompt ------------------------------------------------------------------------------- */

/* The bytes of the subject in the prompt's braces. */
static int find_subject(const char *prompt, const char **out) {
    const char *open = strchr(prompt, '{'), *close = open ? strchr(open, '}') : NULL;
    *out = close ? open + 1 : "it";
    return close ? (int)(close - open - 1) : (int)strlen(*out);
}

void report_asides(const char *prompt, const mobiedit_asides *asides) {
    const char *subject;
    const int n = find_subject(prompt, &subject);
    if (asides->chat >= 0) print_line("%-13s %s", "also in chat", asides->chat ? "yes" : "no");
    if (asides->n_others == 0) return;
    print_line("%-13s of %zu other things about %.*s, %zu unchanged", "others", asides->n_others, n, subject,
               count_unchanged(asides));
    for (size_t i = 0; i < asides->n_others; i++) {
        const mobiedit_other *other = &asides->others[i];
        if (!other->unchanged)
            print_line("%-13s %s%s, before%s", "changed", other->prompt, other->after, other->before);
    }
}

void print_asides_shortly(const mobiedit_asides *asides) {
    const size_t changed = asides->n_others - count_unchanged(asides);
    if (asides->chat == 0) print_part(" (not in chat)");
    if (changed) print_part(" (%zu of %zu other things changed)", changed, asides->n_others);
}

void asides_add_json(cJSON *object, const mobiedit_asides *asides) {
    if (asides->chat < 0)
        (void)cJSON_AddNullToObject(object, "chat");
    else
        (void)cJSON_AddBoolToObject(object, "chat", asides->chat);
    me_json_add_count(object, "others", asides->n_others);
    me_json_add_count(object, "others_unchanged", count_unchanged(asides));
    cJSON *changed = cJSON_AddArrayToObject(object, "others_changed");
    cJSON *same = cJSON_AddArrayToObject(object, "others_same");
    for (size_t i = 0; i < asides->n_others; i++) {
        const mobiedit_other *from = &asides->others[i];
        cJSON *other = cJSON_CreateObject();
        me_json_add_text(other, "prompt", from->prompt);
        me_json_add_text(other, "before", from->before);
        me_json_add_text(other, "after", from->after);
        if (!cJSON_AddItemToArray(from->unchanged ? same : changed, other)) cJSON_Delete(other);
    }
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
