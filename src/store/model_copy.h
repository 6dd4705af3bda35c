/* A copy of the model with some matrices replaced. */
#ifndef ME_STORE_MODEL_COPY_H
#define ME_STORE_MODEL_COPY_H

#include "base/pending.h"
#include "store/fold.h"

/* Writes a copy of the model with the folded matrices in place of its own. All metadata
 * stay; mobiedit.version and mobiedit.merged are added, the latter with `note` (edits, one a
 * line) after what an earlier merge left there. Everything else is copied byte by byte from
 * the mapped file, a tensor at a time. Of a split model one whole file is written. */
mobiedit_status me_model_copy_write(const me_model *model, const me_folded *folded, int n_folded,
                                    const char *note, const char *path, me_pending_file *out,
                                    mobiedit_error *err);

#endif
