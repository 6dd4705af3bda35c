/* Typed, checked access to the key-value pairs of an untrusted GGUF file, and to its tensors. Value types are
 * as strict as libllama's, so a file that is accepted here is not refused there. */
#ifndef ME_MODEL_METADATA_H
#define ME_MODEL_METADATA_H

#include "base/error.h"

#include <gguf.h>
#include <stdio.h>

typedef struct me_headers me_headers; /* headers.h */

typedef struct {
    const char *path; /* for messages */
    const struct gguf_context *gguf;
    const me_headers *headers; /* of the tensors of all files of the model */
    const char *arch;          /* first part of the names of hyperparameters */
} me_metadata;

/* The end of a long path, so that the reason after it fits into a message. */
const char *me_shown_path(const char *path);

/* Id of the hyperparameter `<arch>.<name>`, or -1. */
int64_t me_meta_find(const me_metadata *meta, const char *name);

/* The hyperparameter as an integer in [min, max]. A missing one leaves *out, its default, as it is. */
mobiedit_status me_meta_int(const me_metadata *meta, const char *name, int min, int max, int *out,
                            mobiedit_error *err);

/* The same where the file must have it. */
mobiedit_status me_meta_need_int(const me_metadata *meta, const char *name, int min, int max, int *out,
                                 mobiedit_error *err);

/* The same where it may be an array with a value for each of n_layer layers; they must be equal. */
mobiedit_status me_meta_layer_int(const me_metadata *meta, const char *name, int n_layer, int min, int max,
                                  int *out, mobiedit_error *err);

/* A finite float32. *found tells whether it was there; found may be NULL. */
mobiedit_status me_meta_float(const me_metadata *meta, const char *name, float *out, bool *found,
                              mobiedit_error *err);

/* The string under the full key `key`, valid as long as the GGUF context. */
mobiedit_status me_meta_string(const me_metadata *meta, const char *key, const char **out,
                               mobiedit_error *err);

/* The string under `key` of any GGUF context; NULL where there is none, or something else (the gguf reader
 * ends the process where that is asked for). */
const char *me_gguf_string(const struct gguf_context *gguf, const char *key);

/* Whether there is a string under `key`, and it is this one. */
bool me_gguf_says(const struct gguf_context *gguf, const char *key, const char *value);

/* Reads tensor `id`, of `size` bytes, from the file that the context was read from; false if they are not all
 * there. */
bool me_gguf_read(FILE *file, const struct gguf_context *gguf, int64_t id, void *out, size_t size);

/* Any scalar number or bool as a double; NaN for strings and arrays. */
double me_meta_number(const me_metadata *meta, int64_t id);

#endif
