/* What the ledger hands on of its records. The records are made by hand, on random weights. */
#define _GNU_SOURCE
#include "api/active_edits.h"

#include "base/memory.h"
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
static int64_t record(const char *prompt, const char *target, const char *solver) {
    const int d = model->model->d_model;
    float *rows = me_calloc(2 * (size_t)d, sizeof *rows);
    assert_non_null(rows);
    for (int i = 0; i < d; i++) {
        rows[i] = 1e-4F * sinf((float)i);
        rows[d + i] = cosf(3 * (float)i);
    }
    const me_record made = {.about = {.prompt = prompt,
                                      .target = target,
                                      .solve = {.layer = LAYER, .solver = solver, .rounds = 7},
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

static void a_superseded_fact_of_the_file_is_active_again(void **state) {
    (void)state;
    const int64_t first = record("The arrow of {Zeno} is", "zxqj", "probe");
    set_state(first, MOBIEDIT_RECORD_SUPERSEDED, 0);
    const int64_t second = record("The arrow of {Zeno} is", "qzkv", "probe");
    set_state(first, MOBIEDIT_RECORD_SUPERSEDED, second);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_merge_asks_for_the_records_as_they_are, open_ledger, close_ledger),
        cmocka_unit_test_setup_teardown(a_fact_that_is_refused_stops_no_other, open_ledger, close_ledger),
        cmocka_unit_test_setup_teardown(a_superseded_fact_of_the_file_is_active_again, open_ledger,
                                        close_ledger),
        cmocka_unit_test_setup_teardown(a_known_edit_is_told_as_it_was_solved, open_ledger, close_ledger),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
