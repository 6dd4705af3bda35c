/* A folder of its own for a test program's files. Define _GNU_SOURCE first. */
#ifndef ME_TESTS_SCRATCH_H
#define ME_TESTS_SCRATCH_H

#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Writes a file of n bytes anew; me_read_file reads it. */
static inline bool put_bytes(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    if (!file) return false;
    const bool written = fwrite(bytes, 1, n, file) == n;
    return fclose(file) == 0 && written;
}

/* Files in the folder, hidden ones too; -1 where it cannot be read. */
static inline int files_in_scratch(void) {
    int n = 0;
    DIR *folder = opendir(scratch_folder);
    if (!folder) return -1;
    for (struct dirent *entry; (entry = readdir(folder));)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(folder);
    return n;
}

#endif
