/* Room for civetweb's threads. It asks for stacks of 100 KiB and has no setting for them, and glibc takes the thread-local
 * variables of all loaded libraries out of a stack: those of OpenBLAS and of ggml can need more, and no thread starts.
 * So this program has a pthread_attr_setstacksize of its own, which the dynamic linker finds before libc's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { LEAST_STACK = 1 << 20 };

__attribute__((visibility("default"))) int pthread_attr_setstacksize(pthread_attr_t *attr, size_t size) {
    int (*libc)(pthread_attr_t *, size_t);
    void *found = dlsym(RTLD_NEXT, "pthread_attr_setstacksize");
    if (!found) return ENOSYS;
    memcpy(&libc, &found, sizeof libc); /* ISO C has no conversion of an object's address to a function's */
    return libc(attr, size < LEAST_STACK ? LEAST_STACK : size);
}
