/* Checked allocation and the thread pool. */
#include "base/memory.h"
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

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
        cmocka_unit_test(failure_keeps_one_line),
        cmocka_unit_test(pool_runs_every_task_once),
        cmocka_unit_test(pool_refuses_bad_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
