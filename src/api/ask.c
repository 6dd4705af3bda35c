/* mobiedit_ask: the model's answer to a prompt or to the turns of a chat. */
#include "api/ask.h"

#include "base/memory.h"
#include "base/utf8.h"
#include "store/adapter.h"

#include <string.h>

enum { DEFAULT_TOKENS = 64, MAX_TURNS = 10000 };

static mobiedit_status check_turns(const mobiedit_ask_options *options, mobiedit_error *err) {
    if (options->n_turns > 0 && !options->chat)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "turns before the prompt need a chat");
    if (options->n_turns > MAX_TURNS)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "%zu turns are too many (at most %d)", options->n_turns,
                       MAX_TURNS);
    for (size_t i = 0; i < options->n_turns; i++) {
        const char *role = options->turns[i].role;
        const bool known = role && (strcmp(role, "system") == 0 || strcmp(role, "user") == 0 ||
                                    strcmp(role, "assistant") == 0);
        if (!known)
            return me_fail(err, MOBIEDIT_E_ARGUMENT,
                           "turn %zu has an unknown role (system, user and assistant are known)", i + 1);
        /* An empty one means something: no system prompt in the place of the template's own. */
        if (!options->turns[i].text || !me_utf8_valid(options->turns[i].text))
            return me_fail(err, MOBIEDIT_E_ARGUMENT, "turn %zu is not UTF-8", i + 1);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status chat_tokens(me_runtime *runtime, const char *prompt,
                                   const mobiedit_ask_options *options, me_tokens *out, mobiedit_error *err) {
    const size_t n = options->n_turns;
    me_chat_message *messages = me_calloc(n + 1, sizeof *messages);
    if (!messages) return me_fail_memory(err, "the turns of a chat");
    for (size_t i = 0; i < n; i++)
        messages[i] = (me_chat_message){.role = options->turns[i].role, .content = options->turns[i].text};
    messages[n] = (me_chat_message){.role = "user", .content = prompt};
    const mobiedit_status status = me_runtime_chat_tokens(runtime, messages, n + 1, out, err);
    me_free(messages);
    return status;
}

static mobiedit_status prompt_tokens(me_runtime *runtime, const char *prompt,
                                     const mobiedit_ask_options *options, me_tokens *out,
                                     mobiedit_error *err) {
    return options->chat ? chat_tokens(runtime, prompt, options, out, err)
                         : me_tokenize(me_runtime_vocab(runtime), prompt, out, err);
}

mobiedit_status me_ask_check(const char *prompt, const mobiedit_ask_options *options, mobiedit_error *err) {
    ME_TRY(me_check_text(prompt, "the prompt", err));
    if (options->max_tokens < 0) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the number of tokens is negative");
    return check_turns(options, err);
}

mobiedit_status me_ask_runtime(me_runtime *runtime, const char *prompt, const mobiedit_ask_options *options,
                               char **text, mobiedit_error *err) {
    const me_generate_options generate = {
        .max_tokens = options->max_tokens ? options->max_tokens : DEFAULT_TOKENS,
        .on_piece = options->on_text,
        .user = options->user,
    };
    me_tokens tokens = {0};
    ME_TRY(prompt_tokens(runtime, prompt, options, &tokens, err));
    const mobiedit_status status = me_runtime_generate(runtime, tokens.ids, tokens.n, &generate, text, err);
    me_tokens_free(&tokens);
    return status;
}

mobiedit_status mobiedit_ask(mobiedit_model *model, const char *prompt, const mobiedit_ask_options *options,
                             char **text, mobiedit_error *err) {
    const mobiedit_ask_options defaults = {0};
    if (!options) options = &defaults;
    ME_TRY(me_ask_check(prompt, options, err));
    if (options->adapter) ME_TRY(me_adapter_check(model->model, options->adapter, err));
    me_runtime *runtime;
    ME_TRY(me_handle_runtime(model, &runtime, err));
    if (options->adapter) ME_TRY(me_runtime_set_adapter(runtime, options->adapter, err));
    return me_outcome(me_ask_runtime(runtime, prompt, options, text, err), err);
}
