/* The mobiedit command: finds the subcommand and runs it. */
#define _POSIX_C_SOURCE 200809L
#include "files.h"
#include "json.h"
#include "options.h"
#include "output.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

const command *const commands[] = {&command_edit,    &command_ask,
                                   &command_eval,    &command_import,
                                   &command_list,    &command_merge,
                                   &command_show,    &command_undo,
                                   &command_redo,    &command_verify,
                                   &command_export,  &command_calibrate,
                                   &command_devices, &command_inspect,
#ifdef MOBIEDIT_PUSH
                                   &command_push,
#endif
#ifdef MOBIEDIT_SERVE
                                   &command_serve,
#endif
                                   &command_help,    NULL};

const command *command_find(const char *name) {
    for (const command *const *c = commands; *c; c++)
        if (strcmp(name, (*c)->name) == 0) return *c;
    return strcmp(name, command_completion.name) == 0 ? &command_completion : NULL;
}

int command_start(const command *which, int argc, const char **argv) {
    options o;
    int status;
    if (options_read(which, argc, argv, &o, &status)) {
        status = files_check(which, &o);
        if (status == STATUS_DONE) status = check_output();
        if (status == STATUS_DONE) status = which->run(&o);
    }
    options_free(&o);
    return status;
}

static int run(int argc, const char **argv) {
    const char *help[] = {command_help.name, NULL};
    if (argc < 2) return complain(STATUS_USAGE, "no command is given (see mobiedit --help)");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return command_start(&command_help, 1, help);
    if (strcmp(argv[1], "--version") == 0) {
        print_line("mobiedit %s (libllama %s, ggml %s)", mobiedit_version(), mobiedit_llama_version(),
                   mobiedit_ggml_version());
        return STATUS_DONE;
    }
    const command *which = command_find(argv[1]);
    if (which) return command_start(which, argc - 1, argv + 1);
    return complain(STATUS_USAGE, "there is no command \"%s\" (see mobiedit --help)", argv[1]);
}

/* Also of a command line that is wrong. */
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

/* libllama's threads wait for each other in a loop, which takes the processors from the threads that they wait for
 * where other programs use them too. OpenMP reads how to wait before main: the program starts anew with it set.
 * Where it cannot, it goes on as it is. Started by a dynamic linker that was given it as an argument, it would start
 * that one: then nothing has loaded a linker (AT_BASE). */
static void wait_without_spinning(char **argv) {
    static const char name[] = "OMP_WAIT_POLICY";
    if (getauxval(AT_BASE) == 0 || getenv(name) || setenv(name, "passive", 1) != 0) return;
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    wait_without_spinning(argv);
    /* The solver's dense products are small, and between them OpenBLAS's threads spin on the processors that
     * the engine's threads need: a second one doubles the time of an edit on a busy machine. */
    openblas_set_num_threads(1);
    guard_streams();
    catch_interrupts();
    const bool as_json = wants_json(argc, argv); /* before a command takes its arguments */
    const int status = run(argc, (const char **)argv);
    if (as_json && status != STATUS_DONE) json_print_failure(status);
    return finish_output(status);
}
