/* Starts ggml and libllama, once and silently; loads models. */
#define _GNU_SOURCE
#include "model/llama_init.h"

#include <llama.h>
#include <pthread.h>

static void discard(enum ggml_log_level level, const char *text, void *user) {
    (void)level;
    (void)text;
    (void)user;
}

static void init(void) {
    llama_log_set(discard, NULL);
    llama_backend_init();
}

void me_llama_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init);
}

struct llama_model *me_llama_load(const char *path) {
    ggml_backend_dev_t no_devices[] = {NULL};
    struct llama_model_params params = llama_model_default_params();
    params.devices = no_devices;
    params.n_gpu_layers = 0;
    params.load_mode = LLAMA_LOAD_MODE_MMAP;
    params.use_extra_bufts = false; /* these repack weights into copies */
    return llama_model_load_from_file(path, params);
}
