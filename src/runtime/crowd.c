#include "runtime/crowd.h"

enum { PATIENCE = 2 };

/* Shorter evaluations say nothing: clocks and scheduling are too coarse. */
static const double SHORTEST = 2e-3;

/* Threads with processors of their own are seldom below 0.8. */
static const double CROWDED_BELOW = 0.6;

bool me_crowd_note(me_crowd *crowd, double wall, double cpu) {
    if (crowd->threads < 2 || wall < SHORTEST) return false;
    crowd->crowded = cpu < CROWDED_BELOW * wall * crowd->threads ? crowd->crowded + 1 : 0;
    if (crowd->crowded < PATIENCE) return false;
    crowd->threads /= 2;
    crowd->crowded = 0;
    return true;
}
