/* The calibration of a model as a file: a GGUF of general.type "mobiedit-calibration" with
 *   calibration.means [d, d, ME_CALIBRATION_KINDS] (ggml order, F32),
 *   calibration.texts [ME_CALIBRATION_TEXT_TOKENS, texts] (I32): what the model wrote, -1 behind
 *     shorter texts,
 *   calibration.text_keys [d, tokens] (F16): the MLP inputs at .layer of all of their tokens,
 *   calibration.background_keys [d, tokens] (F32): those of the compiled-in background sentences,
 *   calibration.answer_text_keys, calibration.answer_background_keys: the same at .answer_layer,
 * and the keys
 *   mobiedit.calibration.version, .fingerprint (of the model's tensors), .layer, .answer_layer,
 *   .done and .total (prompts), .counts,
 *   .trial_layers, .trial_usual and .trial_losses (trial edits that chose the layer),
 *   .background (a hash of those sentences: keys of others are not taken).
 * Written after every prompt: a calibration that is killed goes on where it was. */
#ifndef ME_STORE_CALIBRATION_FILE_H
#define ME_STORE_CALIBRATION_FILE_H

#include "model/calibration.h"

/* Replaces the file at `path` atomically. */
mobiedit_status me_calibration_file_write(const me_calibration *calibration, const char *fingerprint,
                                          const char *path, mobiedit_error *err);

/* Fills a calibration that was opened for the same model; its layer and counts become the file's. E_IO,
 * E_FORMAT (damaged, or no calibration), E_UNSUPPORTED (of another version), E_MISMATCH (another model's). On
 * failure its contents are of no use. */
mobiedit_status me_calibration_file_read(const me_model *model, const char *fingerprint, const char *path,
                                         me_calibration *calibration, mobiedit_error *err);

/* The model's path with ".mobiedit.calibration" behind it. Freed with me_free; NULL: out of memory. */
char *me_calibration_file_default_path(const me_model *model);

#endif
