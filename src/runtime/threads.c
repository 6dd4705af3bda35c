/* Halves the number of threads when other programs crowd them. */
#include "runtime/threads.h"

enum { PATIENCE = 2 };

/* Shorter evaluations say nothing: clocks and scheduling are too coarse. */
static const double SHORTEST = 2e-3;

/* Threads with processors of their own are seldom below 0.8. */
static const double CROWDED_BELOW = 0.6;

bool me_threads_note(me_threads *threads, double wall, double cpu) {
    if (threads->n < 2 || wall < SHORTEST) return false;
    threads->crowded = cpu < CROWDED_BELOW * wall * threads->n ? threads->crowded + 1 : 0;
    if (threads->crowded < PATIENCE) return false;
    threads->n /= 2;
    threads->crowded = 0;
    return true;
}
