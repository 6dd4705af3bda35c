/* Telling data apart: against mistakes, not against forgery. */
#ifndef ME_BASE_HASH_H
#define ME_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* FNV-1a of 64 bits. */
uint64_t me_hash(const void *bytes, size_t n);

/* The same of all bytes of a file, which is not held in memory. E_IO. */
mobiedit_status me_hash_file(const char *path, uint64_t *hash, mobiedit_error *err);

#endif
