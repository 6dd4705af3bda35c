#define _GNU_SOURCE
#include "scratch.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char scratch_folder[SCRATCH_PATH_MAX];

/* A pattern for mkdtemp and mkstemp. False if the path would be too long. */
static bool pattern(char path[SCRATCH_PATH_MAX], const char *folder) {
    const int n = folder ? snprintf(path, SCRATCH_PATH_MAX, "%s/mobiedit-test-XXXXXX", folder) : -1;
    return n > 0 && n < SCRATCH_PATH_MAX;
}

bool temporary_folder(char path[SCRATCH_PATH_MAX]) {
    return (pattern(path, getenv("TMPDIR")) && mkdtemp(path)) || (pattern(path, "/tmp") && mkdtemp(path));
}

bool temporary_file(char path[SCRATCH_PATH_MAX]) {
    int file = pattern(path, getenv("TMPDIR")) ? mkstemp(path) : -1;
    if (file < 0 && pattern(path, "/tmp")) file = mkstemp(path);
    return file >= 0 && close(file) == 0;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

bool remove_folder(const char *path) {
    return nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0;
}

int scratch_open(void **state) {
    (void)state;
    return temporary_folder(scratch_folder) ? 0 : -1;
}

int scratch_close(void **state) {
    (void)state;
    return remove_folder(scratch_folder) ? 0 : -1;
}

const char *scratch_path(const char *name) {
    static char path[SCRATCH_PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", scratch_folder, name);
    return path;
}

bool put_bytes(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    if (!file) return false;
    const bool written = fwrite(bytes, 1, n, file) == n;
    return fclose(file) == 0 && written;
}

int files_in_scratch(void) {
    int n = 0;
    DIR *folder = opendir(scratch_folder);
    if (!folder) return -1;
    for (struct dirent *entry; (entry = readdir(folder));)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(folder);
    return n;
}
