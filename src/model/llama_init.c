/* Starts ggml and libllama, once and silently. */
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
