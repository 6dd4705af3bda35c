/* Which engine a backend's name stands for. */
#ifndef ME_API_BACKEND_H
#define ME_API_BACKEND_H

#include "engine/engine.h"

/* Refuses a name that cannot be meant; NULL is the default's. Opens nothing. */
mobiedit_status me_backend_check(const char *name, mobiedit_error *err);

/* The engine for `options`, on `name` instead of its backend. */
mobiedit_status me_backend_open(const char *name, const me_model *model, me_pool *pool,
                                const mobiedit_model_options *options, me_engine **out, mobiedit_error *err);

#endif
