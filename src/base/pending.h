/* Output files that appear whole or not at all. */
#ifndef ME_BASE_PENDING_H
#define ME_BASE_PENDING_H

#include "base/error.h"

/* Where an output file stands until it is whole: a temporary file in the same folder. */
typedef struct me_pending_file {
    char *path;      /* the final path */
    char *temporary; /* NULL when nothing is pending */
    int fd;          /* of the temporary while it is written; else -1 */
} me_pending_file;

/* Writes n bytes to a temporary file in the folder of `path` and fsyncs it; on failure nothing is left.
 * E_IO where the folder cannot be written, the disk is full, or something that is no file is at `path`. */
mobiedit_status me_pending_write(const char *path, const void *bytes, size_t n, me_pending_file *out,
                                 mobiedit_error *err);

/* The same piece by piece: open, any number of adds, then finish, which fsyncs. After a failure of add or
 * finish, and to give up, nothing is left once me_pending_discard is called. Its mode follows the umask. */
mobiedit_status me_pending_open(const char *path, me_pending_file *out, mobiedit_error *err);
/* For the owner alone, whatever the umask says. */
mobiedit_status me_pending_open_private(const char *path, me_pending_file *out, mobiedit_error *err);
mobiedit_status me_pending_add(me_pending_file *file, const void *bytes, size_t n, mobiedit_error *err);
mobiedit_status me_pending_finish(me_pending_file *file, mobiedit_error *err);

/* Nothing appears at the final path before me_pending_commit, which renames the temporary file and fsyncs the
 * folder; me_pending_discard removes it. Both free. */
mobiedit_status me_pending_commit(me_pending_file *file, mobiedit_error *err);
void me_pending_discard(me_pending_file *file);

#endif
