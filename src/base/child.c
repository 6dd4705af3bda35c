/* Limits a forked child, and waits for it. */
#define _GNU_SOURCE
#include "base/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WALL_SECONDS = 600 };

/* Bytes of address space that the process has; 0 where the system does not tell. */
static rlim_t address_space(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%llu", &pages) != 1) pages = 0; /* NOLINT(cert-err34-c): the kernel's own number */
    (void)fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void lower(int resource, rlim_t most) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= most))
        return;
    limit.rlim_cur = most;
    (void)setrlimit(resource, &limit);
}

void me_child_limit(unsigned cpu_seconds, size_t memory_bytes) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGALRM, SIGTERM};
    const rlim_t space = memory_bytes > 0 ? address_space() : 0;
    sigset_t none;
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        (void)signal(fatal[i], SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    lower(RLIMIT_CORE, 0);
    if (cpu_seconds > 0) lower(RLIMIT_CPU, cpu_seconds);
    if (space > 0) lower(RLIMIT_AS, space + memory_bytes);
    (void)alarm(WALL_SECONDS);
}

int me_child_wait(pid_t child) {
    int how = 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR)
        ;
    return how;
}
