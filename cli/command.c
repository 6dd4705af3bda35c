/* What the commands share: one-line errors, interruption, exit statuses, flushed output. */
#define _GNU_SOURCE
#include "command.h"

#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    bool known;
    const char *name; /* of the kind */
    char message[MOBIEDIT_ERROR_MAX];
} failure; /* the first that was told of */

static const char *status_name(int status) {
    switch (status) {
#define STATUS_CASE(name, number, word, text)                                                                \
    case (number):                                                                                           \
        return (word);
        EXIT_STATUSES(STATUS_CASE)
#undef STATUS_CASE
    default:
        return "unknown";
    }
}

static int tell(const char *name, int status, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    if (!failure.known) {
        failure.known = true;
        failure.name = name;
        (void)vsnprintf(failure.message, sizeof failure.message, format, again);
    }
    va_end(again);
    (void)fputs("mobiedit: ", stderr);
    output_part(stderr, format, args);
    (void)fputc('\n', stderr);
    return status;
}

int complain(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)tell(status_name(status), status, format, args);
    va_end(args);
    return status;
}

/* The same with the library's own name for what went wrong. */
static int complain_as(const char *name, int status, const char *format, ...) MOBIEDIT_PRINTF(3, 4);
static int complain_as(const char *name, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)tell(name, status, format, args);
    va_end(args);
    return status;
}

const char *first_failure(int status, const char **message) {
    *message = failure.known ? failure.message : NULL;
    return failure.known ? failure.name : status_name(status);
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
    if (err->status != MOBIEDIT_E_CANCELLED)
        return complain_as(mobiedit_status_name(err->status), status, "%s", err->message);
    return interrupted() ? complain(status, "interrupted") : status;
}

void guard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        /* read-only, so that writing to a closed stdout still fails */
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDONLY) != fd) return;
}

static int fail_output(int error) {
    return complain(STATUS_FILE, "cannot write the output: %s", strerror(error));
}

/* Room for a report in a regular file, beyond its end. A file system that cannot tell is believed to have it.
 */
static int reserve(void) {
    enum { REPORT_BYTES = 1 << 16 };
    struct stat info;
    struct rlimit most;
    if (fstat(STDOUT_FILENO, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY &&
        most.rlim_cur < (rlim_t)info.st_size + REPORT_BYTES)
        return EFBIG;
    if (fallocate(STDOUT_FILENO, FALLOC_FL_KEEP_SIZE, info.st_size, REPORT_BYTES) != 0)
        return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? errno : 0;
    return ftruncate(STDOUT_FILENO, info.st_size) == 0 ? 0 : errno;
}

int check_output(void) {
    struct pollfd reader = {.fd = STDOUT_FILENO, .events = POLLOUT};
    const int mode = fcntl(STDOUT_FILENO, F_GETFL);
    if (mode == -1 || (mode & O_ACCMODE) == O_RDONLY) return fail_output(EBADF);
    if (write(STDOUT_FILENO, "", 0) != 0) return fail_output(errno);
    if (poll(&reader, 1, 0) == 1 && reader.revents & POLLERR) return fail_output(EPIPE);
    const int error = reserve();
    return error ? fail_output(error) : STATUS_DONE;
}

bool output_arrived(void) {
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}

int finish_output(int status) {
    const bool failed_before = ferror(stdout) != 0;
    errno = 0;
    const bool failed_now = fflush(stdout) != 0;
    if (!failed_before && !failed_now) return status;
    const int why = errno ? errno : EIO;
    const int told = fail_output(why);
    return status == STATUS_DONE ? told : status;
}
