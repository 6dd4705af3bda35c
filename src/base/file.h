/* Files: checked writing, and what a path stands for. */
#ifndef ME_BASE_FILE_H
#define ME_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/* Writes all n bytes, however many calls that takes; false with errno set where it cannot. */
bool me_write_all(int fd, const void *bytes, size_t n);

/* Opens a regular file for reading and tells its size. E_IO with the reason, also for a folder or a device
 * (which could block or never end). Closed with fclose. */
mobiedit_status me_open_file(const char *path, FILE **out, uint64_t *size, mobiedit_error *err);

/* The bytes of a file of at most `most` bytes, a zero after them; freed with me_free. E_IO, E_FORMAT where it
 * is larger. */
mobiedit_status me_read_file(const char *path, size_t most, char **bytes, size_t *length,
                             mobiedit_error *err);

/* The first line of a small text file (such as those of /sys), without its newline; false where it cannot be
 * read or does not fit. */
bool me_read_line(const char *path, char *line, size_t line_size);

/* Whether two paths stand for one file: by device and inode, hence through links of both kinds; if neither is
 * there yet, by the folder and the name that a file would get. */
bool me_same_file(const char *a, const char *b);

/* The path from the root on. Links stay as they are, and so do dots. Freed with me_free; NULL: out of memory, or there
 * is no current folder. */
char *me_absolute_path(const char *path);

/* The part of a path after its last slash. */
const char *me_base_name(const char *path);

/* The folder of a path with its last slash, or "./", then `name`. Freed with me_free; NULL: out of memory. */
char *me_beside(const char *path, const char *name);

#endif
