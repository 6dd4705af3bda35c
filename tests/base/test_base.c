/* Checked allocation, hashes, arithmetic on logits and the thread pool. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/logits.h"
#include "base/memory.h"
#include "base/parts.h"
#include "base/pending.h"
#include "base/pool.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void allocation_refuses_overflow(void **state) {
    (void)state;
    assert_null(me_calloc(SIZE_MAX, 2));
    assert_null(me_calloc(SIZE_MAX - 8, 1));
    char *p = me_calloc(3, 7);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (int i = 0; i < 21; i++)
        assert_int_equal(p[i], 0);
    me_free(p);
    char *text = me_strndup("Lima is", 4);
    assert_string_equal(text, "Lima");
    me_free(text);
}

static void an_array_grows_with_its_elements(void **state) {
    (void)state;
    int *items = NULL;
    size_t capacity = 0, moves = 0;
    for (size_t n = 0; n < 1000; n++) {
        const size_t before = capacity;
        assert_true(me_grow(&items, &capacity, n + 1, sizeof *items));
        assert_true(capacity > n);
        assert_int_equal(items[n], 0);
        items[n] = (int)n;
        if (capacity != before) {
            assert_true(capacity >= 2 * before);
            moves++;
        }
    }
    for (size_t n = 0; n < 1000; n++)
        assert_int_equal(items[n], n);
    assert_true(moves < 10);
    const size_t before = capacity;
    assert_false(me_grow(&items, &capacity, SIZE_MAX / 2, sizeof *items));
    assert_int_equal(capacity, before);
    assert_int_equal(items[999], 999);
    me_free(items);
}

static void strings_are_joined(void **state) {
    (void)state;
    static const char *const parts[][3] = {
        {"Li", "ma", "Lima"}, {"", "Lima", "Lima"}, {"Lima", "", "Lima"}, {"", "", ""}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *whole = me_strjoin(parts[i][0], parts[i][1]);
        assert_string_equal(whole, parts[i][2]);
        me_free(whole);
    }
}

static void failure_keeps_one_line(void **state) {
    (void)state;
    mobiedit_error err = {0};
    assert_int_equal(me_fail(&err, MOBIEDIT_E_IO, "no %s at %d", "file", 7), MOBIEDIT_E_IO);
    assert_int_equal(err.status, MOBIEDIT_E_IO);
    assert_string_equal(err.message, "no file at 7");
    assert_int_equal(me_fail(&err, MOBIEDIT_E_IO, "no %s", "a\nb\x1B[2Jc\x7F"), MOBIEDIT_E_IO);
    assert_string_equal(err.message, "no a?b?[2Jc?");
    assert_int_equal(me_fail(NULL, MOBIEDIT_E_IO, "nobody listens"), MOBIEDIT_E_IO);
}

/* The values for the texts are those of draft-eastlake-fnv. */
static void hashes_are_fnv_1a(void **state) {
    (void)state;
    assert_true(me_hash("", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(me_hash("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(me_hash("foobar", 6) == UINT64_C(0x85944171f73967e8));
}

static void a_file_has_the_hash_of_its_bytes(void **state) {
    (void)state;
    static char bytes[100001];
    const char *path = scratch_path("bytes");
    uint64_t hash = 0;
    mobiedit_error err = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i % 251);
    assert_int_equal(me_hash_file(path, &hash, &err), MOBIEDIT_E_IO);
    assert_true(put_bytes(path, bytes, sizeof bytes));
    assert_int_equal(me_hash_file(path, &hash, &err), MOBIEDIT_OK);
    assert_true(hash == me_hash(bytes, sizeof bytes));
}

static void one_file_has_many_names(void **state) {
    (void)state;
    char a[640], b[640], hard[640], soft[640], dangling[640], other[640];
    (void)snprintf(a, sizeof a, "%s/a", scratch_folder);
    (void)snprintf(b, sizeof b, "%s/./b", scratch_folder);
    (void)snprintf(hard, sizeof hard, "%s/hard", scratch_folder);
    (void)snprintf(soft, sizeof soft, "%s/soft", scratch_folder);
    (void)snprintf(dangling, sizeof dangling, "%s/dangling", scratch_folder);
    (void)snprintf(other, sizeof other, "%s/b", scratch_folder);
    assert_true(put_bytes(a, "a", 1));
    assert_int_equal(link(a, hard), 0);
    assert_int_equal(symlink("a", soft), 0);
    assert_int_equal(symlink("b", dangling), 0);
    assert_true(me_same_file(a, a) && me_same_file(a, hard) && me_same_file(soft, hard));
    assert_true(me_same_file(b, other) && me_same_file(dangling, other)); /* neither is there */
    assert_false(me_same_file(a, b) || me_same_file(b, a) || me_same_file(dangling, a));
    assert_int_equal(chdir(scratch_folder), 0);
    assert_true(me_same_file("b", other) && me_same_file("./a", a) && me_same_file("dangling", "b"));
    assert_false(me_same_file("c", "b"));
}

static void a_lock_is_held_until_it_is_closed(void **state) {
    (void)state;
    const char *path = scratch_path("locked");
    int folder;
    assert_true(put_bytes(path, "", 0));
    const int first = open(path, O_RDWR | O_CLOEXEC), second = open(path, O_RDWR | O_CLOEXEC);
    assert_true(first >= 0 && second >= 0);
    assert_true(me_lock(first, 0));
    assert_true(me_lock(first, 0)); /* again is no harm */
    assert_false(me_lock(second, 0));
    assert_int_equal(errno, EWOULDBLOCK);
    assert_false(me_lock(second, 30));
    assert_int_equal(close(first), 0);
    assert_true(me_lock(second, 0));
    assert_int_equal(close(second), 0);
    mobiedit_error err;
    assert_int_equal(me_lock_folder_of("/no such folder/file", &folder, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, "/no such folder/file"));
}

enum { WRITERS = 4, ROUNDS = 25 };

/* Reads a number from the file and replaces the file by one with the number after it. */
static bool count_up(const char *path) {
    char *text = NULL, next[16];
    size_t n;
    int lock;
    if (me_lock_folder_of(path, &lock, NULL) != MOBIEDIT_OK) return false;
    bool ok = me_read_file(path, sizeof next, &text, &n, NULL) == MOBIEDIT_OK;
    if (ok) {
        me_pending_file file;
        const int length = snprintf(next, sizeof next, "%ld", strtol(text, NULL, 10) + 1);
        ok = me_pending_write(path, next, (size_t)length, &file, NULL) == MOBIEDIT_OK &&
             me_pending_commit(&file, NULL) == MOBIEDIT_OK;
    }
    me_free(text);
    return close(lock) == 0 && ok;
}

static void processes_that_lock_lose_no_change(void **state) {
    (void)state;
    const char *path = scratch_path("count");
    char *text, expected[16];
    size_t n;
    assert_true(put_bytes(path, "0", 1));
    for (int i = 0; i < WRITERS; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child > 0) continue;
        bool ok = true;
        for (int j = 0; j < ROUNDS; j++)
            ok = count_up(path) && ok;
        _exit(ok ? 0 : 1);
    }
    for (int i = 0; i < WRITERS; i++) {
        int ended;
        assert_true(wait(&ended) > 0);
        assert_int_equal(ended, 0);
    }
    assert_int_equal(me_read_file(path, sizeof expected, &text, &n, NULL), MOBIEDIT_OK);
    (void)snprintf(expected, sizeof expected, "%d", WRITERS * ROUNDS);
    assert_string_equal(text, expected);
    me_free(text);
}

static void kl_of_known_distributions(void **state) {
    (void)state;
    /* (1/2, 1/2) against (3/4, 1/4): 1/2 log(2/3) + 1/2 log 2; a shift of all logits changes nothing */
    const float before[] = {5.0f, 5.0f}, after[] = {logf(3.0f) - 2.0f, -2.0f};
    assert_true(fabs(me_kl(before, after, 2) - (0.5 * log(2.0 / 3.0) + 0.5 * log(2.0))) < 1e-6);
    assert_true(fabs(me_kl(after, after, 2)) < 1e-12);
    const float far[] = {1000.0f, -1000.0f}, near[] = {0.0f, -3.0f};
    assert_true(fabs(me_kl(far, near, 2) - log1p(exp(-3.0))) < 1e-6);
    assert_int_equal(me_argmax(after, 2), 0);
    assert_int_equal(me_argmax(before, 2), 0);
}

/* Also where exp of a logit by itself would be no float. */
static void log_sums_of_known_logits(void **state) {
    (void)state;
    const float logits[] = {800.0f, 800.0f - logf(2.0f), 800.0f - logf(2.0f), -800.0f};
    assert_true(fabs(me_log_sum_exp(logits, 4) - (800 + log(2.0))) < 1e-4);
    assert_true(fabsf(me_log_sum_expf(logits, 4) - (800.0f + logf(2.0f))) < 1e-4f);
    assert_true(me_log_sum_expf(logits, 1) == 800.0f);
}

/* (1/2, 1/4, 1/8, 1/8) against all alike: two tokens by name, the others as one of 1/4 and 1/2. */
static void kl_of_named_tokens_and_a_rest(void **state) {
    (void)state;
    const float before[] = {logf(2.0f), 1.0f + logf(4.0f), logf(2.0f), 1.0f + logf(4.0f)}, flat[4] = {0};
    const float known[] = {-logf(8.0f), -logf(2.0f), -logf(8.0f), -logf(4.0f)};
    int32_t tokens[2];
    double log_probs[2];
    const me_likely likely = {.tokens = tokens, .log_probs = log_probs, .n = 2};
    me_likely_take(&likely, known, 4);
    assert_true(tokens[0] + tokens[1] == 1 + 3 && tokens[0] != tokens[1]);
    for (int i = 0; i < 2; i++)
        assert_true(fabs(exp(log_probs[i]) - (tokens[i] == 1 ? 0.5 : 0.25)) < 1e-6);
    assert_true(fabs(me_likely_kl(&likely, flat, 4) - (0.5 * log(2.0) + 0.25 * log(0.5))) < 1e-6);
    const float uneven[] = {logf(3.0f), logf(2.0f), 0.0f,
                            logf(2.0f)}; /* what happens inside the rest is lost */
    assert_true(me_likely_kl(&likely, uneven, 4) < me_kl(known, uneven, 4) - 0.01);
    assert_true(fabs(me_likely_kl(&likely, known, 4)) < 1e-6);
    /* With all tokens named, nothing is left. */
    int32_t all_tokens[4];
    double all_log_probs[4];
    const me_likely all = {.tokens = all_tokens, .log_probs = all_log_probs, .n = 4};
    me_likely_take(&all, before, 4);
    assert_true(fabs(me_likely_kl(&all, flat, 4) - me_kl(before, flat, 4)) < 1e-5);
}

enum { TASKS = 1000, LOOPS = 200 };

typedef struct {
    atomic_int runs[TASKS];
    atomic_int bad_thread;
    int n_threads;
} tally;

static void count(void *context, size_t task, int thread) {
    tally *t = context;
    atomic_fetch_add(&t->runs[task], 1);
    if (thread < 0 || thread >= t->n_threads) atomic_store(&t->bad_thread, 1);
}

static void expect_part(const char *path, int no, int n, const char *first) {
    me_part_name name;
    assert_true(me_part_name_read(path, &name));
    assert_int_equal(name.no, no);
    assert_int_equal(name.n, n);
    char *made = me_part_path(path, &name, 1);
    assert_string_equal(made, first);
    me_free(made);
    made = me_part_path(path, &name, no);
    assert_string_equal(made, path);
    me_free(made);
}

static void parts_are_known_by_their_names(void **state) {
    static const char *const others[] = {"",
                                         "m.gguf",
                                         "-00001-of-00002.gguf",
                                         "m-0001-of-0002.gguf",
                                         "m-00000-of-00002.gguf",
                                         "m-00003-of-00002.gguf",
                                         "m-00001-of-0000x.gguf",
                                         "m-+0001-of-00002.gguf",
                                         "m-00001_of-00002.gguf",
                                         "m-00001-of-00002.ggu",
                                         "m-00001-of-00002.gguf.mobiedit.db",
                                         "m_00001-of-00002.gguf"};
    me_part_name name;
    (void)state;
    expect_part("m-00001-of-00001.gguf", 1, 1, "m-00001-of-00001.gguf");
    expect_part("a/b-00007-of-00012.gguf", 7, 12, "a/b-00001-of-00012.gguf");
    expect_part("b-00001-of-00002-99999-of-99999.gguf", 99999, 99999, "b-00001-of-00002-00001-of-99999.gguf");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(me_part_name_read(others[i], &name));
}

static void pool_runs_every_task_once(void **state) {
    (void)state;
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        me_pool *pool = NULL;
        assert_int_equal(me_pool_open(n_threads, &pool, NULL), MOBIEDIT_OK);
        assert_int_equal(me_pool_threads(pool), n_threads);
        static tally t;
        memset(&t, 0, sizeof t);
        t.n_threads = n_threads;
        for (int i = 0; i < LOOPS; i++)
            me_pool_run(pool, TASKS, count, &t);
        for (int i = 0; i < TASKS; i++)
            assert_int_equal(atomic_load(&t.runs[i]), LOOPS);
        assert_int_equal(atomic_load(&t.bad_thread), 0);
        me_pool_close(pool);
    }
}

static void pool_refuses_bad_counts(void **state) {
    (void)state;
    me_pool *pool = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_pool_open(-1, &pool, &err), MOBIEDIT_E_ARGUMENT);
    assert_int_equal(me_pool_open(100000, &pool, &err), MOBIEDIT_E_ARGUMENT);
    assert_null(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocation_refuses_overflow),
        cmocka_unit_test(strings_are_joined),
        cmocka_unit_test(failure_keeps_one_line),
        cmocka_unit_test(hashes_are_fnv_1a),
        cmocka_unit_test(a_file_has_the_hash_of_its_bytes),
        cmocka_unit_test(kl_of_known_distributions),
        cmocka_unit_test(one_file_has_many_names),
        cmocka_unit_test(parts_are_known_by_their_names),
        cmocka_unit_test(log_sums_of_known_logits),
        cmocka_unit_test(kl_of_named_tokens_and_a_rest),
        cmocka_unit_test(pool_runs_every_task_once),
        cmocka_unit_test(pool_refuses_bad_counts),
        cmocka_unit_test(an_array_grows_with_its_elements),
        cmocka_unit_test(a_lock_is_held_until_it_is_closed),
        cmocka_unit_test(processes_that_lock_lose_no_change),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
