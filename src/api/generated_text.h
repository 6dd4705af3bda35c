/* Text that a model writes itself: what it meets when it is used, as far as it can tell. */
#ifndef ME_API_GENERATED_TEXT_H
#define ME_API_GENERATED_TEXT_H

#include "model/calibration.h"
#include "runtime/runtime.h"

/* Texts that are written side by side. */
enum { ME_GENERATED_TEXT_BATCH = ME_RUNTIME_MAX_SEQUENCES };

/* The runtime that me_generated_text_add needs. */
mobiedit_status me_generated_text_runtime(const char *model_path, int threads, me_runtime **out,
                                          mobiedit_error *err);

/* Adds the next ME_GENERATED_TEXT_BATCH texts, or as many as are missing: each goes on from the first words
 * of one of the compiled-in sentences, its tokens drawn from the likeliest 64. The same numbers of texts give
 * the same texts. */
mobiedit_status me_generated_text_add(me_runtime *runtime, me_calibration *calibration, mobiedit_error *err);

#endif
