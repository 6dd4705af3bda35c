/* Where an edit lives: the MLP of a layer whose neurons can be taken over, by architecture.
 *
 * What comes behind it - a norm, the gate of a shared expert, the weights of chosen experts, a scaled
 * residual - is no matter: a delta is searched, and the adapter adds it, in the same place, the output of the
 * down projection. Of experts that is each one's: whichever a token goes through give the same. */
#ifndef ME_MODEL_SITES_H
#define ME_MODEL_SITES_H

#include "model/model.h"

#include <stddef.h>

typedef struct {
    const char *name; /* general.architecture */
    me_activation activation;
    const char *refusal; /* why such a model cannot be edited; NULL: it can */
} me_site_arch;

/* NULL: not known. */
const me_site_arch *me_site_arch_find(const char *name);
const me_site_arch *me_site_archs(size_t *n);

/* Whether the layer's MLP is a site. */
bool me_site_is_there(const me_model *model, int layer);

/* The layer next to `layer` that is one, and not the last; `layer` itself where there is none. */
int me_site_near(const me_model *model, int layer);

#endif
