/* Where tests find real models: the folder $MOBIEDIT_MODELS, else $MOBIEDIT_CACHE/models, else
 * ~/.cache/mobiedit/models. A test without its model says so and returns MODEL_MISSING, which ctest reports
 * as skipped. */
#ifndef ME_TESTS_MODELS_H
#define ME_TESTS_MODELS_H

#include <stdbool.h>

enum { MODEL_PATH_MAX = 4096, MODEL_MISSING = 77 };

/* The path of the model file `name` into path; false if it cannot be read. The path is that
 * of a link in a folder of this process, so that a calibration or a ledger that a user
 * keeps beside the model is not found. */
bool find_model(const char *name, char path[MODEL_PATH_MAX]);

#endif
