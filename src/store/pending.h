/* Output files that appear whole or not at all: see me_pending_file in adapter.h. */
#ifndef ME_STORE_PENDING_H
#define ME_STORE_PENDING_H

#include "store/adapter.h"

/* Writes n bytes to a temporary file in the folder of `path` and fsyncs it; on failure nothing is left.
 * E_IO where the folder cannot be written, the disk is full, or something that is no file is at `path`. */
mobiedit_status me_pending_write(const char *path, const void *bytes, size_t n, me_pending_file *out,
                                 mobiedit_error *err);

#endif
