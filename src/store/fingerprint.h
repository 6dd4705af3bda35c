/* What a model is, whatever its file is called. */
#ifndef ME_STORE_FINGERPRINT_H
#define ME_STORE_FINGERPRINT_H

#include "model/model.h"

enum { ME_FINGERPRINT_SIZE = 33 }; /* 32 hexadecimal digits and a zero */

/* XXH3-128 over names, types, shapes and all bytes of the model's tensors, so that a split model has that of the
 * whole one. Every byte is read, since two models may differ in one tensor only (an edit merged into a copy);
 * nothing is cached, since a file can change behind its name and time stamps. Against mistakes, not against
 * forgery. */
mobiedit_status me_fingerprint(const me_model *model, char out[ME_FINGERPRINT_SIZE], mobiedit_error *err);

#endif
