/* The attention basis: directions of delta that later layers read, without any calibration.
 *
 * What a delta at position p changes at a later position passes through attention to p: head h of a later
 * layer adds a_h W_O,h W_V,h diag(norm) delta / rms, a_h its attention weight on p, rms that of the residual
 * there. The basis are the principal right-singular directions of these maps stacked over heads and layers,
 * with more weight on what moves the final hidden vector from the token that wins now to the target's.
 * Transposes of single weight matrices are used, never a backward pass. */
#ifndef ME_EDIT_BASIS_H
#define ME_EDIT_BASIS_H

#include "edit/problem.h"

/* basis [n][d], orthonormal rows, strongest first; n <= d. */
mobiedit_status me_basis_attention(const me_problem *problem, int n, float *basis, mobiedit_error *err);

#endif
