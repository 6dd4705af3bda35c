/* Which layer of a model edits are best made at: trial edits at each of
 * a few layers, all at the same cost. */
#ifndef ME_EDIT_TRIALS_H
#define ME_EDIT_TRIALS_H

#include "edit/edit.h"
#include "model/calibration.h"

/* None made yet. A model of few layers has fewer candidates, one at least. */
void me_layer_trials_begin(const me_model *model, me_layer_trials *out);

/* Makes the next trial, of which there must be one left; *evaluations grows. The session must not be
 * calibrated: that would favour the layer it was calibrated at. */
mobiedit_status me_layer_trials_step(me_session *session, me_layer_trials *trials, size_t *evaluations,
                                     mobiedit_error *err);

/* The layer with the least mean loss, if that is less than the usual one's by twice the standard error of the
 * facts' differences; else the usual one. All trials must be made. */
int me_layer_trials_choose(const me_layer_trials *trials);

/* The mean over the facts so far; NaN before the first. */
double me_layer_trials_loss(const me_layer_trials *trials, int candidate);

#endif
