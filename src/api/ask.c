#include "api/handle.h"
#include "store/adapter.h"

enum { DEFAULT_TOKENS = 64 };

static mobiedit_status prompt_tokens(me_runtime *runtime, const char *prompt, bool chat, me_tokens *out,
                                     mobiedit_error *err) {
    return chat ? me_runtime_chat_tokens(runtime, prompt, out, err)
                : me_tokenize(me_runtime_vocab(runtime), prompt, out, err);
}

mobiedit_status mobiedit_ask(mobiedit_model *model, const char *prompt, const mobiedit_ask_options *options,
                             char **text, mobiedit_error *err) {
    const mobiedit_ask_options defaults = {0};
    if (!options) options = &defaults;
    ME_TRY(me_check_text(prompt, "the prompt", err));
    if (options->max_tokens < 0) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the number of tokens is negative");
    if (options->adapter) ME_TRY(me_adapter_check(model->model, options->adapter, err));
    me_runtime *runtime;
    ME_TRY(me_handle_runtime(model, &runtime, err));
    if (options->adapter) ME_TRY(me_runtime_set_adapter(runtime, options->adapter, err));
    const me_generate_options generate = {
        .max_tokens = options->max_tokens ? options->max_tokens : DEFAULT_TOKENS,
        .on_piece = options->on_text,
        .user = options->user,
    };
    me_tokens tokens = {0};
    ME_TRY(prompt_tokens(runtime, prompt, options->chat, &tokens, err));
    const mobiedit_status status = me_runtime_generate(runtime, tokens.ids, tokens.n, &generate, text, err);
    me_tokens_free(&tokens);
    return status;
}
