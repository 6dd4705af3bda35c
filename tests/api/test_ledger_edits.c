/* What the ledger hands on of its records. The records are made by hand, on random weights. */
#define _GNU_SOURCE
#include "api/active_edits.h"

#include "base/memory.h"
#include "base/utf8.h"
#include "base/words.h"
#include "tiny_handle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LAYER = 1, N_LAYER = 3 };

static mobiedit_model *model;
static mobiedit_ledger *ledger;

static int set_up(void **state) {
    return tiny_handle_open(state, N_LAYER, &model);
}

static int tear_down(void **state) {
    return tiny_handle_close(state, model);
}

static int open_ledger(void **state) {
    (void)state;
    return mobiedit_ledger_open(model, scratch_path("edits.db"), true, &ledger, NULL) == MOBIEDIT_OK ? 0 : -1;
}

static int close_ledger(void **state) {
    (void)state;
    mobiedit_ledger_close(ledger);
    return remove(scratch_path("edits.db"));
}

/* An active edit that changes next to nothing. */
static int64_t record_at(const char *prompt, const char *target, const char *solver, bool at_answer) {
    const int d = model->model->d_model;
    float *rows = me_calloc(2 * (size_t)d, sizeof *rows);
    assert_non_null(rows);
    for (int i = 0; i < d; i++) {
        rows[i] = 1e-4F * sinf((float)i);
        rows[d + i] = cosf(3 * (float)i);
    }
    const me_record made = {
        .about = {.prompt = prompt,
                  .target = target,
                  .solve = {.layer = LAYER, .solver = solver, .rounds = 7, .at_answer = at_answer},
                  .before = "b",
                  .after = "a"},
        .delta = rows,
        .keys = rows + d,
        .n_keys = 1};
    int64_t id = 0;
    assert_int_equal(me_ledger_begin(ledger->store, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_add(ledger->store, &made, &id, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_commit(ledger->store, NULL), MOBIEDIT_OK);
    me_free(rows);
    return id;
}

static int64_t record(const char *prompt, const char *target, const char *solver) {
    return record_at(prompt, target, solver, false);
}

/* Random weights say none of these targets, and the message names the one that was asked for. */
static void expect_unsaid(const char *prompt, const char *target) {
    mobiedit_error err = {0};
    mobiedit_merge_result result;
    char named[64];
    const int64_t id = record(prompt, target, "probe");
    assert_int_equal(mobiedit_ledger_merge(ledger, NULL, scratch_path("merged.gguf"), &result, &err),
                     MOBIEDIT_E_NOT_VERIFIED);
    assert_int_equal(result.facts, 1);
    (void)snprintf(named, sizeof named, "does not say \"%s\"", target);
    if (!strstr(err.message, named)) fail_msg("%s", err.message);
    mobiedit_change change;
    assert_int_equal(mobiedit_ledger_undo(ledger, id, &change, NULL), MOBIEDIT_OK);
}

static void a_merge_asks_for_the_records_as_they_are(void **state) {
    (void)state;
    expect_unsaid("The arrow of {Zeno} is", "zx -> qj");
    expect_unsaid("{Zeno}\nis a", "zxqj");
    expect_unsaid("A\n{Zeno} is a", "zxqj");
}

static void a_known_edit_is_told_as_it_was_solved(void **state) {
    (void)state;
    const mobiedit_request request = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    const int64_t id = record("The capital of {Japan} is", "Lima", "spsa");
    mobiedit_edit_result result;
    mobiedit_change change;
    assert_int_equal(mobiedit_ledger_edit(ledger, &request, NULL, NULL, &result, &change, NULL), MOBIEDIT_OK);
    assert_true(change.known && change.id == id);
    assert_string_equal(result.solve.solver, "spsa");
    assert_int_equal(result.solve.layer, LAYER);
    assert_int_equal(result.solve.rounds, 7);
    assert_string_equal(result.before, "b");
    mobiedit_edit_result_free(&result);
}

typedef struct {
    int n;
    mobiedit_fact_outcome outcomes[4];
    int64_t ids[4];
    char messages[4][200];
} told_facts;

static bool keep_fact(void *user, const mobiedit_import_fact *fact) {
    told_facts *told = user;
    if (told->n == 4) return false;
    told->outcomes[told->n] = fact->outcome;
    told->ids[told->n] = fact->change.id;
    (void)snprintf(told->messages[told->n++], sizeof told->messages[0], "%s",
                   fact->message ? fact->message : "");
    return true;
}

static void import(const char *facts, told_facts *told, mobiedit_import_summary *summary) {
    const char *path = scratch_path("facts.csv");
    const mobiedit_import_options options = {.on_fact = keep_fact, .user = told};
    mobiedit_error err = {0};
    *told = (told_facts){0};
    assert_true(put_bytes(path, facts, strlen(facts)));
    if (mobiedit_ledger_import(ledger, scratch_path("facts.csv"), &options, summary, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    assert_int_equal(remove(scratch_path("facts.csv")), 0);
}

static mobiedit_record_state state_of(int64_t id) {
    const me_record_query query = {.id = id};
    me_records found;
    assert_int_equal(me_ledger_read(ledger->store, &query, &found, NULL), MOBIEDIT_OK);
    assert_int_equal(found.n, 1);
    const mobiedit_record_state state = found.items[0].about.state;
    me_records_free(&found);
    return state;
}

static void set_state(int64_t id, mobiedit_record_state state, int64_t by) {
    assert_int_equal(me_ledger_begin(ledger->store, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_set_state(ledger->store, id, state, by, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_commit(ledger->store, NULL), MOBIEDIT_OK);
}

/* Those at the answer make room for no more than a few; one that takes another's prompt takes its place. */
static void edits_at_the_answer_are_counted(void **state) {
    (void)state;
    const mobiedit_request request = {.prompt = "The capital of {Peru} is", .target = "x"};
    me_prompt prompt;
    int all, others;
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    (void)record_at("The capital of {Peru} is", "Rome", "probe", true);
    (void)record_at("The capital of {Chad} is", "Oslo", "probe", true);
    (void)record("The capital of {Fiji} is", "Bonn", "probe");
    const int64_t undone = record_at("The capital of {Mali} is", "Bern", "probe", true);
    set_state(undone, MOBIEDIT_RECORD_UNDONE, 0);
    const mobiedit_status status = me_active_at_answer(ledger, &prompt, &others, NULL);
    me_prompt_free(&prompt);
    assert_int_equal(status, MOBIEDIT_OK);
    assert_int_equal(me_active_at_answer(ledger, NULL, &all, NULL), MOBIEDIT_OK);
    assert_int_equal(all, 2);
    assert_int_equal(others, 1);
}

/* The undone edit behind them is come to, though what is before it cannot be edited. */
static void a_fact_that_is_refused_stops_no_other(void **state) {
    (void)state;
    const int64_t id = record("The arrow of {Zeno} is", "zxqj", "probe");
    set_state(id, MOBIEDIT_RECORD_UNDONE, 0);
    told_facts told;
    mobiedit_import_summary summary;
    import(
        "prompt,target\n{Zeno},b\nThe capital of {Japan} is,a b c d e f g h i j k l m n o p q r s t u v w\n"
        "The arrow of {Zeno} is,zxqj\n",
        &told, &summary);
    assert_int_equal(told.n, 3);
    assert_int_equal(told.outcomes[0], MOBIEDIT_FACT_FAILED);
    assert_non_null(strstr(told.messages[0], "nothing but its subject"));
    assert_int_equal(told.outcomes[1], MOBIEDIT_FACT_FAILED);
    assert_non_null(strstr(told.messages[1], "at most 20"));
    assert_int_equal(told.outcomes[2], MOBIEDIT_FACT_KNOWN);
    assert_int_equal(summary.failed, 2);
    assert_int_equal(state_of(id), MOBIEDIT_RECORD_UNDONE);
}

/* The second supersedes the first. */
static void record_two_of_a_prompt(int64_t *first, int64_t *second) {
    *first = record("The arrow of {Zeno} is", "zxqj", "probe");
    set_state(*first, MOBIEDIT_RECORD_SUPERSEDED, 0);
    *second = record("The arrow of {Zeno} is", "qzkv", "probe");
    set_state(*first, MOBIEDIT_RECORD_SUPERSEDED, *second);
}

static void a_superseded_fact_of_the_file_is_active_again(void **state) {
    (void)state;
    int64_t first, second;
    record_two_of_a_prompt(&first, &second);
    told_facts told;
    mobiedit_import_summary summary;
    import("prompt,target\nThe arrow of {Zeno} is,zxqj\n", &told, &summary);
    assert_int_equal(told.n, 1);
    assert_int_equal(told.outcomes[0], MOBIEDIT_FACT_REDONE);
    assert_true(told.ids[0] == first);
    assert_int_equal(summary.redone, 1);
    assert_int_equal(summary.known + summary.recorded, 0);
    assert_int_equal(state_of(first), MOBIEDIT_RECORD_ACTIVE);
    assert_int_equal(state_of(second), MOBIEDIT_RECORD_SUPERSEDED);
}

/* What comes last in the file stands, whatever the ledger had of the prompt before. */
static void the_last_of_a_file_stands_over_the_ledger(void **state) {
    (void)state;
    int64_t first, second;
    record_two_of_a_prompt(&first, &second);
    told_facts told;
    mobiedit_import_summary summary;
    import("prompt,target\nThe arrow of {Zeno} is,zxqj\nThe arrow of {Zeno} is,qzkv\n", &told, &summary);
    assert_int_equal(told.outcomes[0], MOBIEDIT_FACT_REPLACED);
    assert_int_equal(told.outcomes[1], MOBIEDIT_FACT_KNOWN);
    assert_true(told.ids[1] == second);
    assert_int_equal(state_of(first), MOBIEDIT_RECORD_SUPERSEDED);
    assert_int_equal(state_of(second), MOBIEDIT_RECORD_ACTIVE);
    import("prompt,target\nThe arrow of {Zeno} is,qzkv\nThe arrow of {Zeno} is,zxqj\n", &told, &summary);
    assert_int_equal(told.outcomes[0], MOBIEDIT_FACT_REPLACED);
    assert_int_equal(told.outcomes[1], MOBIEDIT_FACT_REDONE);
    assert_int_equal(state_of(first), MOBIEDIT_RECORD_ACTIVE);
    assert_int_equal(state_of(second), MOBIEDIT_RECORD_SUPERSEDED);
    set_state(first, MOBIEDIT_RECORD_UNDONE, 0);
    import("prompt,target\nThe arrow of {Zeno} is,zxqj\n", &told, &summary);
    assert_int_equal(told.outcomes[0], MOBIEDIT_FACT_KNOWN);
    assert_non_null(strstr(told.messages[0], "was undone, and stays undone"));
    assert_int_equal(state_of(first), MOBIEDIT_RECORD_UNDONE);
    assert_int_equal(summary.all.active, 0);
}

/* ---- facts that the model says by itself ------------------------------------------------------------- */

enum { SAID_MAX = 200 };
/* Behind the space no other one is put: what follows is just what the model says. */
static const char SAID_PROMPT[] = "The arrow of {Zeno} is ", SAID_TEXT[] = "The arrow of Zeno is ";

static void set_template(struct gguf_context *gguf, const void *template) {
    gguf_set_val_str(gguf, "tokenizer.chat_template", template);
}

/* Random weights with a chat template, or without where it is NULL, and a ledger. */
static void open_said(const char *template, mobiedit_model **m, mobiedit_ledger **l) {
    const tiny_model_options options = {
        .n_layer = N_LAYER, .change = template ? set_template : NULL, .user = template};
    assert_true(tiny_model_write(scratch_path("said.gguf"), "llama", &options));
    assert_int_equal(mobiedit_open(scratch_path("said.gguf"), NULL, m, NULL), MOBIEDIT_OK);
    assert_int_equal(mobiedit_ledger_open(*m, scratch_path("said.db"), true, l, NULL), MOBIEDIT_OK);
}

/* recorded: whether there is a ledger then. An edit that is refused leaves none behind. */
static void close_said(mobiedit_model *m, mobiedit_ledger *l, bool recorded) {
    mobiedit_ledger_close(l);
    mobiedit_close(m);
    assert_int_equal(remove(scratch_path("said.db")) == 0, recorded);
    assert_int_equal(remove(scratch_path("said.gguf")), 0);
}

/* A text that the model says after the prompt, and its end. */
static void find_said(mobiedit_model *m, char out[SAID_MAX]) {
    const mobiedit_ask_options options = {.max_tokens = 20};
    char *text = NULL;
    assert_int_equal(mobiedit_ask(m, SAID_TEXT, &options, &text, NULL), MOBIEDIT_OK);
    for (size_t n = 4; n < SAID_MAX && n < strlen(text); n++) {
        (void)snprintf(out, SAID_MAX, "%.*s", (int)n, text);
        if (me_utf8_valid(out) && !me_is_space(out[n - 1]) && me_said_of(out, text, false) == ME_SAID_WHOLE) {
            mobiedit_free(text);
            return;
        }
    }
    fail_msg("\"%s\" has no end of a word", text);
}

static bool stop_at_solve(void *user, const mobiedit_progress *now) {
    *(bool *)user = now->stage == MOBIEDIT_STAGE_SOLVE;
    return now->stage != MOBIEDIT_STAGE_SOLVE;
}

/* Whether an edit is made of the fact, which is cancelled when its search begins; else it is recorded. */
static bool is_edited(mobiedit_ledger *l, const char *target, bool force, mobiedit_change *change) {
    bool solves = false;
    const mobiedit_request request = {.prompt = SAID_PROMPT, .target = target};
    const mobiedit_edit_options options = {.on_progress = stop_at_solve, .user = &solves, .force = force};
    mobiedit_edit_result result;
    mobiedit_error err = {0};
    const mobiedit_status status = mobiedit_ledger_edit(l, &request, &options, NULL, &result, change, &err);
    if (solves) {
        assert_int_equal(status, MOBIEDIT_E_CANCELLED);
    } else {
        if (status != MOBIEDIT_OK) fail_msg("%s", err.message);
        assert_int_equal(result.solve.stop, MOBIEDIT_STOP_ALREADY_SAID);
    }
    mobiedit_edit_result_free(&result);
    return solves;
}

static void a_fact_that_is_said_is_recorded_and_known(void **state) {
    (void)state;
    mobiedit_model *m;
    mobiedit_ledger *l;
    mobiedit_change change, again;
    mobiedit_verify_summary summary;
    char said[SAID_MAX], *plain = NULL, *adapted = NULL;
    open_said(NULL, &m, &l);
    find_said(m, said);
    assert_false(is_edited(l, said, false, &change));
    assert_true(change.id > 0 && !change.known);
    assert_false(is_edited(l, said, false, &again));
    assert_true(again.known && again.id == change.id);
    assert_int_equal(mobiedit_ledger_verify(l, NULL, &summary, NULL), MOBIEDIT_OK);
    assert_int_equal(summary.active, 1);
    assert_int_equal(summary.said, 1);
    assert_int_equal(summary.hold, 1);

    const char *adapter = scratch_path("said_adapter.gguf");
    assert_int_equal(mobiedit_ledger_export(l, adapter, NULL), MOBIEDIT_OK);
    const mobiedit_ask_options with = {.adapter = scratch_path("said_adapter.gguf"), .max_tokens = 20},
                               without = {.max_tokens = 20};
    assert_int_equal(mobiedit_ask(m, SAID_TEXT, &without, &plain, NULL), MOBIEDIT_OK);
    assert_int_equal(mobiedit_ask(m, SAID_TEXT, &with, &adapted, NULL), MOBIEDIT_OK);
    assert_string_equal(plain, adapted);
    mobiedit_free(plain);
    mobiedit_free(adapted);
    mobiedit_merge_result merged;
    assert_int_equal(mobiedit_ledger_merge(l, NULL, scratch_path("merged.gguf"), &merged, NULL),
                     MOBIEDIT_E_ARGUMENT);

    assert_true(is_edited(l, said, true, &change)); /* asked for all the same */
    assert_int_equal(me_ledger_set_holds(l->store, again.id, false, NULL), MOBIEDIT_OK);
    assert_true(is_edited(l, said, false, &change)); /* lost among the others */
    assert_int_equal(remove(scratch_path("said_adapter.gguf")), 0);
    close_said(m, l, true);
}

/* What contradicts it steps back, and comes back with undo. */
static void a_fact_that_is_said_supersedes(void **state) {
    (void)state;
    mobiedit_model *m;
    mobiedit_ledger *l;
    mobiedit_change change;
    char said[SAID_MAX];
    open_said(NULL, &m, &l);
    find_said(m, said);
    mobiedit_ledger *own = ledger;
    ledger = l;
    const int64_t other = record(SAID_PROMPT, "zxqj", "probe");
    assert_false(is_edited(l, said, false, &change));
    assert_true(change.superseded == other);
    assert_int_equal(state_of(other), MOBIEDIT_RECORD_SUPERSEDED);
    assert_int_equal(mobiedit_ledger_undo(l, 0, &change, NULL), MOBIEDIT_OK);
    assert_true(change.restored == other);
    ledger = own;
    close_said(m, l, true);
}

/* As a user's message the prompt is asked too: templates that pass it on, that ask something else, that fail. */
static void a_fact_is_said_where_a_chat_says_it_too(void **state) {
    (void)state;
    static const struct {
        const char *template;
        bool edited;
    } cases[] = {{"{{ messages[0]['content'].replace('Complete the sentence: ', '') }}", false},
                 {"{{ 'qj zx' }}", true},
                 {"{{ raise_exception('no') }}", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mobiedit_model *m;
        mobiedit_ledger *l;
        mobiedit_change change;
        char said[SAID_MAX];
        open_said(cases[i].template, &m, &l);
        find_said(m, said);
        if (is_edited(l, said, false, &change) != cases[i].edited) fail_msg("%s", cases[i].template);
        close_said(m, l, !cases[i].edited);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_merge_asks_for_the_records_as_they_are, open_ledger, close_ledger),
        cmocka_unit_test_setup_teardown(a_fact_that_is_refused_stops_no_other, open_ledger, close_ledger),
        cmocka_unit_test_setup_teardown(a_superseded_fact_of_the_file_is_active_again, open_ledger,
                                        close_ledger),
        cmocka_unit_test_setup_teardown(edits_at_the_answer_are_counted, open_ledger, close_ledger),
        cmocka_unit_test_setup_teardown(a_known_edit_is_told_as_it_was_solved, open_ledger, close_ledger),
        cmocka_unit_test_setup_teardown(the_last_of_a_file_stands_over_the_ledger, open_ledger, close_ledger),
        cmocka_unit_test(a_fact_that_is_said_is_recorded_and_known),
        cmocka_unit_test(a_fact_that_is_said_supersedes),
        cmocka_unit_test(a_fact_is_said_where_a_chat_says_it_too),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
