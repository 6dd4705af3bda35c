/* The way from final hidden vectors to logits: libllama's own operations there, on its own weights, in a graph
 * of their own. */
#include "engine/llama/llama_engine.h"

#include <string.h>

/* Operations that only look at their operand in another way need more than a copy. */
static bool can_repeat(const struct ggml_tensor *t) {
    switch (t->op) {
    case GGML_OP_RMS_NORM:
    case GGML_OP_NORM:
    case GGML_OP_MUL:
    case GGML_OP_ADD:
    case GGML_OP_MUL_MAT:
    case GGML_OP_SCALE:
    case GGML_OP_CLAMP:
    case GGML_OP_UNARY:
        return t->type == GGML_TYPE_F32 && !t->view_src && ggml_is_contiguous(t);
    default:
        return false;
    }
}

/* The operations that are known so far, and the nodes that they are. */
typedef struct {
    const struct ggml_tensor *hidden;
    const struct ggml_tensor *operations[2 * ME_HEAD_NODES];
    int nodes[2 * ME_HEAD_NODES];
    int n;
} known_operations;

enum { WEIGHT = -1, HIDDEN = -2, UNKNOWN = -3 };

static bool is_weight(const struct ggml_tensor *t) {
    return t->op == GGML_OP_NONE && t->data && t->buffer &&
           ggml_backend_buffer_get_usage(t->buffer) == GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
}

static int operand(const known_operations *known, const struct ggml_tensor *src) {
    if (src == known->hidden) return HIDDEN;
    for (int i = 0; i < known->n; i++)
        if (known->operations[i] == src) return known->nodes[i];
    return is_weight(src) ? WEIGHT : UNKNOWN;
}

static void remember(known_operations *known, const struct ggml_tensor *t, int node) {
    if (known->n == 2 * ME_HEAD_NODES) return;
    known->operations[known->n] = t;
    known->nodes[known->n++] = node;
}

/* Adds t if all its operands are known. Here every row is an output: to choose the outputs is to do nothing. */
static void add_node(me_llama_head *head, known_operations *known, const struct ggml_tensor *t) {
    me_head_node node = {.tensor = *t};
    bool follows = false;
    if (t->op == GGML_OP_GET_ROWS && operand(known, t->src[0]) != UNKNOWN && !is_weight(t->src[0])) {
        remember(known, t, operand(known, t->src[0]));
        return;
    }
    for (int i = 0; i < GGML_MAX_SRC && t->src[i]; i++) {
        node.src[i] = operand(known, t->src[i]);
        if (node.src[i] == UNKNOWN) return;
        follows = follows || node.src[i] != WEIGHT;
    }
    if (!follows || !can_repeat(t) || head->n_nodes == ME_HEAD_NODES) return;
    remember(known, t, head->n_nodes);
    head->nodes[head->n_nodes++] = node;
}

mobiedit_status me_head_learn(me_llama_head *head, const me_llama_hook *hook, int n_rows,
                              mobiedit_error *err) {
    known_operations known = {0};
    head->n_nodes = 0;
    for (size_t i = 0; i < hook->n_asked && !known.hidden; i++)
        known.hidden = me_final_hidden(hook->model, hook->asked[i]);
    if (!known.hidden)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: libllama's graph has no final norm with a weight",
                       hook->model->path);
    for (size_t i = hook->hidden_at + 1; i < hook->n_asked; i++)
        add_node(head, &known, hook->asked[i]);
    const struct ggml_tensor *last = hook->asked[hook->n_asked - 1];
    if (operand(&known, last) != head->n_nodes - 1 || last->ne[0] != hook->model->n_vocab ||
        last->ne[1] != n_rows || known.hidden->ne[0] != hook->model->d_model) {
        head->n_nodes = 0;
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%s: how libllama makes logits of final hidden vectors is not known (%s, %s)",
                       hook->model->path, ggml_op_name(last->op), last->name);
    }
    for (int i = 0; i < head->n_nodes; i++)
        if (head->nodes[i].tensor.ne[1] == n_rows) head->nodes[i].tensor.ne[1] = 0; /* as many as there are */
    return MOBIEDIT_OK;
}

float me_head_scale(const me_llama_head *head) {
    float scale = 1;
    for (int i = 0; i < head->n_nodes; i++) {
        float factor = 1;
        if (head->nodes[i].tensor.op == GGML_OP_SCALE)
            memcpy(&factor, head->nodes[i].tensor.op_params, sizeof factor);
        scale *= factor; /* those around a cap cancel out */
    }
    return scale;
}

static void drop_graph(me_llama_head *head) {
    if (head->allocator) ggml_gallocr_free(head->allocator);
    if (head->context) ggml_free(head->context);
    head->allocator = NULL;
    head->context = NULL;
    head->n_rows = 0;
}

void me_head_close(me_llama_head *head) {
    drop_graph(head);
    head->n_nodes = 0;
}

static void build(me_llama_head *head, int n) {
    struct ggml_tensor *made[ME_HEAD_NODES];
    const struct ggml_tensor *first = &head->nodes[0].tensor;
    head->in = ggml_new_tensor_2d(head->context, GGML_TYPE_F32, first->ne[0], n);
    ggml_set_input(head->in);
    for (int i = 0; i < head->n_nodes; i++) {
        const me_head_node *node = &head->nodes[i];
        int64_t ne[GGML_MAX_DIMS];
        memcpy(ne, node->tensor.ne, sizeof ne);
        if (ne[1] == 0) ne[1] = n;
        made[i] = ggml_new_tensor(head->context, GGML_TYPE_F32, GGML_MAX_DIMS, ne);
        made[i]->op = node->tensor.op;
        memcpy(made[i]->op_params, node->tensor.op_params, sizeof made[i]->op_params);
        for (int j = 0; j < GGML_MAX_SRC && node->tensor.src[j]; j++)
            made[i]->src[j] = node->src[j] == HIDDEN   ? head->in
                              : node->src[j] == WEIGHT ? node->tensor.src[j]
                                                       : made[node->src[j]];
    }
    head->out = made[head->n_nodes - 1];
    ggml_set_output(head->out);
    head->graph = ggml_new_graph(head->context);
    ggml_build_forward_expand(head->graph, head->out);
}

static mobiedit_status make_graph(me_llama_head *head, int n, mobiedit_error *err) {
    if (head->n_rows == n) return MOBIEDIT_OK;
    drop_graph(head);
    head->context = ggml_init((struct ggml_init_params){
        .mem_size = (ME_HEAD_NODES + 2) * ggml_tensor_overhead() + ggml_graph_overhead(), .no_alloc = true});
    head->allocator = ggml_gallocr_new(ggml_backend_get_default_buffer_type(head->backend));
    if (!head->context || !head->allocator) return me_fail_memory(err, "the graph of logits");
    build(head, n);
    if (!ggml_gallocr_alloc_graph(head->allocator, head->graph))
        return me_fail_memory(err, "the graph of logits");
    head->n_rows = n;
    return MOBIEDIT_OK;
}

mobiedit_status me_head_run(me_llama_head *head, const float *hidden, int n, float *logits,
                            mobiedit_error *err) {
    ME_TRY(make_graph(head, n, err));
    ggml_backend_tensor_set(head->in, hidden, 0, ggml_nbytes(head->in));
    if (ggml_backend_graph_compute(head->backend, head->graph) != GGML_STATUS_SUCCESS)
        return me_fail(err, MOBIEDIT_E_RUNTIME, "ggml failed to compute logits");
    ggml_backend_tensor_get(head->out, logits, 0, ggml_nbytes(head->out));
    return MOBIEDIT_OK;
}
