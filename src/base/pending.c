/* Output files under a temporary name beside their own, synced and renamed at the end. */
#define _GNU_SOURCE
#include "base/pending.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static mobiedit_status check_place(const char *path, mobiedit_error *err) {
    struct stat info;
    if (*me_base_name(path) == '\0')
        return me_fail(err, MOBIEDIT_E_IO, "cannot write %s: not the name of a file", path);
    if (stat(path, &info) != 0) return MOBIEDIT_OK;
    if (S_ISDIR(info.st_mode)) return me_fail(err, MOBIEDIT_E_IO, "cannot write %s: it is a folder", path);
    if (!S_ISREG(info.st_mode))
        return me_fail(err, MOBIEDIT_E_IO, "cannot write %s: it is not a regular file", path);
    return MOBIEDIT_OK;
}

static void forget(me_pending_file *file) {
    me_free(file->path);
    me_free(file->temporary);
    *file = (me_pending_file){0};
}

static mobiedit_status fail_writing(const me_pending_file *file, int error, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_IO, "cannot write %s: %s", file->path, strerror(error));
}

/* Fills in the six X at the end of a name, as mkostemp does; that takes no mode. */
static bool choose_name(char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[6];
    char *end = name + strlen(name) - sizeof bytes;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        end[i] = letters[bytes[i] % (sizeof letters - 1)];
    return true;
}

/* A new file; the kernel takes the umask and the folder's defaults from the mode. -1 with errno set. */
static int make_file(char *name, mode_t mode) {
    enum { TRIES = 100 };
    int fd = -1;
    for (int i = 0; i < TRIES && fd < 0; i++) {
        if (!choose_name(name)) return -1;
        fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST) return -1;
    }
    return fd;
}

static mobiedit_status open_with(const char *path, mode_t mode, me_pending_file *out, mobiedit_error *err) {
    ME_TRY(check_place(path, err));
    me_pending_file file = {
        .path = me_strdup(path), .temporary = me_beside(path, ".mobiedit-XXXXXX"), .fd = -1};
    if (!file.path || !file.temporary) {
        forget(&file);
        return me_fail_memory(err, "the name of the output");
    }
    file.fd = make_file(file.temporary, mode);
    if (file.fd < 0) {
        const mobiedit_status status = fail_writing(&file, errno, err);
        forget(&file);
        return status;
    }
    *out = file;
    return MOBIEDIT_OK;
}

mobiedit_status me_pending_open(const char *path, me_pending_file *out, mobiedit_error *err) {
    return open_with(path, S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH, out, err);
}

mobiedit_status me_pending_open_private(const char *path, me_pending_file *out, mobiedit_error *err) {
    return open_with(path, S_IRUSR | S_IWUSR, out, err);
}

mobiedit_status me_pending_add(me_pending_file *file, const void *bytes, size_t n, mobiedit_error *err) {
    return me_write_all(file->fd, bytes, n) ? MOBIEDIT_OK : fail_writing(file, errno, err);
}

/* Closes even after a failure; the first error counts. */
mobiedit_status me_pending_finish(me_pending_file *file, mobiedit_error *err) {
    int error = fsync(file->fd) == 0 ? 0 : errno;
    if (close(file->fd) != 0 && !error) error = errno;
    file->fd = -1;
    return error ? fail_writing(file, error, err) : MOBIEDIT_OK;
}

mobiedit_status me_pending_write(const char *path, const void *bytes, size_t n, me_pending_file *out,
                                 mobiedit_error *err) {
    me_pending_file file = {0};
    ME_TRY(me_pending_open(path, &file, err));
    mobiedit_status status = me_pending_add(&file, bytes, n, err);
    if (status == MOBIEDIT_OK) status = me_pending_finish(&file, err);
    if (status != MOBIEDIT_OK) {
        me_pending_discard(&file);
        return status;
    }
    *out = file;
    return MOBIEDIT_OK;
}

/* Makes a rename in the folder of `path` last through a power failure. */
static int sync_folder(const char *path) {
    char *folder = me_beside(path, "");
    if (!folder) return ENOMEM;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    me_free(folder);
    if (fd < 0) return errno;
    int error = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    /* File systems without such a flush say EINVAL. */
    return error == EINVAL ? 0 : error;
}

mobiedit_status me_pending_commit(me_pending_file *file, mobiedit_error *err) {
    mobiedit_status status = check_place(file->path, err);
    if (status == MOBIEDIT_OK && rename(file->temporary, file->path) != 0)
        status = me_fail(err, MOBIEDIT_E_IO, "cannot write %s: %s", file->path, strerror(errno));
    if (status != MOBIEDIT_OK) {
        me_pending_discard(file);
        return status;
    }
    int error = sync_folder(file->path);
    if (error)
        status = me_fail(err, MOBIEDIT_E_IO, "%s is written, but its folder cannot be flushed: %s",
                         file->path, strerror(error));
    forget(file);
    return status;
}

void me_pending_discard(me_pending_file *file) {
    if (file->temporary && file->fd >= 0) (void)close(file->fd);
    if (file->temporary) (void)unlink(file->temporary);
    forget(file);
}
