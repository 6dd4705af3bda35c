/* Small models of any architecture that libllama knows: it makes their tensors, from metadata alone, and says
 * what they are called and what shapes they have. */
#ifndef TESTS_ANY_MODEL_H
#define TESTS_ANY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANY_KEYS = 28, ANY_LAYERS = 4, ANY_LIST = 4 };

/* A key of the metadata behind "<arch>.": of n 0 a single number, else a list. */
typedef struct {
    const char *name;
    double value;
    enum { ANY_INT, ANY_FLOAT, ANY_BOOL } kind;
    int n;
    int32_t list[ANY_LIST];
} any_key;

#define ANY_NUMBER(KIND, NAME, VALUE)                                                                        \
    { .name = (NAME), .kind = (KIND), .value = (VALUE) }
#define ANY_LISTED(KIND, NAME, A, B, C, D)                                                                   \
    {                                                                                                        \
        .name = (NAME), .kind = (KIND), .n = ANY_LIST, .list = { A, B, C, D }                                \
    }

typedef struct {
    const char *arch;
    bool layer_norm;        /* the metadata have layer_norm_epsilon, not layer_norm_rms_epsilon */
    uint64_t seed;          /* of the weights: not of each are edits found */
    const char *without[6]; /* ends of names of tensors that libllama could do without, and are not written */
    any_key keys[ANY_KEYS]; /* beside what all have, or instead of it; ended by a NULL name */
} any_spec;

/* Random weights, but that the first any_spare neurons of every MLP give nothing. False where libllama refuses the metadata. */
bool any_model_write(const char *path, const any_spec *spec);

/* As many as an edit takes at most. */
int any_spare(const any_spec *spec);

#endif
