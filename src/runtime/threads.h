/* How many threads are worth using beside other programs.
 *
 * ggml's threads meet after every operation, some hundred times a token. Where other programs want the same
 * processors, one of the threads is always waiting for its turn and the others wait for it: two threads on
 * two busy processors have been seen 40 times slower than one. So the time is watched: threads that wait for
 * their turn use less processor time than wall time. */
#ifndef ME_RUNTIME_THREADS_H
#define ME_RUNTIME_THREADS_H

#include <stdbool.h>

typedef struct {
    int n;       /* to use */
    int crowded; /* evaluations in a row that had to share the processors */
} me_threads;

/* Notes an evaluation that took `wall` seconds, and `cpu` seconds of all threads together. True where the
 * number of threads has changed: it is halved after a few crowded evaluations in a row. */
bool me_threads_note(me_threads *threads, double wall, double cpu);

#endif
