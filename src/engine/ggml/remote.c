/* Runs an engine in a process of its own, and passes each call through a socket. */
#define _GNU_SOURCE
#include "engine/ggml/remote.h"

#include "base/memory.h"
#include "base/socket.h"
#include "engine/sequences.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what goes between the two processes; they are one program, so structures go as they are ----------- */

typedef enum {
    OP_PREFIX,
    OP_PREFIX_FREE,
    OP_SUFFIX,
    OP_RESPONSES,
    OP_KEYS,
    OP_ACTIVATIONS,
    OP_FORWARD,
    OP_LOGITS
} operation;

/* Followed by what `call` names, in the order of its members. */
typedef struct {
    operation op;
    int layer; /* FORWARD: -1 without an edit */
    int n;     /* sequences, deltas, or rows */
    int n_which;
    me_prefix *prefix; /* in the child's memory */
} request;

typedef struct {
    mobiedit_status status;
    bool fatal; /* the child ends */
    mobiedit_error error;
} reply;

/* Arguments and results of an operation, on either side. */
typedef struct {
    request r;
    const me_sequence *sequences; /* [n] */
    const float *base;            /* [d] */
    const float *input;           /* deltas or hidden vectors [n][d] */
    const int *which;             /* [n_which] */
    float *output;
    size_t n_output; /* floats */
} call;

static bool send_floats(int fd, const float *data, size_t n) {
    return me_send_all(fd, data, n * sizeof *data);
}

static bool has_sequences(operation op) {
    return op == OP_PREFIX || op == OP_KEYS || op == OP_ACTIVATIONS || op == OP_FORWARD;
}

static bool has_deltas(operation op) {
    return op == OP_SUFFIX || op == OP_RESPONSES;
}

/* ---- the child: receives calls, and runs them on the engine -------------------------------------------- */

static int child_socket; /* of this process, once it is a child: ggml's callback has no other way to it */

/* The reason behind "FILE:LINE: ", for a person. */
static const char *without_place(const char *message) {
    const char *reason = strstr(message, ": ");
    return reason ? reason + 2 : message;
}

static void on_abort(const char *message) {
    reply why = {.status = MOBIEDIT_E_RUNTIME, .fatal = true};
    const char *reason = without_place(message);
    (void)me_fail(&why.error, MOBIEDIT_E_RUNTIME, "%.*s", (int)strcspn(reason, "\n"), reason);
    (void)me_send_all(child_socket, &why, sizeof why);
    _exit(1);
}

/* Memory that one call needs, freed after it. */
typedef struct {
    void *pieces[8];
    int n;
    bool failed;
} arena;

static void *take(arena *a, size_t n, size_t size) {
    void *p = me_calloc(n, size);
    a->pieces[a->n++] = p;
    if (!p) a->failed = true;
    return p;
}

static void free_arena(arena *a) {
    for (int i = 0; i < a->n; i++)
        me_free(a->pieces[i]);
}

static const float *receive_floats(int fd, arena *a, size_t n) {
    float *data = take(a, n, sizeof *data);
    if (data && !me_receive_all(fd, data, n * sizeof *data)) a->failed = true;
    return data;
}

/* Their positions, which only a prefix needs: no other operation has checked them. */
static void receive_more(int fd, arena *a, bool edited, me_sequence *sequences, int n) {
    size_t total = 0;
    for (int i = 0; edited && i < n; i++)
        total += (size_t)sequences[i].n_more;
    int *more_pos = take(a, total, sizeof *more_pos);
    if (!more_pos || !me_receive_all(fd, more_pos, total * sizeof *more_pos)) a->failed = true;
    for (int i = 0; more_pos && i < n; i++) {
        if (!edited) sequences[i].n_more = 0;
        sequences[i].more_pos = more_pos;
        more_pos += sequences[i].n_more;
    }
}

static const me_sequence *receive_sequences(int fd, arena *a, bool edited, int n) {
    me_sequence *sequences = take(a, (size_t)n, sizeof *sequences);
    size_t total = 0;
    if (!sequences || !me_receive_all(fd, sequences, (size_t)n * sizeof *sequences)) {
        a->failed = true;
        return NULL;
    }
    for (int i = 0; i < n; i++)
        total += (size_t)sequences[i].n_tokens;
    int32_t *tokens = take(a, total, sizeof *tokens);
    if (!tokens || !me_receive_all(fd, tokens, total * sizeof *tokens)) a->failed = true;
    for (int i = 0; tokens && i < n; i++) {
        sequences[i].tokens = tokens;
        tokens += sequences[i].n_tokens;
    }
    if (!a->failed) receive_more(fd, a, edited, sequences, n);
    return sequences;
}

