/* Fuzzes the check of adapter files against a model: any bytes are accepted or refused with one line. */
#define _GNU_SOURCE
#include "bytes_file.h"
#include "store/adapter.h"
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static me_model *model;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    char path[] = "/tmp/fuzz_adapter.XXXXXX";
    int fd = mkstemp(path);
    mobiedit_error err = {0};
    if (fd < 0 || !tiny_model_write(path, "llama", NULL) ||
        me_model_open(path, &model, &err) != MOBIEDIT_OK) {
        fprintf(stderr, "no model to check against: %s\n", err.message);
        exit(1);
    }
    (void)close(fd);
    (void)unlink(path);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bytes_file file = bytes_file_open(data, size, 0);
    mobiedit_error err = {0};
    if (me_adapter_check(model, file.path, &err) != MOBIEDIT_OK &&
        (err.status == MOBIEDIT_OK || strchr(err.message, '\n')))
        abort();
    bytes_file_close(&file);
    return 0;
}
