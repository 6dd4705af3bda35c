/* The table of solvers. */
#include "edit/solver.h"

#include <string.h>

static const me_solver *const solvers[] = {&me_solver_probe, &me_solver_spsa};
enum { N_SOLVERS = sizeof solvers / sizeof solvers[0] };

const me_solver *me_solver_find(const char *name) {
    for (int i = 0; i < N_SOLVERS; i++)
        if (strcmp(solvers[i]->name, name) == 0) return solvers[i];
    return NULL;
}

const me_solver *me_solver_of(const mobiedit_edit_options *options) {
    return options->solver ? me_solver_find(options->solver) : solvers[0];
}

const char *const *mobiedit_solvers(void) {
    static const char *const names[] = {ME_SOLVER_PROBE, ME_SOLVER_SPSA, NULL};
    return names;
}
