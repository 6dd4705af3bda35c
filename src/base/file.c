/* Reads files with checks, and writes all bytes. */
#define _GNU_SOURCE
#include "base/file.h"

#include "base/memory.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool me_write_all(int fd, const void *bytes, size_t n) {
    const char *p = bytes;
    while (n > 0) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        p += written;
        n -= (size_t)written;
    }
    return true;
}

mobiedit_status me_open_file(const char *path, FILE **out, uint64_t *size, mobiedit_error *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return me_fail(err, MOBIEDIT_E_IO, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return me_fail(err, MOBIEDIT_E_IO, "%s is not a regular file", path);
    FILE *file = fopen(path, "rbe");
    if (!file) return me_fail(err, MOBIEDIT_E_IO, "cannot read %s: %s", path, strerror(errno));
    *out = file;
    *size = (uint64_t)info.st_size;
    return MOBIEDIT_OK;
}

static mobiedit_status read_all(FILE *file, uint64_t size, size_t most, const char *path, char **out,
                                mobiedit_error *err) {
    if (size > most) return me_fail(err, MOBIEDIT_E_FORMAT, "%s: larger than %zu MiB", path, most >> 20);
    char *bytes = me_calloc((size_t)size + 1, 1);
    if (!bytes) return me_fail_memory(err, "a file");
    if (fread(bytes, 1, (size_t)size, file) != size) {
        me_free(bytes);
        return me_fail(err, MOBIEDIT_E_IO, "cannot read %s: %s", path,
                       ferror(file) ? strerror(errno) : "it became shorter while it was read");
    }
    *out = bytes;
    return MOBIEDIT_OK;
}

mobiedit_status me_read_file(const char *path, size_t most, char **bytes, size_t *length,
                             mobiedit_error *err) {
    FILE *file = NULL;
    uint64_t size = 0;
    ME_TRY(me_open_file(path, &file, &size, err));
    const mobiedit_status status = read_all(file, size, most, path, bytes, err);
    (void)fclose(file);
    if (status == MOBIEDIT_OK) *length = (size_t)size;
    return status;
}

bool me_read_line(const char *path, char *line, size_t line_size) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fgets(line, (int)line_size, file) != NULL;
    (void)fclose(file);
    if (!ok) return false;
    size_t n = strcspn(line, "\n");
    if (line[n] == '\0' && n + 1 == line_size) return false;
    line[n] = '\0';
    return true;
}

const char *me_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *me_beside(const char *path, const char *name) {
    const bool here = !strchr(path, '/');
    const int n_folder = here ? 2 : (int)(me_base_name(path) - path);
    const size_t size = (size_t)n_folder + strlen(name) + 1;
    char *out = me_calloc(size, 1);
    if (out) (void)snprintf(out, size, "%.*s%s", n_folder, here ? "./" : path, name);
    return out;
}

char *me_absolute_path(const char *path) {
    char folder[PATH_MAX];
    if (*path == '/') return me_strdup(path);
    if (!getcwd(folder, sizeof folder)) return NULL;
    const size_t size = strlen(folder) + strlen(path) + 2;
    char *out = me_calloc(size, 1);
    if (out) (void)snprintf(out, size, "%s/%s", folder, path);
    return out;
}

/* As many links one after the other as the system itself follows. */
enum { MAX_LINKS = 40 };

/* What is left of the path in front of its name: "a/b" gives "a/", "b" gives "./". False: too long. */
static bool folder_of(const char *path, char folder[PATH_MAX]) {
    const char *name = me_base_name(path);
    const int n = snprintf(folder, PATH_MAX, "%.*s", (int)(name - path), name == path ? "" : path);
    if (name == path) (void)snprintf(folder, PATH_MAX, "./");
    return n >= 0 && n < PATH_MAX;
}

/* Follows symbolic links of a file that is not there to the path that a program would make it at. */
static bool follow(const char *path, char out[PATH_MAX]) {
    char target[PATH_MAX], folder[PATH_MAX];
    if (snprintf(out, PATH_MAX, "%s", path) >= PATH_MAX) return false;
    for (int i = 0; i < MAX_LINKS; i++) {
        const ssize_t n = readlink(out, target, sizeof target - 1);
        if (n < 0) return true;
        target[n] = '\0';
        if (target[0] == '/')
            folder[0] = '\0';
        else if (!folder_of(out, folder))
            return false;
        if (snprintf(out, PATH_MAX, "%s%s", folder, target) >= PATH_MAX) return false;
    }
    return false;
}

static bool same_place(const char *a, const char *b) {
    char path_a[PATH_MAX], path_b[PATH_MAX], folder_a[PATH_MAX], folder_b[PATH_MAX];
    struct stat x, y;
    return follow(a, path_a) && follow(b, path_b) &&
           strcmp(me_base_name(path_a), me_base_name(path_b)) == 0 && folder_of(path_a, folder_a) &&
           folder_of(path_b, folder_b) && stat(folder_a, &x) == 0 && stat(folder_b, &y) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool me_same_file(const char *a, const char *b) {
    struct stat x, y;
    const bool has_a = stat(a, &x) == 0, has_b = stat(b, &y) == 0;
    if (has_a && has_b) return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    return !has_a && !has_b && same_place(a, b);
}
