/* Locks between processes that change the same file. */
#ifndef ME_BASE_LOCK_H
#define ME_BASE_LOCK_H

#include "base/error.h"

#include <stdbool.h>

/* How long a change waits for another process that is at the same file, in milliseconds. */
enum { ME_BUSY_MS = 20000 };

/* Locks an open file or folder against others who lock it, until it is closed; the system does so too where the
 * process is killed. Waits wait_ms at most. False with errno set, EWOULDBLOCK where another still has it. */
bool me_lock(int fd, int wait_ms);

/* Locks the folder of the file at `path` for ME_BUSY_MS at most. That is for a file that is read and replaced as a
 * whole: a lock on the file itself would end with the file that is replaced, and there may be none yet. Unlocked
 * by close(*fd). E_IO. */
mobiedit_status me_lock_folder_of(const char *path, int *fd, mobiedit_error *err);

#endif
