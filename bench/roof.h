/* The roof of a kernel table: its multiply-add instruction in a loop that never leaves the registers. */
#ifndef ROOF_H
#define ROOF_H

#include "base/pool.h"

/* GOPS of the table's instruction on all threads of the pool, measured now over some milliseconds; NaN where
 * it is not known. AVX2 has no instruction that multiplies bytes and adds: its roof is vpmaddubsw with the
 * vpaddw that every product needs. */
double roof_gops(me_pool *pool, const char *table);

#endif
