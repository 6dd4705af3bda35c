/* LoRA adapters in GGUF, as llama.cpp loads them: for an edit of rank n at layer L,
 *   blk.L.ffn_down.weight.lora_a [d_ff, n] (ggml order; row i is left_i) and .lora_b [n, d_model] (column i
 * is delta_i), general.type=adapter, adapter.type=lora, adapter.lora.alpha = n, general.architecture = the
 * model's, and mobiedit.* keys that tell what was edited and in which model. */
#ifndef ME_STORE_ADAPTER_H
#define ME_STORE_ADAPTER_H

#include "model/model.h"

typedef struct {
    int layer;
    int rank;
    const float *left;  /* [rank][d_ff] */
    const float *delta; /* [rank][d_model] */
} me_adapter_layer;

typedef struct {
    const me_adapter_layer *layers;
    int n_layers;
    const char *description; /* free text for people, e.g. "The capital of {Japan} is -> Lima"; may be NULL */
} me_adapter;

/* Where an output file stands until it is whole: a temporary file in the same folder, mode 0600. */
typedef struct me_pending_file {
    char *path;      /* the final path */
    char *temporary; /* NULL when nothing is pending */
    int fd;          /* of the temporary while it is written, see pending.h; else -1 */
} me_pending_file;

/* Writes the adapter to a temporary file beside `path` and fsyncs it. Nothing appears at `path` before
 * me_pending_commit (rename, fsync of the folder); me_pending_discard removes the temporary file. Both free.
 */
mobiedit_status me_adapter_write(const me_model *model, const me_adapter *adapter, const char *path,
                                 me_pending_file *out, mobiedit_error *err);
mobiedit_status me_pending_commit(me_pending_file *file, mobiedit_error *err);
void me_pending_discard(me_pending_file *file);

/* Checks that the file at `path` is a LoRA adapter whose architecture and every tensor's shape fit the model:
 * E_IO, E_FORMAT, or E_MISMATCH with a one-line reason. (libllama's own message goes to its log.) */
mobiedit_status me_adapter_check(const me_model *model, const char *path, mobiedit_error *err);

/* An adapter in memory. Its layers are in order, and delta holds llama.cpp's factor alpha / rank. */
typedef struct {
    me_adapter_layer *layers;
    int n_layers;
    char *description; /* NULL where there is none */
    float *values;     /* what the layers point to */
} me_adapter_data;

/* Checks the file as me_adapter_check does, and reads it. E_UNSUPPORTED where it changes anything but down
 * projections. Free with me_adapter_data_free. */
mobiedit_status me_adapter_read(const me_model *model, const char *path, me_adapter_data *out,
                                mobiedit_error *err);
void me_adapter_data_free(me_adapter_data *adapter);

#endif
