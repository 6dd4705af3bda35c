/* Where tests find real models: the folder $MOBIEDIT_MODELS, else $MOBIEDIT_CACHE/models, else
 * ~/.cache/mobiedit/models. A test without its model says so and returns MODEL_MISSING, which ctest reports
 * as skipped. */
#ifndef ME_TESTS_MODELS_H
#define ME_TESTS_MODELS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MODEL_PATH_MAX = 4096, MODEL_MISSING = 77 };

/* The path of the model file `name` into path; false where it cannot be read. */
static inline bool find_model(const char *name, char path[MODEL_PATH_MAX]) {
    const char *models = getenv("MOBIEDIT_MODELS"), *cache = getenv("MOBIEDIT_CACHE"), *home = getenv("HOME");
    int n = models  ? snprintf(path, MODEL_PATH_MAX, "%s/%s", models, name)
            : cache ? snprintf(path, MODEL_PATH_MAX, "%s/models/%s", cache, name)
                    : snprintf(path, MODEL_PATH_MAX, "%s/.cache/mobiedit/models/%s", home ? home : "", name);
    FILE *file = n > 0 && n < MODEL_PATH_MAX ? fopen(path, "rb") : NULL;
    if (!file) return false;
    (void)fclose(file);
    return true;
}

#endif
