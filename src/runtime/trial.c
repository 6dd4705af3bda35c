/* Runs a model in a child process, to see whether libllama ends it. */
#define _GNU_SOURCE
#include "runtime/trial.h"

#include "base/child.h"
#include "model/llama_init.h"
#include "model/metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <llama.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_TOKENS = 3, CONTEXT = 32 };

/* ---- the child ----------------------------------------------------------------------------------------- */

/* ggml tells why it ends the process, and asks a debugger where. */
static void silence(void) {
    const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)setenv("GGML_NO_BACKTRACE", "1", 1);
    if (nowhere < 0) return;
    (void)dup2(nowhere, STDOUT_FILENO);
    (void)dup2(nowhere, STDERR_FILENO);
}

/* One thread: OpenMP's do not survive a fork. */
static struct llama_context *make_context(struct llama_model *model) {
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = CONTEXT;
    params.n_batch = params.n_ubatch = N_TOKENS;
    params.n_seq_max = 1;
    params.n_threads = params.n_threads_batch = 1;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.offload_kqv = params.op_offload = false;
    params.no_perf = true;
    return llama_init_from_model(model, params);
}

static void run(const me_model *model) {
    llama_token tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++)
        tokens[i] = i % model->n_vocab;
    me_child_limit(0, 0);
    silence();
    struct llama_model *loaded = me_llama_load(model->path);
    struct llama_context *context = loaded ? make_context(loaded) : NULL;
    if (context) (void)llama_decode(context, llama_batch_get_one(tokens, N_TOKENS));
    _exit(0);
}

/* ---- the caller's side --------------------------------------------------------------------------------- */

static bool is_fault(int how) {
    static const int faults[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (WIFSIGNALED(how) && WTERMSIG(how) == faults[i]) return true;
    return false;
}

mobiedit_status me_trial_run(const me_model *model, mobiedit_error *err) {
    me_llama_init();
    const pid_t child = fork();
    if (child == 0) run(model);
    if (child < 0) return me_fail(err, MOBIEDIT_E_RUNTIME, "cannot start a process: %s", strerror(errno));
    if (!is_fault(me_child_wait(child))) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                   "%s: libllama ends its process at this %s model: its hyperparameters do not fit together",
                   me_shown_path(model->path), model->arch_name);
}
