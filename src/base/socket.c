/* Sends and receives whole messages over a stream socket. */
#define _GNU_SOURCE
#include "base/socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

bool me_send_all(int fd, const void *data, size_t n) {
    for (const char *p = data; n > 0;) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

bool me_receive_all(int fd, void *data, size_t n) {
    for (char *p = data; n > 0;) {
        ssize_t got = recv(fd, p, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}
