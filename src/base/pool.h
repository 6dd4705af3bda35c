/* A fixed set of threads that share the tasks of one parallel loop at a time. */
#ifndef ME_BASE_POOL_H
#define ME_BASE_POOL_H

#include "base/error.h"

typedef struct me_pool me_pool;

/* Processors this process may use. */
int me_processors(void);

/* task in [0, n_tasks); thread in [0, me_pool_threads): an index for per-thread scratch space. */
typedef void (*me_pool_fn)(void *context, size_t task, int thread);

/* n_threads counts the caller; 0 means one per processor this process may use. */
mobiedit_status me_pool_open(int n_threads, me_pool **out, mobiedit_error *err);
void me_pool_close(me_pool *pool);
int me_pool_threads(const me_pool *pool);

/* Runs fn for every task, each once, in no particular order; returns when all are done. The caller works too.
 * Not to be called from inside a task. */
void me_pool_run(me_pool *pool, size_t n_tasks, me_pool_fn fn, void *context);

#endif
