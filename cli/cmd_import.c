/* mobiedit import */
#define _POSIX_C_SOURCE 200809L
#include "output.h"
#include "progress.h"
#include "records.h"
#include "session.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const option_row TABLE[] = {OPTION_ROW_OUTPUT("the adapter to write, of all active edits"),
                                   OPTION_ROW_DESCRIBE,
                                   OPTION_ROW_FORCE,
                                   OPTION_ROW_STRICT,
                                   OPTION_ROW_LEDGER,
                                   OPTION_ROW_END};

typedef struct {
    const options *o;
    progress_line line;
    cJSON *facts; /* NULL: lines */
} importing;

static const char *outcome_name(mobiedit_fact_outcome outcome) {
    static const char *const names[] = {
        [MOBIEDIT_FACT_RECORDED] = "recorded",  [MOBIEDIT_FACT_KNOWN] = "known",
        [MOBIEDIT_FACT_SAID] = "already said",  [MOBIEDIT_FACT_FAILED] = "failed",
        [MOBIEDIT_FACT_REPLACED] = "replaced",  [MOBIEDIT_FACT_UNUSABLE] = "unusable",
        [MOBIEDIT_FACT_REDONE] = "active again"};
    return names[outcome];
}

static bool on_progress(void *user, const mobiedit_progress *now) {
    importing *i = user;
    return progress_show(&i->line, now);
}

static cJSON *fact_json(const mobiedit_import_fact *f) {
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "prompt", f->prompt);
    me_json_add_text(object, "target", f->target);
    me_json_add_text(object, "outcome", outcome_name(f->outcome));
    me_json_add_text(object, "message", f->message);
    me_json_add_number(object, "seconds", f->seconds);
    warnings_add_json(object, f->high_loss, f->known_as);
    asides_add_json(object, &f->asides);
    change_add_json(object, &f->change);
    return object;
}

/* Columns for a fact's line. A file that takes standard output has no width of its own. */
static int line_columns(void) {
    enum { IN_A_FILE = 200 };
    return isatty(STDOUT_FILENO) ? terminal_columns(STDOUT_FILENO) : IN_A_FILE;
}

/* Bytes of the first `most` characters of the text, or fewer. */
static int cut(const char *text, int most) {
    size_t bytes = 0, n;
    for (int i = 0; i < most && (n = me_utf8_length(text + bytes)) > 0; i++)
        bytes += n;
    return (int)bytes;
}

/* A fact's prompt may be a page long: the line is cut to the terminal's width, and its end stays. */
static void print_prompt(const mobiedit_import_fact *f, int used) {
    enum { LEAST = 20 };
    static const char mark[] = "...";
    const int left = line_columns() - used - (int)strlen(" -> ") - (int)strlen(f->target);
    const int room = left > LEAST ? left : LEAST;
    if (cut(f->prompt, room) == (int)strlen(f->prompt))
        print_part("%s", f->prompt);
    else
        print_part("%.*s%s", cut(f->prompt, room - (int)strlen(mark)), f->prompt, mark);
}

static void print_fact(const mobiedit_import_fact *f) {
    if (f->outcome == MOBIEDIT_FACT_UNUSABLE) {
        print_line("%*s  unusable      %s", 7, "", f->message);
        return;
    }
    char head[64];
    const int used = snprintf(head, sizeof head, "%*d/%d  %-12s %7.2f s  ", 5, f->index + 1, f->total,
                              outcome_name(f->outcome), f->seconds);
    print_part("%s", head);
    print_prompt(f, used);
    print_part(" -> %s", f->target);
    if (f->change.superseded) print_part(" (supersedes %lld)", (long long)f->change.superseded);
    if (f->message) print_part(" (%s)", f->message);
    if (f->high_loss) print_part(" (warning: ended at a high loss)");
    print_asides_shortly(&f->asides);
    if (f->known_as) print_part(" (warning: the model knows the subject as \"%s\")", f->known_as);
    print_newline();
    (void)fflush(stdout);
}

static bool on_fact(void *user, const mobiedit_import_fact *f) {
    importing *i = user;
    progress_clear(&i->line);
    if (f->index >= 0) {
        i->line.done = f->index + 1;
        i->line.total = f->total;
    }
    if (i->facts)
        (void)cJSON_AddItemToArray(i->facts, fact_json(f));
    else if (!i->o->quiet)
        print_fact(f);
    return !interrupted() && !ferror(stdout);
}

static void report(const mobiedit_import_summary *s) {
    print_newline();
    print_line("%-13s %d recorded, %d already known, %d said by the model itself, %d failed", "facts",
               s->recorded, s->known, s->said, s->failed);
    if (s->redone) print_line("%-13s %d, superseded before", "active again", s->redone);
    if (s->replaced) print_line("%-13s %d, by later facts of the file", "replaced", s->replaced);
    if (s->unusable) print_line("%-13s %d", "unusable", s->unusable);
    report_together(&s->all);
}

static int report_json(cJSON *facts, const char *adapter, const mobiedit_import_summary *s, int status) {
    cJSON *object = cJSON_CreateObject();
    me_json_add_number(object, "recorded", s->recorded);
    me_json_add_number(object, "redone", s->redone);
    me_json_add_number(object, "known", s->known);
    me_json_add_number(object, "said", s->said);
    me_json_add_number(object, "failed", s->failed);
    me_json_add_number(object, "replaced", s->replaced);
    me_json_add_number(object, "unusable", s->unusable);
    together_add_json(object, &s->all);
    me_json_add_text(object, "adapter", adapter);
    if (!cJSON_AddItemToObject(object, "facts", facts)) cJSON_Delete(facts);
    return json_print(object, status);
}

static int import(const options *o, mobiedit_ledger *ledger) {
    importing i = {.o = o, .facts = o->json ? cJSON_CreateArray() : NULL};
    progress_start(&i.line, o->quiet);
    const mobiedit_import_options import_options = {
        .edit = options_edit(o, on_progress, &i), .n = o->n, .skip = o->skip, .on_fact = on_fact, .user = &i};
    mobiedit_import_summary summary = {0};
    mobiedit_error err = {0};
    mobiedit_status status =
        mobiedit_ledger_import(ledger, o->positional[1], &import_options, &summary, &err);
    if (status == MOBIEDIT_OK && o->output) status = mobiedit_ledger_export(ledger, o->output, &err);
    progress_clear(&i.line);
    if (status != MOBIEDIT_OK) {
        cJSON_Delete(i.facts);
        return complain_of(&err);
    }
    const bool whole = summary.failed == 0 && summary.unusable == 0 && summary.all.hold == summary.all.active;
    if (o->json) return report_json(i.facts, o->output, &summary, whole ? STATUS_DONE : STATUS_NOT_EDITED);
    report(&summary);
    if (o->output) report_adapter(o->output, summary.all.active - summary.all.said);
    return whole ? STATUS_DONE : STATUS_NOT_EDITED;
}

static int run(const options *o) {
    ledger_session session;
    int status;
    if (ledger_session_open(&session, o, true, &status)) status = import(o, session.ledger);
    ledger_session_close(&session);
    return status;
}

const command command_import = {.name = "import",
                                .usage = "MODEL.gguf FACTS.json|FACTS.csv [OPTION...]",
                                .summary =
                                    "edits and records the facts of a file; resumes if it was interrupted",
                                .arguments = {{"MODEL.gguf", FILE_MODEL}, {"FACTS", FILE_READ}},
                                .options = {options_picking, TABLE, options_solving, options_running},
                                .run = run};
