#define _GNU_SOURCE
#include "bytes_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

bytes_file bytes_file_open(const uint8_t *data, size_t size, size_t padding) {
    bytes_file file = {.fd = memfd_create("fuzz", 0)};
    if (file.fd < 0 || write(file.fd, data, size) != (ssize_t)size ||
        ftruncate(file.fd, (off_t)(size + padding)) != 0) {
        perror("bytes_file_open");
        exit(1);
    }
    (void)snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    return file;
}

void bytes_file_close(bytes_file *file) {
    (void)close(file->fd);
}
