/* For a module that has the model in libllama already. */
#ifndef ME_MODEL_VOCAB_INTERNAL_H
#define ME_MODEL_VOCAB_INTERNAL_H

#include "model/vocab.h"

#include <llama.h>

/* As me_vocab_open, around the vocabulary of a model that is loaded and outlives *out. */
mobiedit_status me_vocab_borrow(const struct llama_model *source, const char *model_path, me_vocab **out,
                                mobiedit_error *err);

#endif
