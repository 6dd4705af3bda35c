/* mobiedit help */
#include "options.h"
#include "output.h"

static int help_all(void) {
    print_line("mobiedit " MOBIEDIT_VERSION
               ": change one fact in a quantized language model, with forward passes only");
    print_newline();
    print_line("Usage:");
    for (const command *const *c = commands; *c; c++) {
        print_line("  mobiedit %s %s", (*c)->name, (*c)->usage);
        print_line("      %s", (*c)->summary);
    }
    print_line("  mobiedit --version");
    print_line("MODEL.gguf may be -hf USER/REPO[:QUANT]: a model that llama.cpp or hf has downloaded.");
    print_line("Run COMMAND --help for its options.");
    print_newline();
    print_line("Exit status:");
#define PRINT_STATUS(name, number, word, text) print_line("  %3d  %s", number, text);
    EXIT_STATUSES(PRINT_STATUS)
#undef PRINT_STATUS
    print_line("Every error is one line on stderr, and a command that fails leaves no file behind.");
    return STATUS_DONE;
}

static int run(const options *o) {
    const char *name = o->positional[0], *ask[] = {name, "--help", NULL};
    if (!name) return help_all();
    const command *which = command_find(name);
    if (which) return command_start(which, 2, ask);
    return complain(STATUS_USAGE, "there is no command \"%s\" (see mobiedit --help)", name);
}

const command command_help = {.name = "help",
                              .usage = "[COMMAND]",
                              .summary = "lists the commands, or shows the options of one",
                              .arguments = {{.name = "COMMAND"}},
                              .may_lack_arguments = true,
                              .run = run};
