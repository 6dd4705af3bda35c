/* mobiedit ask */
#define _POSIX_C_SOURCE 200809L
#include "options.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const option_row TABLE[] = {
    OPTION_ROW_ADAPTER("an adapter made by edit"),
    {.name = "chat", .at = offsetof(options, chat), .help = "ask through the model's chat template"},
    {.name = "system",
     .kind = OPTION_TEXT,
     .at = offsetof(options, system),
     .help = "chat: the system prompt, instead of the template's own",
     .value = "TEXT"},
    {.name = "turn",
     .kind = OPTION_TEXTS,
     .at = offsetof(options, turns),
     .help = "chat: what was said before, by you and the model in turn",
     .value = "TEXT"},
    {.name = "max",
     .letter = 'n',
     .kind = OPTION_INT,
     .at = offsetof(options, max_tokens),
     .least = 1,
     .most = INT32_MAX,
     .help = "the most tokens of the answer (64)",
     .value = "N"},
    OPTION_ROW_END};

/* A program gets the model's very words; a terminal none that could command it. */
static bool print_piece(void *user, const char *piece) {
    const bool *to_terminal = user;
    if (*to_terminal)
        output_put(stdout, OUTPUT_TEXT, piece);
    else
        (void)fputs(piece, stdout);
    return output_arrived() && !interrupted();
}

/* The system prompt and what was said before; NULL: out of memory. */
static mobiedit_turn *make_turns(const options *o, size_t *n) {
    mobiedit_turn *turns = calloc(o->turns.n + 1, sizeof *turns);
    *n = 0;
    if (turns && o->system) turns[(*n)++] = (mobiedit_turn){.role = "system", .text = o->system};
    for (size_t i = 0; turns && i < o->turns.n; i++)
        turns[(*n)++] = (mobiedit_turn){.role = i % 2 == 0 ? "user" : "assistant", .text = o->turns.items[i]};
    return turns;
}

static int print_answer(const options *o, const mobiedit_turn *turns, size_t n_turns) {
    bool to_terminal = isatty(STDOUT_FILENO);
    const mobiedit_ask_options ask_options = {.adapter = o->adapter,
                                              .chat = o->chat,
                                              .max_tokens = o->max_tokens,
                                              .on_text = print_piece,
                                              .user = &to_terminal,
                                              .turns = turns,
                                              .n_turns = n_turns};
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    char *text = NULL;
    mobiedit_status status = mobiedit_open(o->positional[0], NULL, &model, &err);
    if (status == MOBIEDIT_OK) status = mobiedit_ask(model, o->positional[1], &ask_options, &text, &err);
    mobiedit_free(text);
    mobiedit_close(model);
    if (status == MOBIEDIT_OK) print_newline();
    if (status == MOBIEDIT_OK && interrupted()) err.status = MOBIEDIT_E_CANCELLED;
    return err.status == MOBIEDIT_OK ? STATUS_DONE : complain_of(&err);
}

static int ask(const options *o) {
    size_t n_turns = 0;
    if ((o->system || o->turns.n > 0) && !o->chat)
        return complain(STATUS_USAGE, "--system and --turn are for --chat");
    if (o->turns.n % 2 != 0)
        return complain(STATUS_USAGE, "--turn: %zu turns, and the last is not the model's", o->turns.n);
    mobiedit_turn *turns = make_turns(o, &n_turns);
    if (!turns) return complain(STATUS_MEMORY, "out of memory for the turns");
    const int status = print_answer(o, turns, n_turns);
    free(turns);
    return status;
}

const command command_ask = {
    .name = "ask",
    .usage = "MODEL.gguf PROMPT [--adapter FILE] [--chat [--system TEXT] [--turn TEXT]...] [-n N]",
    .summary = "prints the model's greedy continuation of the prompt",
    .arguments = {{"MODEL.gguf", FILE_MODEL}, {"PROMPT", FILE_NONE}},
    .options = {TABLE},
    .run = ask};
