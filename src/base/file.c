#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
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
