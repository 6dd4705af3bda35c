/* mobiedit show */
#include "output.h"
#include "records.h"
#include "session.h"

#include <stdio.h>

static const option_row TABLE[] = {OPTION_ROW_LEDGER, OPTION_ROW_JSON, OPTION_ROW_END};

static void print_record(const mobiedit_record *r) {
    char date[20];
    report_record_header();
    report_record(r);
    for (size_t i = 0; i < r->n_keep; i++)
        print_line("%-13s %s", "keep", r->keep[i]);
    for (size_t i = 0; i < r->n_also; i++)
        print_line("%-13s %s", "also", r->also[i]);
    report_asides(r->prompt, &r->asides);
    print_line("%-13s %s", "before", r->before);
    print_line("%-13s %s", "after", r->after);
    print_line("%-13s %s, %s, layer %d%s, %d rounds, loss %.3f, |delta| %.2f of |v|, seed %llu", "edit",
               r->solve.solver, mobiedit_stop_name(r->solve.stop), r->solve.layer,
               r->solve.at_answer ? " at the answer" : "", r->solve.rounds, (double)r->solve.loss,
               (double)r->solve.delta_ratio, (unsigned long long)r->solve.seed);
    print_line("%-13s %zu prompts, %zu tokens, %.2f s", "evaluations", r->solve.evaluations,
               r->solve.token_passes, r->solve.seconds);
    print_line("%-13s %s", "changed", date_text(r->changed, date));
    print_line("%-13s %s", "verified", r->verified ? date_text(r->verified, date) : "never");
}

typedef struct {
    bool as_json;
    int status;
} showing;

static bool on_record(void *user, const mobiedit_record *record) {
    showing *s = user;
    if (s->as_json)
        s->status = json_print(record_json(record), STATUS_DONE);
    else
        print_record(record);
    return true;
}

static int show(const options *o, mobiedit_ledger *ledger, int64_t id) {
    showing s = {.as_json = o->json, .status = STATUS_DONE};
    mobiedit_error err = {0};
    return mobiedit_ledger_list(ledger, id, on_record, &s, &err) == MOBIEDIT_OK ? s.status
                                                                                : complain_of(&err);
}

static int run(const options *o) {
    ledger_session session;
    int status;
    int64_t id;
    if (!options_read_id(o->positional[1], &id)) return STATUS_USAGE;
    if (id == 0) return complain(STATUS_USAGE, "show needs the number of an edit");
    if (ledger_session_open(&session, o, false, &status)) status = show(o, session.ledger, id);
    ledger_session_close(&session);
    return status;
}

const command command_show = {.name = "show",
                              .usage = "MODEL.gguf ID [OPTION...]",
                              .summary = "shows everything recorded about one edit",
                              .arguments = {{"MODEL.gguf", FILE_MODEL}, {"ID", FILE_NONE}},
                              .options = {TABLE},
                              .run = run};
