/* Fuzzes the reader of model files: any bytes either are refused with one line, or give a model whose tensors
 * can all be read. The input is the file's metadata; zeros follow it for the tensors. */
#include "bytes_file.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_ends(const me_tensor *tensor) {
    if (!tensor->data) return;
    float *row = malloc((size_t)tensor->n_in * sizeof *row);
    if (!row) return;
    me_tensor_row(tensor, 0, row);
    me_tensor_row(tensor, tensor->n_out - 1, row);
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bytes_file file = bytes_file_open(data, size, (size_t)1 << 20);
    me_model *model = NULL;
    mobiedit_error err = {0};
    if (me_model_open_any(file.path, &model, &err) == MOBIEDIT_OK) {
        read_ends(&model->tok_embd);
        read_ends(&model->output);
        for (int i = 0; i < model->n_layer; i++) {
            read_ends(&model->layers[i].wk);
            read_ends(&model->layers[i].gate);
            read_ends(&model->layers[i].up);
            read_ends(&model->layers[i].down);
            read_ends(&model->layers[i].post_ffn_norm);
        }
        me_model_close(model);
    } else if (err.status == MOBIEDIT_OK || strchr(err.message, '\n')) {
        abort();
    }
    bytes_file_close(&file);
    return 0;
}
