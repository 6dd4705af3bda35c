/* Measures a model's calibration (model/calibration.h), a prompt at a time. */
#ifndef ME_EDIT_MEASURE_H
#define ME_EDIT_MEASURE_H

#include "edit/edit.h"
#include "model/calibration.h"

/* One of this build's prompts and background sentences, with nothing
 * measured yet; see me_calibration_open. */
mobiedit_status me_calibration_begin(const me_model *model, int layer, me_calibration **out,
                                     mobiedit_error *err);

/* Measures its block of dimensions of the next of the built-in prompts, in all its wordings; *evaluations
 * grows by their number. n_done grows by one; at n_total there is nothing left to do. */
mobiedit_status me_calibration_measure(me_session *session, me_calibration *calibration, size_t *evaluations,
                                       mobiedit_error *err);

/* Fills those of the keys that are missing. */
mobiedit_status me_calibration_measure_keys(me_session *session, me_calibration *calibration,
                                            mobiedit_error *err);

#endif
