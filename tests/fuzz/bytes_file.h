/* The fuzzer's bytes as a file without a place on disk. */
#ifndef FUZZ_BYTES_FILE_H
#define FUZZ_BYTES_FILE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int fd;
    char path[64];
} bytes_file;

/* `padding` zero bytes follow the data. Ends the process where the system refuses. */
bytes_file bytes_file_open(const uint8_t *data, size_t size, size_t padding);
void bytes_file_close(bytes_file *file);

#endif
