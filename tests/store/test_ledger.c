/* The ledger's file: what is written is read again, what is damaged or another's is refused, and nothing that
 * was committed is lost. */
#define _GNU_SOURCE
#include "store/ledger.h"

#include "base/file.h"
#include "base/memory.h"
#include "scratch.h"
#include "split_model.h"
#include "store/fingerprint.h"
#include "store/ledger_schema.h"
#include "tiny_model.h"

#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_KEYS = 3 };

static char path[512], model_path[512], fingerprint[ME_FINGERPRINT_SIZE];
static me_model *model;
static float *delta, *keys;

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    (void)snprintf(model_path, sizeof model_path, "%s", scratch_path("model.gguf"));
    (void)snprintf(path, sizeof path, "%s", scratch_path("test.db"));
    if (!tiny_model_write(model_path, "llama", NULL) || me_model_open(model_path, &model, NULL) ||
        me_fingerprint(model, fingerprint, NULL))
        return -1;
    delta = me_calloc((size_t)model->d_model, sizeof *delta);
    keys = me_calloc(N_KEYS * (size_t)model->d_model, sizeof *keys);
    if (!delta || !keys) return -1;
    for (int i = 0; i < model->d_model; i++)
        delta[i] = (float)i / 7 - 3;
    for (int i = 0; i < N_KEYS * model->d_model; i++)
        keys[i] = (float)(i % 19) - 9.25F;
    return 0;
}

static int tear_down(void **state) {
    me_model_close(model);
    me_free(delta);
    me_free(keys);
    return scratch_close(state);
}

