/* Models named by their repository on Hugging Face, found in the caches of llama.cpp and of Hugging Face's own tools.
 * Nothing is fetched. */
#ifndef CLI_HUB_H
#define CLI_HUB_H

#include "mobiedit.h"

/* The file that llama.cpp would open for "-hf name", name being USER/REPO[:QUANT], without the network: of a quant
 * type that is named, else Q4_K_M, else Q8_0, else the first; of a split model its first part. *path is freed with
 * me_free. E_ARGUMENT: not such a name. E_IO: it is not there; the message says how to get it. E_MEMORY. */
mobiedit_status hub_find(const char *name, char **path, mobiedit_error *err);

#endif
