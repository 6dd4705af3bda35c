/* make_model PATH [SEED]: a small model of random weights on which edits can be made within a second. */
#include "tiny_model.h"

#include <stdlib.h>

int main(int argc, char **argv) {
    const tiny_model_options options = {
        .n_layer = 2, .d_model = 256, .d_ff = 2048, .seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 2};
    return argc > 1 && tiny_model_write(argv[1], "llama", &options) ? EXIT_SUCCESS : EXIT_FAILURE;
}
