/* A fixed set of threads that share the tasks of a loop. */
#define _GNU_SOURCE
#include "base/pool.h"

#include "base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* Workers look for the next loop for a short while before they sleep: the loops of one layer follow each
 * other within microseconds, and waking a thread costs more than that. */
enum { SPINS_BEFORE_SLEEP = 4000, MAX_THREADS = 256 };

typedef struct {
    me_pool *pool;
    pthread_t handle;
    int index;
} worker;

struct me_pool {
    int n_threads;
    int n_started;
    worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_uint generation; /* counts loops; a worker runs each generation once */
    atomic_int busy;        /* workers that have not finished the current loop */
    atomic_bool stop;
    atomic_size_t next;
    size_t n_tasks;
    me_pool_fn fn;
    void *context;
};

static void run_tasks(me_pool *pool, int thread) {
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->n_tasks) return;
        pool->fn(pool->context, task, thread);
    }
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *worker_main(void *argument) {
    worker *self = argument;
    me_pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        for (int i = 0; now == seen && i < SPINS_BEFORE_SLEEP; i++) {
            relax();
            now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        }
        if (now == seen) {
            pthread_mutex_lock(&pool->lock);
            while ((now = atomic_load_explicit(&pool->generation, memory_order_acquire)) == seen)
                pthread_cond_wait(&pool->wake, &pool->lock);
            pthread_mutex_unlock(&pool->lock);
        }
        seen = now;
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) return NULL;
        run_tasks(pool, self->index);
        atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_acq_rel);
    }
}

int me_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

mobiedit_status me_pool_open(int n_threads, me_pool **out, mobiedit_error *err) {
    if (n_threads < 0 || n_threads > MAX_THREADS)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "threads must be 0 to %d, not %d", MAX_THREADS, n_threads);
    if (n_threads == 0) n_threads = me_processors();
    if (n_threads > MAX_THREADS) n_threads = MAX_THREADS;
    me_pool *pool = me_calloc(1, sizeof *pool);
    worker *workers = me_calloc((size_t)n_threads, sizeof *workers);
    if (!pool || !workers) {
        me_free(pool);
        me_free(workers);
        return me_fail_memory(err, "the thread pool");
    }
    pool->n_threads = n_threads;
    pool->workers = workers;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int i = 1; i < n_threads; i++) {
        workers[i] = (worker){.pool = pool, .index = i};
        if (pthread_create(&workers[i].handle, NULL, worker_main, &workers[i]) != 0) {
            me_pool_close(pool);
            return me_fail(err, MOBIEDIT_E_MEMORY, "cannot start thread %d of %d", i + 1, n_threads);
        }
        pool->n_started = i;
    }
    *out = pool;
    return MOBIEDIT_OK;
}

static void publish(me_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_acq_rel);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void me_pool_close(me_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    publish(pool);
    for (int i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].handle, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    me_free(pool->workers);
    me_free(pool);
}

int me_pool_threads(const me_pool *pool) {
    return pool->n_threads;
}

void me_pool_run(me_pool *pool, size_t n_tasks, me_pool_fn fn, void *context) {
    if (pool->n_threads == 1 || n_tasks <= 1) {
        for (size_t task = 0; task < n_tasks; task++)
            fn(context, task, 0);
        return;
    }
    pool->fn = fn;
    pool->context = context;
    pool->n_tasks = n_tasks;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->busy, pool->n_threads - 1, memory_order_relaxed);
    publish(pool);
    run_tasks(pool, 0);
    /* A worker preempted in mid-task (more threads than processors) needs this processor to finish. */
    for (int i = 0; atomic_load_explicit(&pool->busy, memory_order_acquire) > 0; i++) {
        if (i < SPINS_BEFORE_SLEEP)
            relax();
        else
            sched_yield();
    }
}
