/* Neurons as a LoRA adapter: rows of gate and up and columns of down that take the place of the model's. */
#ifndef ME_API_NEURON_ADAPTER_H
#define ME_API_NEURON_ADAPTER_H

#include "edit/neuron.h"
#include "store/adapter.h"

/* layers [n_layers], ascending. The model's own rows, columns and biases are taken off as they are
 * dequantised, so that W + b (x) a has the new ones. The adapter is pending beside `path`. */
mobiedit_status me_neuron_adapter_write(const me_model *model, const me_neurons *layers, int n_layers,
                                        const char *description, const char *path, me_pending_file *out,
                                        mobiedit_error *err);

#endif
