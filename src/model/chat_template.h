/* A model's chat template, rendered by llama.cpp's own Jinja engine with the variables that llama-server
 * gives it. */
#ifndef ME_MODEL_CHAT_TEMPLATE_H
#define ME_MODEL_CHAT_TEMPLATE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
} me_chat_message;

typedef struct {
    const char *source;              /* the template; not trusted */
    const char *bos, *eos;           /* the tokens' texts; "" for one that the model lacks */
    bool add_bos, add_eos;           /* the tokenizer adds them, so they are taken off the ends of the text */
    const me_chat_message *messages; /* [n_messages] UTF-8 */
    size_t n_messages;
} me_template_input;

/* The messages in the template's form, with the assistant's turn opened. *out is freed with me_free.
 * A template is a program: it may loop, recurse, grow without end, or meet a fault of the engine. So it runs
 * in a forked child whose time and memory are limited, and no harm reaches the caller; as with any fork, that
 * costs about a millisecond. E_UNSUPPORTED: the template is damaged, goes beyond the limits, refuses these
 * messages, or its text is longer than 1 MiB; the message says which. */
mobiedit_status me_template_render(const me_template_input *input, char **out, mobiedit_error *err);

#endif
