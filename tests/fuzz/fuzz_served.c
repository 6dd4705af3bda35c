/* Fuzzes the reader of a server's list of adapters, of its number of slots, and of a router's model: any bytes are
 * refused, or give a list whose scales are numbers, a number of at least one, and a model that is running only if it
 * is listed. */
#include "../../cli/server.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    served_adapters adapters;
    if (served_parse((const char *)data, size, &adapters)) {
        for (size_t i = 0; i < adapters.n; i++) {
            if (adapters.items[i].id < 0 || !isfinite(adapters.items[i].scale)) abort();
            (void)served_is(adapters.items[i].path, "lima.gguf");
        }
    } else if (adapters.n != 0 || adapters.items) {
        abort();
    }
    served_free(&adapters);
    const int slots = served_slots((const char *)data, size);
    if (slots == 0 || slots < -1) abort();
    served_model model;
    const bool is_router = served_model_parse((const char *)data, size, "edited", &model);
    if ((!is_router || !model.listed) && (model.listed || model.running || model.tells || model.lora))
        abort();
    served_model_free(&model);
    return 0;
}
