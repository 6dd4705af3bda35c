/* The steps of me_model_open, in order: files -> metadata -> hyperparameters -> tensors. */
#ifndef ME_MODEL_MODEL_PRIVATE_H
#define ME_MODEL_MODEL_PRIVATE_H

#include "model/headers.h"
#include "model/metadata.h"
#include "model/model.h"

enum { ME_MAX_LAYERS = 512 }; /* libllama's own limit */

/* Maps the file at model->path and, of a split model, the others. *headers is closed by the caller, on failure
 * too; the files are closed with me_model_close_files. */
mobiedit_status me_model_open_files(me_model *model, me_headers *headers, mobiedit_error *err);
void me_model_close_files(me_model *model);

/* The architecture's own traits into arch, arch_name and activation; E_UNSUPPORTED names any other. */
mobiedit_status me_model_set_arch(me_model *model, const char *path, const char *name, mobiedit_error *err);

/* Everything that the metadata say: sizes, scales, and each layer's rope and window; allocates the layers. */
mobiedit_status me_model_read_hparams(me_model *model, const me_metadata *meta, mobiedit_error *err);

/* The size of the vocabulary: the number of its tokens, as libllama counts them. libllama ends the process
 * where two are the same: E_FORMAT. */
mobiedit_status me_model_read_token_list(me_model *model, const me_metadata *meta, mobiedit_error *err);

/* Finds every tensor, checks its type, shape and place in the mapped file, and refuses tensors that are
 * not known. */
mobiedit_status me_model_read_tensors(me_model *model, const me_metadata *meta, mobiedit_error *err);

/* Points *out at the tensor's bytes in its mapped file: E_FORMAT where they are not in it. */
mobiedit_status me_tensor_place(const me_header_tensor *tensor, me_tensor *out, mobiedit_error *err);

/* Instead of the two steps above: what is needed of a model of architecture `arch` that only libllama runs. */
mobiedit_status me_model_read_foreign(me_model *model, const me_metadata *meta, const char *arch,
                                      mobiedit_error *err);

#endif
