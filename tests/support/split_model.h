/* Splits a GGUF model into parts as gguf-split does: the metadata are in the first, and each has split.no,
 * split.count and split.tensors.count. Link me_test_support and the module base. */
#ifndef TESTS_SPLIT_MODEL_H
#define TESTS_SPLIT_MODEL_H

#include <gguf.h>
#include <stdbool.h>

/* All zero: as gguf-split does it. */
typedef struct {
    bool bare_first; /* the first part has no tensors */
    /* Called on each part, from 0, before it is written, to spoil it; may be NULL. */
    void (*change)(struct gguf_context *gguf, int part, const void *user);
    const void *user;
} split_options;

/* The model at `path` into n files PREFIX-00001-of-..., with as many tensors each; `options` may be NULL. */
bool split_model(const char *path, const char *prefix, int n, const split_options *options);

#endif
