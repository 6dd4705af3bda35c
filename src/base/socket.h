/* Whole messages over a stream socket between two processes. */
#ifndef ME_BASE_SOCKET_H
#define ME_BASE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

/* All n bytes, or false: the other side is gone. No signal is raised. */
bool me_send_all(int fd, const void *data, size_t n);
bool me_receive_all(int fd, void *data, size_t n);

#endif
