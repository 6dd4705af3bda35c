/* A folder of its own for a test program's files. */
#ifndef ME_TESTS_SCRATCH_H
#define ME_TESTS_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum { SCRATCH_PATH_MAX = 512 };

extern char scratch_folder[SCRATCH_PATH_MAX];

/* cmocka group set-up and tear-down. */
int scratch_open(void **state);
int scratch_close(void **state);

/* The path of the file `name` in the folder; valid until the next call. */
const char *scratch_path(const char *name);

/* Writes a file of n bytes anew; me_read_file reads it. */
bool put_bytes(const char *path, const void *bytes, size_t n);

/* Files in the folder, hidden ones too; -1 if it cannot be read. */
int files_in_scratch(void);

/* A new folder, and a new empty file, in $TMPDIR if they can be made
 * there, else in /tmp. False if in neither. */
bool temporary_folder(char path[SCRATCH_PATH_MAX]);
bool temporary_file(char path[SCRATCH_PATH_MAX]);

/* Removes a folder and all that is in it; false if that fails. */
bool remove_folder(const char *path);

/* The mode that a new file gets which is for whomever the umask says. */
static inline mode_t scratch_usual_mode(void) {
    const mode_t mask = umask(0);
    (void)umask(mask);
    return (mode_t)0666 & ~mask;
}

#endif
