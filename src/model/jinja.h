/* The C face of the C++ engine. For chat_template.c only: it runs this where it may fail in any way. */
#ifndef ME_MODEL_JINJA_H
#define ME_MODEL_JINJA_H

#include "model/chat_template.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Takes the text of a rendered template, or the engine's reason (some lines) for a failure. */
typedef void (*me_jinja_sink)(void *user, bool rendered, const char *bytes, size_t n);

/* Calls the sink once. No exception leaves it. */
void me_jinja_render(const me_template_input *input, me_jinja_sink sink, void *user);

#ifdef __cplusplus
}
#endif

#endif
