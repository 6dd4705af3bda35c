/* The probe basis: directions of delta that later layers read, known without any calibration.
 *
 * What a delta at position p changes at a later position passes through attention to p: head h of a later
 * layer adds a_h W_O,h W_V,h diag(norm) delta / rms, a_h its attention weight on p, rms that of the residual
 * there. The basis are the principal right-singular directions of these maps stacked over heads and layers,
 * with more weight on what moves the final hidden vector from the token that wins now to the target's.
 * Transposes of single weight matrices are used, never a backward pass.
 *
 * Where the layer has been calibrated, half of what decides is what moved other prompts' final hidden
 * vectors, and what these answered to each direction comes with it. */
#ifndef ME_EDIT_BASIS_H
#define ME_EDIT_BASIS_H

#include "edit/problem.h"
#include "model/calibration.h"

typedef struct {
    int n;
    float *directions; /* [n][d], orthonormal rows, strongest first */
    float *guesses;    /* [ME_KINDS][n][d], as me_solver_input has it; NULL without calibration */
} me_basis;

/* n <= d directions. calibration: NULL where there is none; one of another layer, or one that is not
 * complete, is not used. Freed with me_basis_free. */
mobiedit_status me_basis_find(const me_problem *problem, const me_calibration *calibration, int n,
                              me_basis *out, mobiedit_error *err);

/* n random directions instead, with the guesses that calibration gives for them: what the choice of
 * directions is measured against. */
mobiedit_status me_basis_draw(const me_problem *problem, const me_calibration *calibration, int n,
                              uint64_t seed, me_basis *out, mobiedit_error *err);
void me_basis_free(me_basis *basis);

#endif
