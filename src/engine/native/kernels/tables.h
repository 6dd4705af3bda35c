/* The tables that exist, one source file each. */
#ifndef ME_KERNELS_TABLES_H
#define ME_KERNELS_TABLES_H

#include "engine/native/kernels/kernels.h"

extern const me_kernels me_kernels_scalar;
extern const me_kernels me_kernels_avx2;
extern const me_kernels me_kernels_avxvnni;
extern const me_kernels me_kernels_avx512vnni;
extern const me_kernels me_kernels_neon;
extern const me_kernels me_kernels_neon_dotprod;
extern const me_kernels me_kernels_neon_i8mm;

#endif
