/* Ollama's Modelfile for a merged model. */
#ifndef ME_STORE_MODELFILE_H
#define ME_STORE_MODELFILE_H

#include "model/vocab.h"

/* The text of a Modelfile that will stand at `path`, for the model file at `model`: by its name if both stand in one
 * folder, else by its absolute path. The tokens that end a turn and a text become stop parameters. There is no
 * TEMPLATE: Ollama takes the chat template from the model file, and would prefer one that is written here, in its own
 * language. E_ARGUMENT where Ollama could not read the model's path back. *out is freed with me_free. */
mobiedit_status me_modelfile_text(const me_vocab *vocab, const char *model, const char *path, char **out,
                                  mobiedit_error *err);

#endif
