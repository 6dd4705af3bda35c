/* Fuzzes the reader of split models. The input is two parts: four bytes that say how long the first is, least
 * significant first, the first part's metadata, and the second's. Zeros follow each for the tensors. */
#define _GNU_SOURCE
#include "bytes_file.h"
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 4, PADDING = 1 << 20, N_PARTS = 2 };

/* The parts are found by their names, so links of such names stand for them. */
static void link_part(const char *folder, int no, const bytes_file *file, char path[128]) {
    (void)snprintf(path, 128, "%s/m-%05d-of-%05d.gguf", folder, no, N_PARTS);
    if (symlink(file->path, path) == 0) return;
    perror(path);
    exit(1);
}

static void open_and_read(const char *path) {
    me_model *model = NULL;
    mobiedit_error err = {0};
    if (me_model_open_any(path, &model, &err) == MOBIEDIT_OK) {
        float *row = malloc((size_t)model->tok_embd.n_in * sizeof *row);
        if (row) me_tensor_row(&model->tok_embd, model->tok_embd.n_out - 1, row);
        free(row);
        me_model_close(model);
    } else if (err.status == MOBIEDIT_OK || strchr(err.message, '\n')) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char folder[] = "/tmp/fuzz_split_XXXXXX", first[128], second[128];
    if (size < HEAD) return 0;
    const size_t rest = size - HEAD,
                 says = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24,
                 length = says < rest ? says : rest;
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    bytes_file one = bytes_file_open(data + HEAD, length, PADDING),
               two = bytes_file_open(data + HEAD + length, rest - length, PADDING);
    link_part(folder, 1, &one, first);
    link_part(folder, 2, &two, second);
    open_and_read(first);
    bytes_file_close(&one);
    bytes_file_close(&two);
    (void)unlink(first);
    (void)unlink(second);
    (void)rmdir(folder);
    return 0;
}
