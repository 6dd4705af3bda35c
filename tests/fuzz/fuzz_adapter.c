/* Fuzzes the reader of adapter files: any bytes are refused with one line, or give an adapter for the model
 * whose values are all numbers. */
#define _GNU_SOURCE
#include "bytes_file.h"
#include "store/adapter.h"
#include "tiny_model.h"

#include <math.h>
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

/* What callers rely on; a breach ends the run. */
static void check(const me_adapter_data *adapter) {
    if (adapter->n_parts < 1) abort();
    for (int i = 0, last = -1; i < adapter->n_parts; i++) {
        const me_adapter_part *part = &adapter->parts[i];
        const int place = part->layer * ME_MLP_MATRICES + (int)part->matrix;
        if (part->layer >= model->n_layer || part->rank < 1 || place <= last) abort();
        last = place;
        const me_tensor *matrix = me_mlp_tensor(model, part->layer, part->matrix);
        for (int64_t k = 0; k < part->rank * matrix->n_in; k++)
            if (!isfinite(part->a[k])) abort();
        for (int64_t k = 0; k < part->rank * matrix->n_out; k++)
            if (!isfinite(part->b[k])) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bytes_file file = bytes_file_open(data, size, 0);
    me_adapter_data adapter = {0};
    mobiedit_error err = {0};
    if (me_adapter_read(model, file.path, &adapter, &err) == MOBIEDIT_OK)
        check(&adapter);
    else if (err.status == MOBIEDIT_OK || strchr(err.message, '\n'))
        abort();
    me_adapter_data_free(&adapter);
    bytes_file_close(&file);
    return 0;
}
