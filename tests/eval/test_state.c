/* The state file of an evaluation: what it keeps, what it survives, what
 * it refuses. And two results compared. */
#define _GNU_SOURCE
#include "eval/results.h"
#include "eval/state.h"
#include "scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char SETTINGS[] = "{\"model\":\"m.gguf\",\"seed\":3,\"drift\":true}";

static mobiedit_eval_case a_case(int64_t id) {
    return (mobiedit_eval_case){.case_id = id,
                                .prompt = "{} is",
                                .subject = "Ann",
                                .target = "z",
                                .metrics.rewrite = 1,
                                .metrics.drift = NAN};
}

static mobiedit_status open_state(const char *path, const char *settings, me_state **out,
                                  mobiedit_error *err) {
    cJSON *object = cJSON_Parse(settings);
    assert_non_null(object);
    const mobiedit_status status = me_state_open(path, object, out, err);
    cJSON_Delete(object);
    return status;
}

static me_state *must_open(const char *path) {
    me_state *state = NULL;
    mobiedit_error err = {0};
    if (open_state(path, SETTINGS, &state, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return state;
}

static void write_file(const char *path, const char *text, const char *mode) {
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A state with cases for facts 5 and 2. */
static const char *begin(const char *name) {
    const char *path = scratch_path(name);
    (void)unlink(path);
    me_state *state = must_open(path);
    assert_null(me_state_find(state, 5));
    const mobiedit_eval_case five = a_case(50), two = a_case(20);
    assert_int_equal(me_state_add(state, 5, &five, NULL), MOBIEDIT_OK);
    assert_int_equal(me_state_add(state, 2, &two, NULL), MOBIEDIT_OK);
    me_state_close(state);
    return path;
}

static void keeps_cases(void **unused) {
    (void)unused;
    const char *path = begin("kept");
    me_state *state = must_open(path);
    assert_int_equal(me_state_find(state, 5)->case_id, 50);
    assert_int_equal(me_state_find(state, 2)->case_id, 20);
    assert_true(me_state_find(state, 2)->restored && isnan(me_state_find(state, 2)->metrics.drift));
    assert_null(me_state_find(state, 0));

    me_state *second = NULL;
    mobiedit_error err = {0};
    assert_int_equal(open_state(path, SETTINGS, &second, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, "in use"));
    me_state_close(state);
}

/* Wherever a kill cuts the file, the whole lines before are there, and it can be gone on with. */
static void survives_a_cut_anywhere(void **unused) {
    (void)unused;
    char whole[4096] = {0};
    FILE *file = fopen(begin("whole"), "r");
    assert_non_null(file);
    const size_t length = fread(whole, 1, sizeof whole - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_true(length > 100 && length < sizeof whole - 1);
    for (size_t cut = 0; cut <= length; cut++) {
        char text[sizeof whole];
        memcpy(text, whole, cut);
        text[cut] = '\0';
        size_t lines = 0;
        for (size_t i = 0; i < cut; i++)
            lines += text[i] == '\n';
        char path[512];
        (void)snprintf(path, sizeof path, "%s", scratch_path("cut"));
        write_file(path, text, "w");
        me_state *state = must_open(path);
        assert_true((me_state_find(state, 5) != NULL) == (lines > 1));
        assert_true((me_state_find(state, 2) != NULL) == (lines > 2));
        const mobiedit_eval_case nine = a_case(90);
        assert_int_equal(me_state_add(state, 9, &nine, NULL), MOBIEDIT_OK);
        me_state_close(state);
        state = must_open(path);
        assert_int_equal(me_state_find(state, 9)->case_id, 90);
        assert_true((me_state_find(state, 5) != NULL) == (lines > 1));
        me_state_close(state);
    }
}

static void refuses_other_settings_and_damage(void **unused) {
    (void)unused;
    char path[512];
    (void)snprintf(path, sizeof path, "%s", begin("refused"));
    me_state *state = NULL;
    mobiedit_error err = {0};
    static const struct {
        const char *settings, *message;
    } other[] = {{"{\"model\":\"n.gguf\",\"seed\":3,\"drift\":true}", "model was m.gguf and is n.gguf"},
                 {"{\"model\":\"m.gguf\",\"seed\":4,\"drift\":true}", "seed was 3 and is 4"},
                 {"{\"model\":\"m.gguf\",\"seed\":3,\"drift\":false}", "drift was on and is off"},
                 {"{\"model\":\"m.gguf\",\"seed\":3,\"drift\":true,\"new\":1}", "new was none and is 1"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        assert_int_equal(open_state(path, other[i].settings, &state, &err), MOBIEDIT_E_MISMATCH);
        if (!strstr(err.message, other[i].message)) fail_msg("\"%s\"", err.message);
    }
    write_file(path, "nonsense\n", "a");
    assert_int_equal(open_state(path, SETTINGS, &state, &err), MOBIEDIT_E_FORMAT);
    assert_non_null(strstr(err.message, "line 4"));
    write_file(path, "Dear diary", "w");
    assert_int_equal(open_state(path, SETTINGS, &state, &err), MOBIEDIT_E_FORMAT);
    write_file(path, "{\"mobiedit_eval_state\":99,\"settings\":{}}\n", "w");
    assert_int_equal(open_state(path, SETTINGS, &state, &err), MOBIEDIT_E_UNSUPPORTED);
    write_file(path,
               "{\"mobiedit_eval_state\":1,\"settings\":{\"model\":\"m.gguf\",\"seed\":3,\"drift\":true}}\n{"
               "\"index\":-1}\n",
               "w");
    assert_int_equal(open_state(path, SETTINGS, &state, &err), MOBIEDIT_E_FORMAT);
    assert_non_null(strstr(err.message, "has no index"));
    assert_int_equal(open_state("/", SETTINGS, &state, &err), MOBIEDIT_E_IO);
    assert_int_equal(open_state("/nonexistent/state", SETTINGS, &state, &err), MOBIEDIT_E_IO);
    assert_null(state);
}

/* ---- results ----------------------------------------------------------------------------------------- */

#define CASE(id, subject, rewrite, paraphrase, more)                                                         \
    "{\"case_id\":" #id ",\"prompt\":\"{} is\",\"subject\":\"" subject                                       \
    "\",\"target\":\"z\",\"status\":\"ok\",\"stop\":\"solved\",\"evals\":10,\"rewrite\":" #rewrite           \
    ",\"paraphrase\":" #paraphrase more "}"

static void compares_case_by_case(void **unused) {
    (void)unused;
    char a_path[512], b_path[512];
    (void)snprintf(a_path, sizeof a_path, "%s", scratch_path("a.json"));
    (void)snprintf(b_path, sizeof b_path, "%s", scratch_path("b.json"));
    write_file(a_path,
               "{\"model\":\"m\",\"per_case\":[" CASE(1, "Ann", 0, 0.5, "") "," CASE(
                   2, "Bob", 1, 0.5, "") "," CASE(3, "Cy", 1, null, "") "," CASE(4, "Di", 1, 1, "") "]}",
               "w");
    write_file(b_path,
               "{\"solver\":\"s\",\"per_case\":[" CASE(3, "Cy", 1, 1, "") "," CASE(
                   2, "Bob", 1, 0.75, "") "," CASE(1, "Ann", 1, 1, "") "," CASE(7, "Ed", 1, 1, "") "]}",
               "w");
    me_results a, b;
    me_comparison c;
    mobiedit_error err = {0};
    assert_int_equal(me_results_read(a_path, &a, &err), MOBIEDIT_OK);
    assert_int_equal(me_results_read(b_path, &b, &err), MOBIEDIT_OK);
    assert_string_equal(a.model, "m");
    assert_string_equal(b.solver, "s");
    assert_string_equal(b.model, "");
    assert_int_equal(me_compare(&a, &b, &c, &err), MOBIEDIT_OK);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.only_a, 1);
    assert_int_equal(c.only_b, 1);
    assert_int_equal(c.pairs[0].a->case_id, 1);
    assert_int_equal(c.pairs[1].a->case_id, 2);
    /* rewrite 0 1 1 against 1 1 1; paraphrase .5 .5 - against 1 .75 1: the third has no difference */
    assert_true(fabs(c.differences[0].mean - 1.0 / 3) < 1e-9 && c.differences[0].n == 3);
    assert_true(fabs(c.differences[1].mean - 0.375) < 1e-9 && c.differences[1].n == 2);
    assert_true(c.differences[1].low >= 0.25 && c.differences[1].high <= 0.5);
    assert_true(fabs(c.a[0].mean - 2.0 / 3) < 1e-9 && c.b[0].mean == 1);
    me_comparison_free(&c);
    me_results_free(&b);

    write_file(b_path, "{\"per_case\":[" CASE(1, "Eve", 1, 1, "") "]}", "w");
    assert_int_equal(me_results_read(b_path, &b, &err), MOBIEDIT_OK);
    assert_int_equal(me_compare(&a, &b, &c, &err), MOBIEDIT_E_MISMATCH);
    assert_non_null(strstr(err.message, "case 1 is another fact"));
    me_results_free(&b);
    write_file(b_path, "{\"per_case\":[]}", "w");
    assert_int_equal(me_results_read(b_path, &b, &err), MOBIEDIT_OK);
    assert_int_equal(me_compare(&a, &b, &c, &err), MOBIEDIT_E_MISMATCH);
    me_results_free(&b);
    me_results_free(&a);
}

static void refuses_what_is_no_result(void **unused) {
    (void)unused;
    char path[512];
    (void)snprintf(path, sizeof path, "%s", scratch_path("bad.json"));
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"per_case\":3}",
                                      "{\"per_case\":[3]}",
                                      "{\"per_case\":[{}]}",
                                      "{\"model\":\"\xff\",\"per_case\":[]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        me_results results;
        mobiedit_error err = {0};
        write_file(path, bad[i], "w");
        assert_int_equal(me_results_read(path, &results, &err), MOBIEDIT_E_FORMAT);
        assert_non_null(strstr(err.message, "bad.json"));
        me_results_free(&results);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_cases),
        cmocka_unit_test(survives_a_cut_anywhere),
        cmocka_unit_test(refuses_other_settings_and_damage),
        cmocka_unit_test(compares_case_by_case),
        cmocka_unit_test(refuses_what_is_no_result),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
