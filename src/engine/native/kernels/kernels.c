#include "engine/native/kernels/tables.h"

#include <string.h>

const me_kernels *const me_kernels_all[] = {
    &me_kernels_scalar,
#ifdef ME_KERNELS_X86
    &me_kernels_avx2,
    &me_kernels_avxvnni,
    &me_kernels_avx512vnni,
#endif
#ifdef ME_KERNELS_NEON
    &me_kernels_neon,
    &me_kernels_neon_dotprod,
    &me_kernels_neon_i8mm,
#endif
    NULL,
};

const me_kernels *me_kernels_pick(const char *name) {
    const me_kernels *best = NULL;
    for (const me_kernels *const *table = me_kernels_all; *table; table++)
        if ((!name || strcmp((*table)->name, name) == 0) && (*table)->supported()) best = *table;
    return best;
}
