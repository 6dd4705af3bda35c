/* Whether libllama runs a model without ending the process. */
#ifndef ME_RUNTIME_TRIAL_H
#define ME_RUNTIME_TRIAL_H

#include "model/model.h"

/* Loads the model and runs a few tokens in a child process. libllama ends its process at hyperparameters that do not
 * fit together, and of architectures that are not ours they are not checked (model/sites.h). E_UNSUPPORTED: it does.
 * A model that it refuses, or that is more than the memory holds, is not told here. */
mobiedit_status me_trial_run(const me_model *model, mobiedit_error *err);

#endif