/* Floats of an operation's output. */
static size_t output_size(const me_model *model, const call *c, const me_prefix *prefix) {
    size_t d = (size_t)model->d_model, reads = 0;
    for (int i = 0; c->sequences && i < c->r.n; i++)
        reads += (size_t)c->sequences[i].n_read;
    switch (c->r.op) {
    case OP_SUFFIX:
    case OP_RESPONSES:
        return (size_t)c->r.n * (size_t)c->r.n_which * (size_t)prefix->n_read * d;
    case OP_ACTIVATIONS:
        return reads * (size_t)model->d_ff;
    case OP_KEYS:
    case OP_FORWARD:
        return reads * d;
    case OP_LOGITS:
        return (size_t)c->r.n * (size_t)model->n_vocab;
    default:
        return 0;
    }
}

static bool receive_call(int fd, const me_model *model, arena *a, call *c) {
    *c = (call){0};
    if (!me_receive_all(fd, &c->r, sizeof c->r)) return false;
    size_t d = (size_t)model->d_model, n = (size_t)c->r.n;
    if (has_sequences(c->r.op)) c->sequences = receive_sequences(fd, a, c->r.op == OP_PREFIX, c->r.n);
    if (c->r.op == OP_RESPONSES) c->base = receive_floats(fd, a, d);
    if (has_deltas(c->r.op) || c->r.op == OP_LOGITS) c->input = receive_floats(fd, a, n * d);
    if (has_deltas(c->r.op)) {
        int *which = take(a, (size_t)c->r.n_which, sizeof *which);
        if (!which || !me_receive_all(fd, which, (size_t)c->r.n_which * sizeof *which)) a->failed = true;
        c->which = which;
    }
    if (a->failed) return false;
    c->n_output = output_size(model, c, c->r.prefix);
    c->output = take(a, c->n_output, sizeof *c->output);
    return !a->failed;
}

static mobiedit_status run_call(me_engine *engine, call *c, me_prefix **made, mobiedit_error *err) {
    const struct me_engine_ops *ops = engine->ops;
    const request *r = &c->r;
    switch (r->op) {
    case OP_PREFIX:
        return ops->prefix(engine, r->layer, c->sequences, r->n, made, err);
    case OP_PREFIX_FREE:
        ops->prefix_free(engine, r->prefix);
        return MOBIEDIT_OK;
    case OP_SUFFIX:
        return ops->suffix(engine, r->prefix, c->input, r->n, c->which, r->n_which, c->output, err);
    case OP_RESPONSES:
        return ops->responses(engine, r->prefix, c->base, c->input, r->n, c->which, r->n_which, c->output,
                              err);
    case OP_KEYS:
        return ops->keys(engine, r->layer, c->sequences, r->n, c->output, err);
    case OP_ACTIVATIONS:
        return ops->activations(engine, r->layer, c->sequences, r->n, c->output, err);
    case OP_FORWARD:
        return ops->forward(engine, c->sequences, r->n, c->output, err);
    case OP_LOGITS:
        return ops->logits(engine, c->input, r->n, c->output, err);
    }
    return me_fail(err, MOBIEDIT_E_RUNTIME, "there is no operation %d", r->op);
}

/* The arrays of a prefix, in one order for both sides. */
enum { N_ARRAYS = 4 };

static void arrays_of(const me_model *model, me_prefix *p, float **arrays[N_ARRAYS], size_t sizes[N_ARRAYS]) {
    size_t d = (size_t)model->d_model, n = (size_t)p->n_sequences;
    size_t later = (size_t)(model->n_layer - p->layer - 1);
    float **const found[N_ARRAYS] = {&p->values, &p->hidden, &p->attention, &p->rms};
    const size_t counts[N_ARRAYS] = {n * d, n * (size_t)p->n_read * d, later * (size_t)model->n_head, later};
    memcpy(arrays, found, sizeof found);
    memcpy(sizes, counts, sizeof counts);
}

