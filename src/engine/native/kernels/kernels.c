/* Picks the table of kernels for this processor. */
#include "engine/native/kernels/tables.h"

#include <stdio.h>
#include <stdlib.h>
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

/* The names of all tables that this processor can run, with commas between. */
static void list_names(char *out, size_t size) {
    size_t used = 0;
    for (const me_kernels *const *table = me_kernels_all; *table && used < size; table++)
        if ((*table)->supported())
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", (*table)->name);
}

mobiedit_status me_kernels_choose(const char *name, const me_kernels **out, mobiedit_error *err) {
    const char *wanted = name ? name : getenv("MOBIEDIT_KERNELS");
    if (wanted && !*wanted) wanted = NULL; /* an empty variable is one that is not set */
    const me_kernels *kernels = me_kernels_pick(wanted);
    if (!kernels) {
        char names[128];
        list_names(names, sizeof names);
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "%sthis processor has no kernels \"%.40s\"; it has %s",
                       name ? "" : "MOBIEDIT_KERNELS: ", wanted ? wanted : "", names);
    }
    *out = kernels;
    return MOBIEDIT_OK;
}
