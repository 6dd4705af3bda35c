/* Locks between processes, by flock: nothing is left behind, and a process that ends gives its locks back. */
#define _GNU_SOURCE
#include "base/lock.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_MS = 10 };

bool me_lock(int fd, int wait_ms) {
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += PAUSE_MS) {
        if (errno != EINTR && (errno != EWOULDBLOCK || waited >= wait_ms)) return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

mobiedit_status me_lock_folder_of(const char *path, int *fd, mobiedit_error *err) {
    char *folder = me_beside(path, "");
    if (!folder) return me_fail_memory(err, "the name of a folder");
    const int opened = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    me_free(folder);
    if (opened >= 0 && me_lock(opened, ME_BUSY_MS)) {
        *fd = opened;
        return MOBIEDIT_OK;
    }
    const int error = errno;
    if (opened >= 0) (void)close(opened);
    return error == EWOULDBLOCK
               ? me_fail(err, MOBIEDIT_E_IO, "the folder of %s is held by another process", path)
               : me_fail(err, MOBIEDIT_E_IO, "cannot lock the folder of %s: %s", path, strerror(error));
}
