/* A made-up model in the scratch folder, opened as whoever links the library opens it. */
#ifndef TESTS_TINY_HANDLE_H
#define TESTS_TINY_HANDLE_H

#include "mobiedit.h"
#include "scratch.h"
#include "tiny_model.h"

/* For a group's set_up: makes the scratch folder and the model. Not 0 where that fails. */
static inline int tiny_handle_open(void **state, int n_layer, mobiedit_model **model) {
    if (scratch_open(state) != 0) return -1;
    const tiny_model_options options = {.n_layer = n_layer};
    const char *path = scratch_path("model.gguf");
    if (!tiny_model_write(path, "llama", &options)) return -1;
    return mobiedit_open(path, NULL, model, NULL) == MOBIEDIT_OK ? 0 : -1;
}

/* For its tear_down. */
static inline int tiny_handle_close(void **state, mobiedit_model *model) {
    mobiedit_close(model);
    return scratch_close(state);
}

#endif
