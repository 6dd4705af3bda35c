/* A thread that does what others ask of it, one thing after the other: libllama and ggml keep threads of their
 * own for each thread that calls them, and a handle of the library belongs to one at a time. */
#ifndef CLI_SERVE_LANE_H
#define CLI_SERVE_LANE_H

#include <stdbool.h>

typedef struct lane lane;
typedef void (*lane_fn)(void *user);

/* NULL: no thread can be started. lane_close waits for what is under way; NULL is fine. */
lane *lane_open(void);
void lane_close(lane *l);

/* Runs fn(user) there and waits for its end. False, and nothing is run, if `most` others wait already. */
bool lane_run(lane *l, int most, lane_fn fn, void *user);

/* Has fn(user) run there once nothing else does; does not wait. One at a time: the caller sees to that. */
void lane_start(lane *l, lane_fn fn, void *user);

#endif
