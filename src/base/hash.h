/* Telling data apart: against mistakes, not against forgery. */
#ifndef ME_BASE_HASH_H
#define ME_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a of 64 bits. */
uint64_t me_hash(const void *bytes, size_t n);

#endif
