/* mobiedit ask */
#include "options.h"

#include <stdio.h>

static const option_row TABLE[] = {
    OPTION_ROW_ADAPTER("an adapter made by edit"),
    {.name = "chat", .at = offsetof(options, chat), .help = "ask through the model's chat template"},
    {.name = "max",
     .letter = 'n',
     .kind = OPTION_INT,
     .at = offsetof(options, max_tokens),
     .least = 1,
     .most = INT32_MAX,
     .help = "most tokens of the answer (64)",
     .value = "N"},
    OPTION_ROW_END};

static bool print_piece(void *user, const char *piece) {
    (void)user;
    return fputs(piece, stdout) >= 0 && fflush(stdout) == 0 && !interrupted();
}

static int ask(const options *o) {
    const mobiedit_ask_options ask_options = {
        .adapter = o->adapter, .chat = o->chat, .max_tokens = o->max_tokens, .on_text = print_piece};
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    char *text = NULL;
    mobiedit_status status = mobiedit_open(o->positional[0], NULL, &model, &err);
    if (status == MOBIEDIT_OK) status = mobiedit_ask(model, o->positional[1], &ask_options, &text, &err);
    mobiedit_free(text);
    mobiedit_close(model);
    if (status == MOBIEDIT_OK) (void)putchar('\n');
    if (status == MOBIEDIT_OK && interrupted()) err.status = MOBIEDIT_E_CANCELLED;
    return err.status == MOBIEDIT_OK ? STATUS_DONE : complain_of(&err);
}

const command command_ask = {.name = "ask",
                             .usage = "MODEL.gguf PROMPT [--adapter FILE] [--chat] [-n N]",
                             .summary = "prints the model's greedy continuation of the prompt",
                             .arguments = {"MODEL.gguf", "PROMPT"},
                             .options = {TABLE},
                             .run = ask};
