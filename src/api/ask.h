/* What mobiedit_ask and the questions of a chat have in common. */
#ifndef ME_API_ASK_H
#define ME_API_ASK_H

#include "api/handle.h"

/* Refuses a prompt and turns that cannot be asked, before anything is loaded; options->adapter is not looked at. */
mobiedit_status me_ask_check(const char *prompt, const mobiedit_ask_options *options, mobiedit_error *err);

/* The runtime's answer, as it is attached, to what me_ask_check took. */
mobiedit_status me_ask_runtime(me_runtime *runtime, const char *prompt, const mobiedit_ask_options *options,
                               char **text, mobiedit_error *err);

#endif
