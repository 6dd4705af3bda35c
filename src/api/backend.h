/* Which engine a backend's name stands for. */
#ifndef ME_API_BACKEND_H
#define ME_API_BACKEND_H

#include "engine/engine.h"
#include "model/vocab.h"

/* Refuses a backend and a profile that cannot be meant; NULL are the defaults. Opens nothing. */
mobiedit_status me_backend_check(const char *name, const char *profile, mobiedit_error *err);

/* The name without "auto" and NULL: what runs the model. As long-lived as `name`. */
const char *me_backend_name(const char *name, const me_model *model);

/* Refuses a backend that does not run the model. */
mobiedit_status me_backend_fits(const char *name, const char *profile, const me_model *model,
                                mobiedit_error *err);

/* The profile's name as a constant; NULL where there is none of that name. */
const char *me_backend_profile(const char *profile);

/* The engine for `options`, on `name` instead of its backend, in a profile's arithmetic. */
mobiedit_status me_backend_open(const char *name, const char *profile, const me_model *model,
                                const me_vocab *vocab, me_pool *pool, const mobiedit_model_options *options,
                                me_engine **out, mobiedit_error *err);

#endif
