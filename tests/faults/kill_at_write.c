/* Preloaded into a program (LD_PRELOAD): kills it with SIGKILL just before its n-th call that changes files,
 * n in $KILL_AT. Writes to the standard streams do not count. With $COUNT_INTO the number of calls of a
 * program that comes to its end is written to that file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static long calls;

static void count(int fd) {
    const char *at = getenv("KILL_AT");
    if (fd >= 0 && fd <= STDERR_FILENO) return;
    calls++;
    if (at && strtol(at, NULL, 10) == calls) (void)raise(SIGKILL);
}

static void *next(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) abort();
    return function;
}

/* A function pointer out of dlsym's object pointer, as POSIX means it. */
#define REAL(type, name) (*(type *)&(void *){next(name)})

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*pwrite64_fn)(int, const void *, size_t, off64_t);
typedef int (*fd_fn)(int);
typedef int (*truncate_fn)(int, off_t);
typedef int (*truncate64_fn)(int, off64_t);
typedef int (*rename_fn)(const char *, const char *);
typedef int (*unlink_fn)(const char *);

/* The parameters have the C library's names, as its declarations do. */
ssize_t write(int fd, const void *buf, size_t n) {
    count(fd);
    return REAL(write_fn, "write")(fd, buf, n);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset) {
    count(fd);
    return REAL(pwrite_fn, "pwrite")(fd, buf, n, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t offset) {
    count(fd);
    return REAL(pwrite64_fn, "pwrite64")(fd, buf, n, offset);
}

int fsync(int fd) {
    count(fd);
    return REAL(fd_fn, "fsync")(fd);
}

int fdatasync(int fildes) {
    count(fildes);
    return REAL(fd_fn, "fdatasync")(fildes);
}

int ftruncate(int fd, off_t length) {
    count(fd);
    return REAL(truncate_fn, "ftruncate")(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    count(fd);
    return REAL(truncate64_fn, "ftruncate64")(fd, length);
}

int rename(const char *old, const char *new) {
    count(-1);
    return REAL(rename_fn, "rename")(old, new);
}

int unlink(const char *name) {
    count(-1);
    return REAL(unlink_fn, "unlink")(name);
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("COUNT_INTO");
    FILE *file = path ? fopen(path, "we") : NULL;
    if (!file) return;
    (void)fprintf(file, "%ld\n", calls);
    (void)fclose(file);
}
