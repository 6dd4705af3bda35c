/* The mobiedit command: finds the subcommand and runs it. */
#include "options.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>

const command *const commands[] = {&command_edit,
                                   &command_ask,
                                   &command_eval,
                                   &command_import,
                                   &command_list,
                                   &command_merge,
                                   &command_show,
                                   &command_undo,
                                   &command_redo,
                                   &command_verify,
                                   &command_export,
                                   &command_calibrate,
                                   &command_devices,
#ifdef MOBIEDIT_PUSH
                                   &command_push,
#endif
                                   NULL};

static int print_help(void) {
    (void)puts("mobiedit " MOBIEDIT_VERSION ": change one fact in a quantized language model, with forward "
               "passes only\n\nUsage:");
    for (const command *const *c = commands; *c; c++)
        (void)printf("  mobiedit %s %s\n      %s\n", (*c)->name, (*c)->usage, (*c)->summary);
    (void)puts("  mobiedit --version\n"
               "Run COMMAND --help for its options.\n\n"
               "Exit status:");
#define PRINT_STATUS(name, number, text) (void)printf("  %3d  %s\n", number, text);
    EXIT_STATUSES(PRINT_STATUS)
#undef PRINT_STATUS
    (void)puts("Every error is one line on stderr, and a command that fails leaves no file behind.");
    return STATUS_DONE;
}

static int run_command(const command *which, int argc, const char **argv) {
    options o;
    int status;
    if (options_read(which, argc, argv, &o, &status)) status = which->run(&o);
    options_free(&o);
    return status;
}

static int run(int argc, const char **argv) {
    if (argc < 2) return complain(STATUS_USAGE, "no command is given (see mobiedit --help)");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return print_help();
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("mobiedit %s\n", mobiedit_version());
        return STATUS_DONE;
    }
    for (const command *const *c = commands; *c; c++)
        if (strcmp(argv[1], (*c)->name) == 0) return run_command(*c, argc - 1, argv + 1);
    if (strcmp(argv[1], command_completion.name) == 0)
        return run_command(&command_completion, argc - 1, argv + 1);
    return complain(STATUS_USAGE, "there is no command \"%s\" (see mobiedit --help)", argv[1]);
}

int main(int argc, char **argv) {
    /* The solver's dense products are small, and between them OpenBLAS's threads spin on the processors that
     * the engine's threads need: a second one doubles the time of an edit on a busy machine. */
    openblas_set_num_threads(1);
    guard_streams();
    catch_interrupts();
    return finish_output(run(argc, (const char **)argv));
}
