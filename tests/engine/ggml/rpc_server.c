/* rpc_server HOST:PORT   ggml's RPC server with this processor's memory, until it is killed
 * rpc_server --probe     does nothing; exit status 77 where this ggml has no RPC backend */
#include "model/llama_init.h"

#include <ggml-backend.h>
#include <stdio.h>
#include <string.h>

typedef void (*start_server_fn)(const char *endpoint, const char *cache, size_t threads, size_t n_devices,
                                ggml_backend_dev_t *devices);

int main(int argc, char **argv) {
    if (argc != 2) {
        (void)fprintf(stderr, "usage: rpc_server HOST:PORT\n");
        return 2;
    }
    me_llama_init();
    ggml_backend_reg_t rpc = ggml_backend_reg_by_name("RPC");
    if (!rpc) return 77;
    if (strcmp(argv[1], "--probe") == 0) return 0;
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    void *address = ggml_backend_reg_get_proc_address(rpc, "ggml_backend_rpc_start_server");
    start_server_fn start;
    memcpy(&start, &address, sizeof start);
    start(argv[1], NULL, 1, 1, &cpu);
    return 1;
}
