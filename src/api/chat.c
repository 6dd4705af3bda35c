/* mobiedit_chat_*: a model that stays loaded in libllama while adapters come and go. */
#include "api/chat.h"

#include "api/ask.h"
#include "base/memory.h"
#include "runtime/trial.h"
#include "store/adapter.h"

mobiedit_status mobiedit_chat_open(const mobiedit_model *model, const mobiedit_chat_options *options,
                                   mobiedit_chat **chat, mobiedit_error *err) {
    const mobiedit_chat_options defaults = {0};
    if (!options) options = &defaults;
    const me_runtime_options runtime = {.threads =
                                            options->threads ? options->threads : model->options.threads,
                                        .n_context = options->n_context,
                                        .n_sequences = ME_CHAT_SEQUENCES};
    /* Whether another thread has tried it is not asked. */
    if (model->model->why_foreign) ME_TRY(me_trial_run(model->model, err));
    mobiedit_chat *opened = me_calloc(1, sizeof *opened);
    if (!opened) return me_fail_memory(err, "a chat");
    opened->model = model->model;
    const mobiedit_status status = me_runtime_open(model->model->path, &runtime, &opened->runtime, err);
    if (status == MOBIEDIT_OK)
        *chat = opened;
    else
        mobiedit_chat_close(opened);
    return me_outcome(status, err);
}

void mobiedit_chat_close(mobiedit_chat *chat) {
    if (!chat) return;
    me_runtime_close(chat->runtime);
    me_free(chat);
}

mobiedit_status mobiedit_chat_attach(mobiedit_chat *chat, const char *adapter, mobiedit_error *err) {
    if (adapter) ME_TRY(me_adapter_check(chat->model, adapter, err));
    return me_outcome(me_runtime_set_adapter(chat->runtime, adapter, err), err);
}

mobiedit_status mobiedit_chat_ask(mobiedit_chat *chat, const char *prompt,
                                  const mobiedit_ask_options *options, char **text, mobiedit_error *err) {
    const mobiedit_ask_options defaults = {0};
    if (!options) options = &defaults;
    if (options->adapter)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "a chat has its adapter attached: none is named in a question");
    ME_TRY(me_ask_check(prompt, options, err));
    return me_outcome(me_ask_runtime(chat->runtime, prompt, options, text, err), err);
}
