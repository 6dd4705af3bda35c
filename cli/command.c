/* What the commands share: one-line errors, interruption, exit statuses, flushed output. */
#define _XOPEN_SOURCE 700
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int complain(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)fputs("mobiedit: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return status;
}

static volatile sig_atomic_t caught_signal;

static void on_signal(int number) {
    caught_signal = number;
}

void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    /* A reader of our output that goes away, and a file grown past a limit, are errors that we report. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}

bool interrupted(void) {
    return caught_signal != 0;
}

static int exit_status(mobiedit_status status) {
    switch (status) {
    case MOBIEDIT_OK:
        return STATUS_DONE;
    case MOBIEDIT_E_NOT_SOLVED:
    case MOBIEDIT_E_NOT_VERIFIED:
        return STATUS_NOT_EDITED;
    case MOBIEDIT_E_ARGUMENT:
        return STATUS_USAGE;
    case MOBIEDIT_E_IO:
    case MOBIEDIT_E_FORMAT:
        return STATUS_FILE;
    case MOBIEDIT_E_UNSUPPORTED:
        return STATUS_UNSUPPORTED;
    case MOBIEDIT_E_MISMATCH:
        return STATUS_MISMATCH;
    case MOBIEDIT_E_MEMORY:
        return STATUS_MEMORY;
    case MOBIEDIT_E_RUNTIME:
        return STATUS_RUNTIME;
    case MOBIEDIT_E_CANCELLED:
        /* by a signal, or because the output could not be printed */
        return interrupted() ? 128 + caught_signal : STATUS_FILE;
    }
    return STATUS_RUNTIME;
}

int complain_of(const mobiedit_error *err) {
    const int status = exit_status(err->status);
    if (err->status != MOBIEDIT_E_CANCELLED) return complain(status, "%s", err->message);
    return interrupted() ? complain(status, "interrupted") : status;
}

void guard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        /* read-only, so that writing to a closed stdout still fails */
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDONLY) != fd) return;
}

int finish_output(int status) {
    const bool failed_before = ferror(stdout) != 0;
    errno = 0;
    const bool failed_now = fflush(stdout) != 0;
    if (!failed_before && !failed_now) return status;
    const int why = errno ? errno : EIO;
    const int told = complain(STATUS_FILE, "cannot write the output: %s", strerror(why));
    return status == STATUS_DONE ? told : status;
}
