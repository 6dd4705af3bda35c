/* A folder of its own for a test program's files. Define _GNU_SOURCE first. */
#ifndef ME_TESTS_SCRATCH_H
#define ME_TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static char scratch_folder[256];

/* cmocka group set-up. */
static inline int scratch_open(void **state) {
    (void)state;
    const char *temporary = getenv("TMPDIR");
    (void)snprintf(scratch_folder, sizeof scratch_folder, "%s/mobiedit-test-XXXXXX",
                   temporary ? temporary : "/tmp");
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static inline int scratch_remove(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

/* cmocka group tear-down. */
static inline int scratch_close(void **state) {
    (void)state;
    return nftw(scratch_folder, scratch_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path of the file `name` in the folder; valid until the next call. */
static inline const char *scratch_path(const char *name) {
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", scratch_folder, name);
    return path;
}

#endif
