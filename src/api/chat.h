/* A chat: the model in libllama for as long as it is talked with. */
#ifndef ME_API_CHAT_H
#define ME_API_CHAT_H

#include "api/handle.h"

struct mobiedit_chat {
    const me_model *model; /* the handle's */
    me_runtime *runtime;
};

/* Prompts that are put to the runtime side by side. */
enum { ME_CHAT_SEQUENCES = 8 };

#endif
