/* The calibration that a model's edits use. */
#ifndef ME_API_CALIBRATE_H
#define ME_API_CALIBRATE_H

#include "api/handle.h"

/* Reads the calibration that the options name, or the one beside the model, into the handle; no file beside
 * it, and "none", is no error. E_IO, E_FORMAT, E_UNSUPPORTED, E_MISMATCH as me_calibration_file_read says. */
mobiedit_status me_calibration_find(mobiedit_model *model, mobiedit_error *err);

/* Of the one that was found. */
mobiedit_calibration_state me_calibration_state(const mobiedit_model *model);

#endif