static int fresh(void **state) {
    (void)state;
    static const char *const names[] = {"test.db", "test.db-wal", "test.db-shm"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unlink(scratch_path(names[i]));
    return 0;
}

static me_ledger *open_ledger(bool write) {
    me_ledger *l = NULL;
    mobiedit_error err = {0};
    if (me_ledger_open(path, model, fingerprint, write, &l, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return l;
}

static void check_refused(mobiedit_status status, const char *word) {
    me_ledger *l = NULL;
    mobiedit_error err = {0};
    for (int write = 0; write < 2; write++) {
        assert_int_equal(me_ledger_open(path, model, fingerprint, write, &l, &err), status);
        assert_non_null(strstr(err.message, word));
        assert_null(strchr(err.message, '\n'));
        assert_null(l);
    }
}

static const char *const KEEP[] = {"The capital of Peru is", "Äpfel sind"};
static const char *const ALSO[] = {"{Japan}'s capital is"};
static mobiedit_other OTHERS[] = {{"Most people think of Japan as", " a", " the", false}};

static me_record make_record(const char *prompt, const char *target) {
    return (me_record){.about = {.prompt = prompt,
                                 .target = target,
                                 .keep = KEEP,
                                 .n_keep = 2,
                                 .also = ALSO,
                                 .n_also = 1,
                                 .asides = {.chat = 1, .others = OTHERS, .n_others = 1},
                                 .solve.layer = 1,
                                 .solve.solver = "probe",
                                 .solve.seed = UINT64_MAX,
                                 .solve.stop = MOBIEDIT_STOP_NO_PROGRESS,
                                 .solve.rounds = 6,
                                 .solve.loss = 0.25F,
                                 .solve.delta_ratio = 3.5F,
                                 .solve.evaluations = 311,
                                 .solve.token_passes = 884,
                                 .solve.seconds = 1.5,
                                 .before = " Tokyo.",
                                 .after = " Lima."},
                       .delta = delta,
                       .keys = keys,
                       .n_keys = N_KEYS};
}

static mobiedit_status try_add(me_ledger *l, const char *prompt, const char *target, int64_t *id,
                               mobiedit_error *err) {
    const me_record record = make_record(prompt, target);
    ME_TRY(me_ledger_begin(l, err));
    const mobiedit_status status = me_ledger_add(l, &record, id, err);
    if (status == MOBIEDIT_OK) return me_ledger_commit(l, err);
    me_ledger_rollback(l);
    return status;
}

static int64_t add(me_ledger *l, const char *prompt, const char *target) {
    int64_t id = 0;
    mobiedit_error err = {0};
    if (try_add(l, prompt, target, &id, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return id;
}

/* A file that stays: one edit is in it. */
static void make_ledger(void) {
    me_ledger *l = open_ledger(true);
    (void)add(l, "{1}", "x");
    me_ledger_close(l);
}

static void set_state(me_ledger *l, int64_t id, mobiedit_record_state state, int64_t by) {
    assert_int_equal(me_ledger_begin(l, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_set_state(l, id, state, by, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_commit(l, NULL), MOBIEDIT_OK);
}

static me_records read_all(me_ledger *l) {
    const me_record_query query = {.with_data = true}, brief = {0};
    me_records records, without;
    mobiedit_error err = {0};
    if (me_ledger_read(l, &query, &records, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    assert_int_equal(me_ledger_read(l, &brief, &without, NULL), MOBIEDIT_OK);
    assert_int_equal(without.n, records.n);
    for (int i = 0; i < without.n; i++)
        assert_true(!without.items[i].delta && !without.items[i].keys);
    me_records_free(&without);
    return records;
}

static void run_sql(const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* ---- records ----------------------------------------------------------------------------------------- */

/* All but the keys. */
static void check_solved(const me_record *r, int64_t id, const char *prompt, const char *target) {
    const me_record want = make_record(prompt, target);
    assert_int_equal(r->about.id, id);
    assert_string_equal(r->about.prompt, prompt);
    assert_string_equal(r->about.target, target);
    assert_string_equal(r->about.before, want.about.before);
    assert_string_equal(r->about.after, want.about.after);
    assert_string_equal(r->about.solve.solver, want.about.solve.solver);
    assert_true(r->about.solve.seed == want.about.solve.seed);
    assert_int_equal(r->about.solve.stop, want.about.solve.stop);
    assert_int_equal(r->about.solve.layer, want.about.solve.layer);
    assert_int_equal(r->about.solve.rounds, want.about.solve.rounds);
    assert_true(r->about.solve.loss == want.about.solve.loss &&
                r->about.solve.delta_ratio == want.about.solve.delta_ratio);
    assert_true(r->about.solve.evaluations == 311 && r->about.solve.token_passes == 884 &&
                r->about.solve.seconds == 1.5);
    assert_int_equal(r->about.holds, -1);
    assert_int_equal(r->about.n_keep, 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(r->about.keep[i], KEEP[i]);
    assert_memory_equal(r->delta, delta, (size_t)model->d_model * sizeof *delta);
}

static void check_record(const me_record *r, int64_t id, const char *prompt, const char *target) {
    check_solved(r, id, prompt, target);
    assert_int_equal(r->about.n_also, 1);
    assert_string_equal(r->about.also[0], ALSO[0]);
    assert_int_equal(r->about.asides.chat, 1);
    assert_int_equal(r->about.asides.n_others, 1);
    assert_string_equal(r->about.asides.others[0].before, " a");
    assert_false(r->about.asides.others[0].unchanged);
    assert_int_equal(r->n_keys, N_KEYS);
    assert_memory_equal(r->keys, keys, N_KEYS * (size_t)model->d_model * sizeof *keys);
}

static void what_is_added_is_read_again(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    const int64_t first = add(l, "The capital of {Japan} is", "Lima"),
                  second = add(l, "{東京} is in", "Peru");
    me_ledger_close(l);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    l = open_ledger(false);
    me_records records = read_all(l);
    assert_int_equal(records.n, 2);
    check_record(&records.items[0], first, "The capital of {Japan} is", "Lima");
    check_record(&records.items[1], second, "{東京} is in", "Peru");
    me_records_free(&records);
    me_ledger_close(l);
}

static void one_edit_of_a_prompt_is_active(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    int64_t id = 0, found;
    mobiedit_error err = {0};
    const int64_t lima = add(l, "The capital of {Japan} is", "Lima");
    assert_int_not_equal(try_add(l, "The capital of {Japan} is", "Oslo", &id, &err), MOBIEDIT_OK);
    set_state(l, lima, MOBIEDIT_RECORD_SUPERSEDED, 0);
    const int64_t oslo = add(l, "The capital of {Japan} is", "Oslo");
    set_state(l, lima, MOBIEDIT_RECORD_SUPERSEDED, oslo);
    assert_int_equal(me_ledger_find(l, "The capital of {Japan} is", NULL, &found, NULL), MOBIEDIT_OK);
    assert_int_equal(found, oslo);
    assert_int_equal(me_ledger_find(l, "The capital of {Japan} is", "Lima", &found, NULL), MOBIEDIT_OK);
    assert_int_equal(found, lima);
    assert_int_equal(me_ledger_find(l, "The capital of {Peru} is", NULL, &found, NULL), MOBIEDIT_OK);
    assert_int_equal(found, 0);
    me_records records = read_all(l);
    assert_int_equal(records.items[0].about.state, MOBIEDIT_RECORD_SUPERSEDED);
    assert_int_equal(records.items[0].about.superseded_by, oslo);
    me_records_free(&records);
    me_ledger_close(l);
}

static void the_last_change_is_known(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    int64_t id, before, after;
    const int64_t a = add(l, "{a}", "x"), b = add(l, "{b}", "x"), c = add(l, "{c}", "x");
    assert_int_equal(me_ledger_last(l, MOBIEDIT_RECORD_ACTIVE, &id, NULL), MOBIEDIT_OK);
    assert_int_equal(id, c);
    assert_int_equal(me_ledger_generation(l, &before, NULL), MOBIEDIT_OK);
    set_state(l, c, MOBIEDIT_RECORD_UNDONE, 0);
    set_state(l, a, MOBIEDIT_RECORD_UNDONE, 0);
    assert_int_equal(me_ledger_generation(l, &after, NULL), MOBIEDIT_OK);
    assert_int_equal(after, before + 2);
    assert_int_equal(me_ledger_last(l, MOBIEDIT_RECORD_UNDONE, &id, NULL), MOBIEDIT_OK);
    assert_int_equal(id, a);
    assert_int_equal(me_ledger_last(l, MOBIEDIT_RECORD_ACTIVE, &id, NULL), MOBIEDIT_OK);
    assert_int_equal(id, b);
    me_ledger_close(l);
}

static void what_is_rolled_back_did_not_happen(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    const me_record record = make_record("{a}", "x");
    int64_t id;
    assert_int_equal(me_ledger_begin(l, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_add(l, &record, &id, NULL), MOBIEDIT_OK);
    me_ledger_rollback(l);
    me_records records = read_all(l);
    assert_int_equal(records.n, 0);
    me_records_free(&records);
    me_ledger_close(l);
}

/* A change of the adapter makes void what is known of who holds in it. */
static void holding_is_forgotten_with_a_change(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    const int64_t a = add(l, "{a}", "x"), b = add(l, "{b}", "x");
    assert_int_equal(me_ledger_set_holds(l, a, true, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_set_holds(l, b, false, NULL), MOBIEDIT_OK);
    me_records records = read_all(l);
    assert_int_equal(records.items[0].about.holds, 1);
    assert_int_equal(records.items[1].about.holds, 0);
    assert_true(records.items[0].about.verified > 0);
    me_records_free(&records);
    set_state(l, b, MOBIEDIT_RECORD_UNDONE, 0);
    records = read_all(l);
    assert_int_equal(records.items[0].about.holds, -1);
    me_records_free(&records);
    me_ledger_close(l);
}

/* ---- what is refused --------------------------------------------------------------------------------- */

static void there_is_nothing_to_read(void **state) {
    (void)state;
    me_ledger *l = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_ledger_open(path, model, fingerprint, false, &l, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, "nothing has been recorded"));
    assert_int_not_equal(access(path, F_OK), 0);
}

/* One that an edit was refused for leaves nothing behind; one in which an edit was recorded stays, also if the
 * edit was undone. */
static void an_unused_ledger_goes_again(void **state) {
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    me_ledger *l = open_ledger(true);
    assert_int_equal(access(path, F_OK), 0);
    me_ledger_close(l);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[sizeof path + 16];
        (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        assert_int_not_equal(access(name, F_OK), 0);
    }
    l = open_ledger(true);
    set_state(l, add(l, "{1}", "x"), MOBIEDIT_RECORD_UNDONE, 0);
    me_ledger_close(l);
    assert_int_equal(access(path, F_OK), 0);
    me_ledger_close(open_ledger(true));
    assert_int_equal(access(path, F_OK), 0);
}

/* Whoever made the ledger does not take it away from one who has it open, and one who comes between is told. */
static void an_unused_ledger_stays_for_others(void **state) {
    (void)state;
    me_ledger *made = open_ledger(true), *other = open_ledger(true);
    me_ledger_close(made);
    assert_int_equal(access(path, F_OK), 0);
    (void)add(other, "{1}", "x");
    me_ledger_close(other);
    me_ledger *l = open_ledger(false);
    me_records records = read_all(l);
    assert_int_equal(records.n, 1);
    me_records_free(&records);
    me_ledger_close(l);
    assert_int_equal(fresh(state), 0);
    other = open_ledger(true);
    assert_int_equal(unlink(path), 0);
    int64_t id;
    mobiedit_error err = {0};
    assert_int_equal(try_add(other, "{1}", "x", &id, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, "removed"));
    me_ledger_close(other);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void another_models_ledger_is_refused(void **state) {
    (void)state;
    make_ledger();
    const tiny_model_options other = {.seed = 9};
    char other_path[512], renamed[512], other_fingerprint[ME_FINGERPRINT_SIZE];
    (void)snprintf(other_path, sizeof other_path, "%s", scratch_path("other.gguf"));
    (void)snprintf(renamed, sizeof renamed, "%s", scratch_path("renamed.gguf"));
    assert_true(tiny_model_write(other_path, "llama", &other));
    assert_true(tiny_model_write(renamed, "llama", NULL));
    me_model *second;
    me_ledger *l = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_model_open(other_path, &second, NULL), MOBIEDIT_OK);
    assert_int_equal(me_fingerprint(second, other_fingerprint, NULL), MOBIEDIT_OK);
    assert_int_equal(me_ledger_open(path, second, other_fingerprint, true, &l, &err), MOBIEDIT_E_MISMATCH);
    me_model_close(second);
    assert_int_equal(me_model_open(renamed, &second, NULL), MOBIEDIT_OK);
    assert_int_equal(me_fingerprint(second, other_fingerprint, NULL), MOBIEDIT_OK);
    assert_string_equal(other_fingerprint, fingerprint);
    assert_int_equal(me_ledger_open(path, second, other_fingerprint, true, &l, &err), MOBIEDIT_OK);
    me_ledger_close(l);
    me_model_close(second);
}

/* So its ledger stays valid when it is split, or put together. */
static void a_split_models_fingerprint_is_the_whole_ones(void **state) {
    (void)state;
    char whole[512], parts[512], other[ME_FINGERPRINT_SIZE];
    (void)snprintf(whole, sizeof whole, "%s", scratch_path("whole.gguf"));
    (void)snprintf(parts, sizeof parts, "%s", scratch_path("parts"));
    assert_true(tiny_model_write(whole, "llama", NULL));
    assert_true(split_model(whole, parts, 4, &(split_options){.bare_first = true}));
    me_model *second;
    assert_int_equal(me_model_open(scratch_path("parts-00001-of-00004.gguf"), &second, NULL), MOBIEDIT_OK);
    assert_int_equal(me_fingerprint(second, other, NULL), MOBIEDIT_OK);
    assert_string_equal(other, fingerprint);
    me_model_close(second);
}

/* One weight in the middle of the file is another model. */
static void every_byte_of_the_tensors_counts(void **state) {
    (void)state;
    char other[ME_FINGERPRINT_SIZE];
    const unsigned char *weight = (const unsigned char *)model->layers[1].down.data + 100;
    char copy_path[512];
    (void)snprintf(copy_path, sizeof copy_path, "%s", scratch_path("copy.gguf"));
    assert_true(tiny_model_write(copy_path, "llama", NULL));
    FILE *file = fopen(copy_path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)(weight - (const unsigned char *)model->files[0].map), SEEK_SET), 0);
    assert_int_equal(fputc(*weight ^ 1, file), *weight ^ 1);
    assert_int_equal(fclose(file), 0);
    me_model *copy;
    assert_int_equal(me_model_open(copy_path, &copy, NULL), MOBIEDIT_OK);
    assert_int_equal(me_fingerprint(copy, other, NULL), MOBIEDIT_OK);
    assert_string_not_equal(other, fingerprint);
    me_model_close(copy);
}

static void another_version_is_refused(void **state) {
    (void)state;
    for (int version = ME_LEDGER_VERSION - 2; version <= ME_LEDGER_VERSION + 1; version += 3) {
        char sql[64];
        (void)fresh(NULL);
        make_ledger();
        (void)snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
        run_sql(sql);
        check_refused(MOBIEDIT_E_UNSUPPORTED, "version");
    }
}

/* The version before has no other wordings, and nothing that was asked beside the prompt. */
static void the_version_before_is_brought_up_to_date(void **state) {
    (void)state;
    const mobiedit_asides asides = {.chat = 1};
    for (int write = 0; write < 2; write++) {
        (void)fresh(NULL);
        me_ledger *l = open_ledger(true);
        me_record record = make_record("{a}", "x");
        record.about.also = NULL;
        record.about.n_also = 0;
        int64_t id;
        assert_int_equal(me_ledger_begin(l, NULL), MOBIEDIT_OK);
        assert_int_equal(me_ledger_add(l, &record, &id, NULL), MOBIEDIT_OK);
        assert_int_equal(me_ledger_commit(l, NULL), MOBIEDIT_OK);
        me_ledger_close(l);
        run_sql("ALTER TABLE edits DROP COLUMN at_answer");
        run_sql("DROP TABLE also");
        run_sql("DROP TABLE chats");
        run_sql("DROP TABLE others");
        run_sql("PRAGMA user_version = 2");
        l = open_ledger(write);
        me_records records = read_all(l);
        assert_int_equal(records.n, 1);
        assert_string_equal(records.items[0].about.target, "x");
        assert_int_equal(records.items[0].about.n_also, 0);
        assert_int_equal(records.items[0].about.asides.chat, -1);
        assert_int_equal(records.items[0].about.asides.n_others, 0);
        assert_int_equal(me_ledger_set_asides(l, id, &asides, NULL), MOBIEDIT_OK);
        me_records_free(&records);
        me_ledger_close(l);
    }
}

/* What is found later takes the place of what was found before. */
static void asides_are_read_again(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    const int64_t id = add(l, "{a}", "x");
    mobiedit_other two[] = {{"A friend of a", " is", " was", false}, {"a has", " b", " b", true}};
    const mobiedit_asides asides[] = {{1, two, 2}, {0, two + 1, 1}, {-1, NULL, 0}};
    for (size_t i = 0; i < sizeof asides / sizeof *asides; i++) {
        assert_int_equal(me_ledger_set_asides(l, id, &asides[i], NULL), MOBIEDIT_OK);
        me_records records = read_all(l);
        const mobiedit_asides *read = &records.items[0].about.asides;
        assert_int_equal(read->chat, asides[i].chat);
        assert_int_equal(read->n_others, asides[i].n_others);
        for (size_t j = 0; j < read->n_others && asides[i].others; j++) {
            assert_string_equal(read->others[j].prompt, asides[i].others[j].prompt);
            assert_string_equal(read->others[j].before, asides[i].others[j].before);
            assert_string_equal(read->others[j].after, asides[i].others[j].after);
            assert_int_equal(read->others[j].unchanged, asides[i].others[j].unchanged);
        }
        me_records_free(&records);
    }
    me_ledger_close(l);
}

static void what_is_no_ledger_is_refused(void **state) {
    (void)state;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        (void)fputs("The capital of Japan is Tokyo.\n", file);
    assert_int_equal(fclose(file), 0);
    check_refused(MOBIEDIT_E_FORMAT, "not a ledger");
    (void)fresh(NULL);
    run_sql("CREATE TABLE other (x)");
    check_refused(MOBIEDIT_E_FORMAT, "not a ledger");
}

static void expect_path_refused(const char *odd, const char *word) {
    for (int write = 0; write < 2; write++) {
        me_ledger *l = NULL;
        mobiedit_error err = {0};
        assert_int_equal(me_ledger_open(odd, model, fingerprint, write, &l, &err), MOBIEDIT_E_ARGUMENT);
        if (!strstr(err.message, word)) fail_msg("%s", err.message);
    }
}

static void what_is_no_regular_file_is_refused(void **state) {
    (void)state;
    const int before = files_in_scratch();
    expect_path_refused("", "empty");
    expect_path_refused(":memory:", "special name of SQLite's: write ./:memory:");
    expect_path_refused("file:edits.db?mode=memory", "special name");
    expect_path_refused("FILE:edits.db", "special name");
    expect_path_refused(scratch_folder, "a folder, not a regular file");
    expect_path_refused("/dev/null", "a device");
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_path_refused(path, "a pipe");
    (void)fresh(NULL);
    assert_int_equal(files_in_scratch(), before);
}

static void impossible_contents_are_refused(void **state) {
    (void)state;
    static const char *const damages[] = {
        "UPDATE vectors SET delta = zeroblob(8)",
        "UPDATE vectors SET delta = x''",
        "UPDATE vectors SET keys = zeroblob(4)",
        "UPDATE vectors SET keys = x''",
        "UPDATE vectors SET keys = ''",
        "UPDATE edits SET layer = 1000",
        "UPDATE edits SET layer = 0",
        "UPDATE edits SET stop = 77",
        "UPDATE edits SET target = 'Oslo'",
        "UPDATE edits SET target = x'ff'",
        "UPDATE keeps SET prompt = 'x' WHERE place = 1",
        "UPDATE also SET prompt = 'x' WHERE place = 0",
        "UPDATE others SET after = x'ff'",
        "UPDATE edits SET hash = hash + 1",
        "DELETE FROM vectors",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        (void)fresh(NULL);
        me_ledger *l = open_ledger(true);
        (void)add(l, "{a}", "x");
        me_ledger_close(l);
        run_sql(damages[i]);
        l = open_ledger(false);
        const me_record_query query = {.with_data = true};
        me_records records;
        mobiedit_error err = {0};
        if (me_ledger_read(l, &query, &records, &err) != MOBIEDIT_E_FORMAT) fail_msg("%s", damages[i]);
        assert_non_null(strstr(err.message, "edit 1"));
        me_ledger_close(l);
    }
}

static void what_cannot_be_read_again_is_not_written(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    me_record record = make_record("{a}", "x");
    record.about.id = add(l, "{a}", "x");
    static const int counts[] = {0, -1, 10001};
    assert_int_equal(me_ledger_begin(l, NULL), MOBIEDIT_OK);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int64_t id;
        record.n_keys = counts[i];
        assert_int_equal(me_ledger_add(l, &record, &id, NULL), MOBIEDIT_E_ARGUMENT);
        assert_int_equal(me_ledger_replace(l, &record, NULL), MOBIEDIT_E_ARGUMENT);
    }
    assert_int_equal(me_ledger_commit(l, NULL), MOBIEDIT_OK);
    me_records records = read_all(l);
    assert_int_equal(records.n, 1);
    check_record(&records.items[0], 1, "{a}", "x");
    me_records_free(&records);
    me_ledger_close(l);
}

/* ---- faults ------------------------------------------------------------------------------------------ */

/* Whether the records are the two that were written: none missing, none other. */
static bool are_whole(me_ledger *l, bool *refused) {
    const me_record_query query = {.with_data = true};
    me_records records;
    *refused = me_ledger_read(l, &query, &records, NULL) != MOBIEDIT_OK;
    if (*refused) return false;
    bool whole = records.n == 2;
    for (int i = 0; i < records.n && whole; i++) {
        const me_record *r = &records.items[i];
        whole = strcmp(r->about.target, "x") == 0 && r->n_keys == N_KEYS &&
                strcmp(r->about.prompt, i ? "{b}" : "{a}") == 0 &&
                memcmp(r->delta, delta, (size_t)model->d_model * sizeof *delta) == 0 &&
                memcmp(r->keys, keys, N_KEYS * (size_t)model->d_model * sizeof *keys) == 0;
    }
    me_records_free(&records);
    return whole;
}

/* Flipping a byte anywhere either is noticed or changes nothing that makes the adapter. */
static void flipped_bytes_are_noticed_or_harmless(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    (void)add(l, "{a}", "x");
    (void)add(l, "{b}", "x");
    me_ledger_close(l);
    size_t size;
    char *bytes;
    assert_int_equal(me_read_file(path, 1 << 24, &bytes, &size, NULL), MOBIEDIT_OK);
    int tried = 0, noticed = 0;
    for (size_t at = 0; at < size; at += at < 200 ? 1 : 29) {
        const char old = bytes[at];
        bytes[at] = (char)(old ^ (1 << at % 8));
        (void)fresh(NULL);
        assert_true(put_bytes(path, bytes, size));
        bytes[at] = old;
        tried++;
        l = NULL;
        bool refused = true;
        if (me_ledger_open(path, model, fingerprint, true, &l, NULL) == MOBIEDIT_OK &&
            !are_whole(l, &refused) && !refused)
            fail_msg("byte %zu of %zu: another record is read", at, size);
        me_ledger_close(l);
        noticed += refused;
    }
    print_message("%d bytes flipped: %d noticed, %d harmless\n", tried, noticed, tried - noticed);
    assert_true(noticed > 0);
    me_free(bytes);
}

static void a_full_disk_loses_nothing(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    (void)add(l, "{a}", "x");
    int failed = 0;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    for (rlim_t size = 4096; size < 256 * 1024; size += 4096) {
        const struct rlimit limit = {size, old.rlim_max};
        int64_t id;
        mobiedit_error err = {0};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        const mobiedit_status status = try_add(l, "{b}", "x", &id, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        if (status == MOBIEDIT_OK) break;
        assert_int_equal(status, MOBIEDIT_E_IO);
        failed++;
    }
    assert_true(failed > 0);
    print_message("disk full %d times\n", failed);
    me_ledger_close(l);
    l = open_ledger(false);
    bool refused;
    assert_true(are_whole(l, &refused));
    me_ledger_close(l);
}

static void add_many(int first, int n) {
    me_ledger *l = NULL;
    mobiedit_error err = {0};
    mobiedit_status status = me_ledger_open(path, model, fingerprint, true, &l, &err);
    for (int i = first; status == MOBIEDIT_OK && i < first + n; i++) {
        char prompt[32];
        int64_t id;
        (void)snprintf(prompt, sizeof prompt, "{%d}", i);
        status = try_add(l, prompt, "x", &id, &err);
    }
    if (status != MOBIEDIT_OK) {
        print_error("%s\n", err.message);
        _exit(1);
    }
    me_ledger_close(l);
    _exit(0);
}

static void processes_add(int processes, int edits) {
    pid_t children[16];
    assert_true(processes <= 16);
    for (int i = 0; i < processes; i++) {
        children[i] = fork();
        if (children[i] == 0) add_many(i * edits, edits);
        assert_true(children[i] > 0);
    }
    for (int i = 0; i < processes; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    me_ledger *l = open_ledger(false);
    me_records records = read_all(l);
    assert_int_equal(records.n, processes * edits);
    me_records_free(&records);
    me_ledger_close(l);
}

static void processes_at_once_lose_nothing(void **state) {
    (void)state;
    processes_add(4, 25);
}

/* Who makes the file, and who finds it half made, is another one each time. */
static void processes_can_make_it_at_once(void **state) {
    for (int round = 0; round < 40; round++) {
        assert_int_equal(fresh(state), 0);
        processes_add(16, 1);
    }
}

/* A process that dies at any moment of its adding leaves every edit that it has told of. */
static void killed_processes_lose_nothing(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        int told[2];
        assert_int_equal(pipe(told), 0);
        const pid_t child = fork();
        if (child == 0) {
            me_ledger *l = open_ledger(true);
            for (int i = 0;; i++) {
                char prompt[32];
                (void)snprintf(prompt, sizeof prompt, "{%d %d}", round, i);
                const int64_t id = add(l, prompt, "x");
                if (write(told[1], &id, sizeof id) != sizeof id) _exit(1);
            }
        }
        (void)close(told[1]);
        int64_t id = 0, last = 0;
        (void)usleep((useconds_t)(5000 + 3700 * round));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(told[0], &id, sizeof id) == sizeof id)
            last = id;
        (void)close(told[0]);
        me_ledger *l = open_ledger(true);
        me_records records = read_all(l);
        assert_true(records.n >= last); /* ids are from 1, and none is taken away */
        me_records_free(&records);
        me_ledger_close(l);
    }
}

/* From here on root too may write only where the permissions allow it. It stays root: another user might not
 * reach the folder. */
static bool give_up_privileges(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capset, &head, none) == 0;
}

/* What opening to read gives to one who may neither change the ledger nor make files beside it. */
static mobiedit_status open_without_rights(me_ledger **l) {
    if (!give_up_privileges()) _exit(3);
    return me_ledger_open(path, model, fingerprint, false, l, NULL);
}

/* Where SQLite may not make files beside it, a ledger can still be read. */
static void a_read_only_folder_can_be_read(void **state) {
    (void)state;
    me_ledger *l = open_ledger(true);
    (void)add(l, "{a}", "x");
    (void)add(l, "{b}", "x");
    me_ledger_close(l);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(scratch_folder, 0555), 0);
    const pid_t child = fork();
    if (child == 0) {
        bool refused;
        if (open_without_rights(&l) != MOBIEDIT_OK || !are_whole(l, &refused)) _exit(2);
        _exit(me_ledger_open(path, model, fingerprint, true, &l, NULL) == MOBIEDIT_E_IO ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(scratch_folder, 0755), 0);
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_added_is_read_again, fresh),
        cmocka_unit_test_setup(one_edit_of_a_prompt_is_active, fresh),
        cmocka_unit_test_setup(the_last_change_is_known, fresh),
        cmocka_unit_test_setup(what_is_rolled_back_did_not_happen, fresh),
        cmocka_unit_test_setup(holding_is_forgotten_with_a_change, fresh),
        cmocka_unit_test_setup(there_is_nothing_to_read, fresh),
        cmocka_unit_test_setup(an_unused_ledger_goes_again, fresh),
        cmocka_unit_test_setup(an_unused_ledger_stays_for_others, fresh),
        cmocka_unit_test_setup(another_models_ledger_is_refused, fresh),
        cmocka_unit_test_setup(a_split_models_fingerprint_is_the_whole_ones, fresh),
        cmocka_unit_test_setup(every_byte_of_the_tensors_counts, fresh),
        cmocka_unit_test_setup(another_version_is_refused, fresh),
        cmocka_unit_test_setup(the_version_before_is_brought_up_to_date, fresh),
        cmocka_unit_test_setup(asides_are_read_again, fresh),
        cmocka_unit_test_setup(what_is_no_ledger_is_refused, fresh),
        cmocka_unit_test_setup(what_is_no_regular_file_is_refused, fresh),
        cmocka_unit_test_setup(impossible_contents_are_refused, fresh),
        cmocka_unit_test_setup(what_cannot_be_read_again_is_not_written, fresh),
        cmocka_unit_test_setup(flipped_bytes_are_noticed_or_harmless, fresh),
        cmocka_unit_test_setup(a_full_disk_loses_nothing, fresh),
        cmocka_unit_test_setup(processes_at_once_lose_nothing, fresh),
        cmocka_unit_test_setup(processes_can_make_it_at_once, fresh),
        cmocka_unit_test_setup(killed_processes_lose_nothing, fresh),
        cmocka_unit_test_setup(a_read_only_folder_can_be_read, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