static bool send_prefix(int fd, const me_model *model, me_prefix *prefix) {
    float **arrays[N_ARRAYS];
    size_t sizes[N_ARRAYS];
    arrays_of(model, prefix, arrays, sizes);
    bool ok = me_send_all(fd, &prefix, sizeof(me_prefix *)) && me_send_all(fd, prefix, sizeof *prefix);
    for (int i = 0; i < N_ARRAYS; i++)
        ok = ok && send_floats(fd, *arrays[i], sizes[i]);
    return ok;
}

static bool answer(int fd, me_engine *engine, call *c) {
    reply out = {0};
    me_prefix *made = NULL;
    out.status = run_call(engine, c, &made, &out.error);
    if (c->r.op == OP_PREFIX_FREE) return true;
    if (!me_send_all(fd, &out, sizeof out)) return false;
    if (out.status != MOBIEDIT_OK) return true;
    if (c->r.op == OP_PREFIX) return send_prefix(fd, engine->model, made);
    return send_floats(fd, c->output, c->n_output);
}

/* The child's whole life. It says nothing on the streams that it has from its
 * parent, and holds none of them open. */
static void serve(int fd, const me_model *model, const me_ggml_options *options) {
    int null = open("/dev/null", O_RDWR);
    for (int stream = STDIN_FILENO; null >= 0 && stream <= STDERR_FILENO; stream++)
        (void)dup2(null, stream);
    (void)setenv("GGML_NO_BACKTRACE", "1", 1);
    (void)signal(SIGPIPE, SIG_IGN); /* a server that goes away is an error that ggml reports */
    child_socket = fd;
    (void)ggml_set_abort_callback(on_abort);
    /* One thread: OpenMP's threads do not survive a fork. What is left for this processor is little. */
    me_ggml_options own = *options;
    own.threads = 1;
    me_engine *engine = NULL;
    reply opened = {0};
    opened.status = me_ggml_open(model, &own, &engine, &opened.error);
    opened.fatal = opened.status != MOBIEDIT_OK;
    bool going = me_send_all(fd, &opened, sizeof opened) && !opened.fatal;
    while (going) {
        arena a = {0};
        call c;
        going = receive_call(fd, model, &a, &c) && answer(fd, engine, &c);
        free_arena(&a);
    }
    _exit(0); /* the servers free what they held for us when the connection closes */
}

/* ---- the parent: an engine that hands its operations on ------------------------------------------------ */

typedef struct {
    me_engine base;
    me_ggml_options options;
    char *backend;
    int fd; /* to the child; -1: there is none */
    pid_t child;
    uint64_t generation; /* children so far */
} remote;

typedef struct {
    me_prefix base;
    me_prefix *theirs;
    uint64_t generation; /* of the child that has it */
} remote_prefix;

