/* A forked child that computes what may end its process. */
#ifndef ME_BASE_CHILD_H
#define ME_BASE_CHILD_H

#include <stddef.h>
#include <sys/types.h>

/* Of the child: from now on a fault ends it without a word, whatever the program does about its own, and so does a
 * wait on a lock that another thread held at the fork, after ten minutes (SIGALRM). cpu_seconds: more processor time
 * ends it too (SIGXCPU); memory_bytes: what it may have beyond what the process has; 0: no such limit. */
void me_child_limit(unsigned cpu_seconds, size_t memory_bytes);

/* Of the parent: waits until the child ends. How it ended, as waitpid tells. */
int me_child_wait(pid_t child);

#endif
