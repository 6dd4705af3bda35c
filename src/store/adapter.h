/* LoRA adapters in GGUF, as llama.cpp loads them: for a change of rank n of a matrix of layer L's MLP, say of
 * its gate, blk.L.ffn_gate.weight.lora_a [n_in, n] (ggml order; row i is a_i) and .lora_b [n, n_out] (column
 * i is b_i), general.type=adapter, adapter.type=lora, adapter.lora.alpha, general.architecture = the model's,
 * and mobiedit.* keys that tell what was edited and in which model.
 *
 * Where the MLP is experts, blk.L.ffn_gate_exps.weight and so on, both tensors have a third dimension, of an
 * expert each: [n_in, n, n_experts] and [n, n_out, n_experts].
 *
 * llama.cpp multiplies each pair by alpha / n. alpha is the rank of the first pair, and the lora_b of those
 * with another rank are scaled so that what is added is b (x) a all the same. */
#ifndef ME_STORE_ADAPTER_H
#define ME_STORE_ADAPTER_H

#include "base/pending.h"
#include "model/model.h"

/* What a LoRA adds to one matrix of an MLP: W' = W + sum_r b_r (x) a_r. Of experts each has its own a and b,
 * one behind the other: [n_experts][rank][n_in] and [n_experts][rank][n_out]. */
typedef struct {
    int layer;
    me_mlp_matrix matrix;
    int rank;
    const float *a; /* [rank][n_in] */
    const float *b; /* [rank][n_out] */
} me_adapter_part;

typedef struct {
    const me_adapter_part *parts; /* ascending by layer, then by matrix; one for each matrix at most */
    int n_parts;
    const char *description; /* free text for people, e.g. "The capital of {Japan} is -> Lima"; may be NULL */
} me_adapter;

/* Writes the adapter to a temporary file beside `path` and fsyncs it: nothing appears
 * at `path` before me_pending_commit. */
mobiedit_status me_adapter_write(const me_model *model, const me_adapter *adapter, const char *path,
                                 me_pending_file *out, mobiedit_error *err);

/* The same of an adapter that does nothing, for a file that must not go on to do what it did: it adds zeros
 * to a matrix of the last layer that can be edited. */
mobiedit_status me_adapter_write_nothing(const me_model *model, const char *path, me_pending_file *out,
                                         mobiedit_error *err);

/* Whether none of x [n] is infinite or no number. */
bool me_all_finite(const float *x, size_t n);

/* Checks that the file at `path` is a LoRA adapter whose architecture and every tensor's shape fit the model,
 * and that its values are finite: E_IO, E_FORMAT, or E_MISMATCH with a one-line reason. (libllama's own message goes to its log.) */
mobiedit_status me_adapter_check(const me_model *model, const char *path, mobiedit_error *err);

/* An adapter in memory. Its parts are in order, and b holds llama.cpp's factor alpha / rank. */
typedef struct {
    me_adapter_part *parts;
    int n_parts;
    char *description; /* NULL where there is none */
    float *values;     /* what the parts point to */
} me_adapter_data;

/* Checks the file as me_adapter_check does, and reads it. E_UNSUPPORTED where it changes anything but the
 * MLPs' matrices. Free with me_adapter_data_free. */
mobiedit_status me_adapter_read(const me_model *model, const char *path, me_adapter_data *out,
                                mobiedit_error *err);
void me_adapter_data_free(me_adapter_data *adapter);

#endif
