/* An engine in a process of its own. */
#ifndef ME_GGML_REMOTE_H
#define ME_GGML_REMOTE_H

#include "engine/engine.h"

/* The ggml engine on RPC servers. ggml's client ends its process where a server cannot be reached or is lost.
 * So it runs in a child, which is started with the first operation, and after a failure with the next one;
 * that one process ends is an error of the operation (E_RUNTIME), and makes prefixes from before useless
 * (E_RUNTIME). The child is forked, and never returns to the caller's code: it has the caller's memory as it
 * was, shares the mapped model, and runs one thread of its own beside ggml's. */
mobiedit_status me_remote_open(const me_model *model, const me_ggml_options *options, me_engine **out,
                               mobiedit_error *err);

#endif
