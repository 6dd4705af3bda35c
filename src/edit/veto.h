/* The second look of an edit's neuron (neuron.h). Its gate opens by left.k alone, and where many edits share
 * a layer some gates open a little at some token of any text. What comes nearest to that, the rivals, the
 * neuron's other factor looks at again: veto [d], with veto.k = what the factor would be without it on the
 * rivals, and 0 on the edit's own keys. A linear reading that has to tell only these apart does so better
 * than one that has to tell everything, and what is like a rival is vetoed with it (a cascade of two
 * classifiers; Viola and Jones, 2001). */
#ifndef ME_EDIT_VETO_H
#define ME_EDIT_VETO_H

#include "edit/key.h"

/* veto [n_columns][d] for what me_key_solve_columns solved, each by ridge regression on the column's own keys
 * and its rivals: the samples of all others that its left [d] answers most to. left [n_columns][d] is scaled
 * as the neuron has it, constant [d] is me_key_constant's. 0 for a column without rivals. E_NOT_SOLVED where
 * a regression is singular. */
mobiedit_status me_veto_solve(const me_key_group *groups, int n_groups, int n_columns, int d,
                              const float *left, const float *constant, float *veto, mobiedit_error *err);

#endif