static void end_child(remote *engine) {
    if (engine->fd < 0) return;
    (void)close(engine->fd);
    engine->fd = -1;
    while (waitpid(engine->child, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Reads a reply; where the child is gone, says so and forgets it. */
static mobiedit_status receive_reply(remote *engine, mobiedit_error *err) {
    reply in;
    if (!me_receive_all(engine->fd, &in, sizeof in)) {
        end_child(engine);
        return me_fail(err, MOBIEDIT_E_RUNTIME, "%s: the process that talks to the servers ended",
                       engine->backend);
    }
    if (in.fatal) end_child(engine);
    if (in.status == MOBIEDIT_OK) return MOBIEDIT_OK;
    return me_fail(err, in.status, "%s: %s", engine->backend, in.error.message);
}

static mobiedit_status start_child(remote *engine, mobiedit_error *err) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return me_fail(err, MOBIEDIT_E_RUNTIME, "cannot make a socket: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        (void)close(pair[0]);
        serve(pair[1], engine->base.model, &engine->options);
    }
    (void)close(pair[1]);
    if (child < 0) {
        (void)close(pair[0]);
        return me_fail(err, MOBIEDIT_E_RUNTIME, "cannot start a process: %s", strerror(errno));
    }
    engine->fd = pair[0];
    engine->child = child;
    engine->generation++;
    return receive_reply(engine, err);
}

static bool send_sequences(int fd, bool edited, const me_sequence *sequences, int n) {
    bool ok = me_send_all(fd, sequences, (size_t)n * sizeof *sequences);
    for (int i = 0; ok && i < n; i++)
        ok =
            me_send_all(fd, sequences[i].tokens, (size_t)sequences[i].n_tokens * sizeof *sequences[i].tokens);
    for (int i = 0; ok && edited && i < n; i++)
        ok = me_send_all(fd, sequences[i].more_pos,
                         (size_t)sequences[i].n_more * sizeof *sequences[i].more_pos);
    return ok;
}

static bool send_call(int fd, const me_model *model, const call *c) {
    size_t d = (size_t)model->d_model;
    bool ok = me_send_all(fd, &c->r, sizeof c->r);
    if (has_sequences(c->r.op)) ok = ok && send_sequences(fd, c->r.op == OP_PREFIX, c->sequences, c->r.n);
    if (c->r.op == OP_RESPONSES) ok = ok && send_floats(fd, c->base, d);
    if (c->input) ok = ok && send_floats(fd, c->input, (size_t)c->r.n * d);
    if (c->which) ok = ok && me_send_all(fd, c->which, (size_t)c->r.n_which * sizeof *c->which);
    return ok;
}

/* What came back is not whole: the child ended while it sent. */
static mobiedit_status lost(remote *engine, mobiedit_error *err) {
    end_child(engine);
    return me_fail(err, MOBIEDIT_E_RUNTIME, "%s: the process that talks to the servers ended",
                   engine->backend);
}

static mobiedit_status run(remote *engine, const call *c, mobiedit_error *err) {
    if (engine->fd < 0) ME_TRY(start_child(engine, err));
    /* A child that ended before it took all of the call may have said why. */
    (void)send_call(engine->fd, engine->base.model, c);
    ME_TRY(receive_reply(engine, err));
    if (!me_receive_all(engine->fd, c->output, c->n_output * sizeof *c->output)) return lost(engine, err);
    return MOBIEDIT_OK;
}

/* ---- operations: checked here, so that sizes are sound ------------------------------------------------- */

static void remote_prefix_free(me_engine *base, me_prefix *p) {
    remote *engine = (remote *)base;
    remote_prefix *prefix = (remote_prefix *)p;
    if (!p) return;
    const request free_it = {.op = OP_PREFIX_FREE, .prefix = prefix->theirs};
    if (engine->fd >= 0 && prefix->theirs && prefix->generation == engine->generation)
        (void)me_send_all(engine->fd, &free_it, sizeof free_it);
    me_prefix_free_arrays(p);
    me_free(prefix);
}

static mobiedit_status receive_prefix(remote *engine, remote_prefix *prefix, mobiedit_error *err) {
    float **arrays[N_ARRAYS];
    size_t sizes[N_ARRAYS];
    me_prefix *theirs, *own = &prefix->base;
    if (!me_receive_all(engine->fd, &theirs, sizeof(me_prefix *)) ||
        !me_receive_all(engine->fd, own, sizeof *own))
        return lost(engine, err);
    prefix->theirs = theirs;
    prefix->generation = engine->generation;
    own->values = own->hidden = own->attention = own->rms = NULL;
    arrays_of(engine->base.model, own, arrays, sizes);
    for (int i = 0; i < N_ARRAYS; i++) {
        float *values = me_calloc(sizes[i], sizeof *values);
        *arrays[i] = values;
        if (!values) {
            end_child(engine); /* what it still sends is not wanted */
            return me_fail_memory(err, "a prefix");
        }
        if (!me_receive_all(engine->fd, values, sizes[i] * sizeof *values)) return lost(engine, err);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status remote_prefix_run(me_engine *base, int layer, const me_sequence *sequences, int n,
                                         me_prefix **out, mobiedit_error *err) {
    remote *engine = (remote *)base;
    ME_TRY(me_check_prefix(base->model, layer, sequences, n, err));
    remote_prefix *prefix = me_calloc(1, sizeof *prefix);
    if (!prefix) return me_fail_memory(err, "a prefix");
    const call c = {.r = {.op = OP_PREFIX, .layer = layer, .n = n}, .sequences = sequences};
    mobiedit_status status = run(engine, &c, err);
    if (status == MOBIEDIT_OK) status = receive_prefix(engine, prefix, err);
    if (status != MOBIEDIT_OK) {
        remote_prefix_free(base, &prefix->base);
        return status;
    }
    *out = &prefix->base;
    return MOBIEDIT_OK;
}

/* suffix where base is NULL, else responses */
static mobiedit_status run_deltas(me_engine *engine, const me_prefix *p, const float *base,
                                  const float *deltas, int n_deltas, const int *which, int n_which,
                                  float *output, mobiedit_error *err) {
    const remote_prefix *prefix = (const remote_prefix *)p;
    ME_TRY(me_check_suffix(p, n_deltas, which, n_which, err));
    if (((remote *)engine)->fd < 0 || prefix->generation != ((remote *)engine)->generation)
        return me_fail(err, MOBIEDIT_E_RUNTIME, "%s: the prefix was lost with the connection",
                       ((remote *)engine)->backend);
    call c = {.r = {.op = base ? OP_RESPONSES : OP_SUFFIX,
                    .n = n_deltas,
                    .n_which = n_which,
                    .prefix = prefix->theirs},
              .base = base,
              .input = deltas,
              .which = which,
              .output = output};
    c.n_output = output_size(engine->model, &c, p);
    return run((remote *)engine, &c, err);
}

static mobiedit_status remote_suffix(me_engine *engine, const me_prefix *prefix, const float *deltas,
                                     int n_deltas, const int *which, int n_which, float *hidden,
                                     mobiedit_error *err) {
    return run_deltas(engine, prefix, NULL, deltas, n_deltas, which, n_which, hidden, err);
}

/* What is read at positions of whole sequences, which `op` says. */
static mobiedit_status read_sequences(me_engine *base, operation op, int layer, const me_sequence *sequences,
                                      int n, float *out, mobiedit_error *err) {
    ME_TRY(me_check_sequences(base->model, layer, sequences, n, err));
    call c = {.r = {.op = op, .layer = layer, .n = n}, .sequences = sequences, .output = out};
    c.n_output = output_size(base->model, &c, NULL);
    return run((remote *)base, &c, err);
}

static mobiedit_status remote_keys(me_engine *engine, int layer, const me_sequence *sequences, int n,
                                   float *keys, mobiedit_error *err) {
    return read_sequences(engine, OP_KEYS, layer, sequences, n, keys, err);
}

static mobiedit_status remote_activations(me_engine *engine, int layer, const me_sequence *sequences, int n,
                                          float *activations, mobiedit_error *err) {
    return read_sequences(engine, OP_ACTIVATIONS, layer, sequences, n, activations, err);
}

static mobiedit_status remote_forward(me_engine *engine, const me_sequence *sequences, int n, float *hidden,
                                      mobiedit_error *err) {
    return read_sequences(engine, OP_FORWARD, 0, sequences, n, hidden, err);
}

static mobiedit_status remote_logits(me_engine *base, const float *hidden, int n, float *logits,
                                     mobiedit_error *err) {
    call c = {.r = {.op = OP_LOGITS, .n = n}, .input = hidden, .output = logits};
    c.n_output = output_size(base->model, &c, NULL);
    return run((remote *)base, &c, err);
}

static void remote_close(me_engine *base) {
    remote *engine = (remote *)base;
    if (!engine) return;
    end_child(engine);
    me_free(engine->backend);
    me_free(engine);
}

static const struct me_engine_ops remote_ops = {
    .name = "ggml over RPC",
    .close = remote_close,
    .prefix = remote_prefix_run,
    .prefix_free = remote_prefix_free,
    .suffix = remote_suffix,
    .responses = run_deltas,
    .keys = remote_keys,
    .activations = remote_activations,
    .forward = remote_forward,
    .logits = remote_logits,
};

mobiedit_status me_remote_open(const me_model *model, const me_ggml_options *options, me_engine **out,
                               mobiedit_error *err) {
    remote *engine = me_calloc(1, sizeof *engine);
    char *backend = me_strdup(options->backend);
    if (!engine || !backend) {
        me_free(engine);
        me_free(backend);
        return me_fail_memory(err, "the engine");
    }
    *engine = (remote){
        .base = {.ops = &remote_ops, .model = model}, .options = *options, .backend = backend, .fd = -1};
    engine->options.backend = backend;
    *out = &engine->base;
    return MOBIEDIT_OK;
}
