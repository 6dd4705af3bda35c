/* What is done between the operations of libllama's graph: deltas are written, vectors are read. */
#include "engine/llama/llama_engine.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- knowing operations -------------------------------------------------------------------------------- */

void me_weight_name(const struct ggml_tensor *weight, char name[GGML_MAX_NAME]) {
    name[0] = '\0';
    if (!weight) return;
    /* ggml's scheduler calls a weight's copy on another device "DEVICE#name#number". */
    const char *from = strchr(weight->name, '#');
    from = from ? from + 1 : weight->name;
    (void)snprintf(name, GGML_MAX_NAME, "%.*s", (int)strcspn(from, "#"), from);
}

static bool is_weight(const struct ggml_tensor *tensor, const char *wanted) {
    char name[GGML_MAX_NAME];
    me_weight_name(tensor, name);
    return strcmp(name, wanted) == 0;
}

bool me_is_product(const struct ggml_tensor *t) {
    return t->op == GGML_OP_MUL_MAT || t->op == GGML_OP_MUL_MAT_ID;
}

/* A product with the weight of that name. */
static bool multiplies(const struct ggml_tensor *t, const char *wanted) {
    return *wanted && me_is_product(t) && is_weight(t->src[0], wanted);
}

struct ggml_tensor *me_final_hidden(const me_model *model, const struct ggml_tensor *t) {
    if (t->op != GGML_OP_MUL || !is_weight(t->src[1], model->output_norm_name)) return NULL;
    const struct ggml_tensor *norm = t->src[0];
    if (!norm || (norm->op != GGML_OP_RMS_NORM && norm->op != GGML_OP_NORM)) return NULL;
    return norm->src[0];
}

/* The layer that a weight's name gives, "blk.<layer>."; -1: none. */
static int block_of(const struct ggml_tensor *tensor) {
    char name[GGML_MAX_NAME];
    me_weight_name(tensor, name);
    return strncmp(name, "blk.", 4) == 0 ? (int)strtol(name + 4, NULL, 10) : -1;
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

static void fail(me_llama_hook *hook, const char *what, const struct ggml_tensor *t) {
    if (!hook->trouble[0]) (void)snprintf(hook->trouble, sizeof hook->trouble, "%s (%s)", what, t->name);
}

/* Rows of t that are a token's: of experts, one for each that it goes through. */
static int rows_each(const struct ggml_tensor *product) {
    return product->op == GGML_OP_MUL_MAT_ID ? (int)product->src[2]->ne[0] : 1;
}

/* A token's number among n, which are all tokens, or the outputs; -1: neither. */
static int number_of(const me_llama_hook *hook, me_row row, int64_t n) {
    return n == hook->n_tokens ? row.token : n == hook->n_outputs ? row.output : -1;
}

/* Where in t, `each` rows a token or an output, the token's floats begin; SIZE_MAX where t is of another
 * form. */
static size_t row_offset(me_llama_hook *hook, const struct ggml_tensor *t, me_row row, int64_t width,
                         int each) {
    const int at = number_of(hook, row, ggml_nrows(t) / each);
    if (t->type != GGML_TYPE_F32 || t->ne[0] != width || at < 0 || !ggml_is_contiguous(t) ||
        (each > 1 && t->ne[1] != each)) {
        fail(hook, "an operation's result has another form", t);
        return SIZE_MAX;
    }
    return (size_t)at * (size_t)each * t->nb[1];
}

static void read_row(me_llama_hook *hook, const struct ggml_tensor *t, me_row row, int64_t width, int each,
                     float *out) {
    const size_t at = row_offset(hook, t, row, width, each);
    if (at != SIZE_MAX) ggml_backend_tensor_get(t, out, at, (size_t)each * (size_t)width * sizeof *out);
}

static void read_all(me_llama_hook *hook, const struct ggml_tensor *t, int64_t width, int each) {
    for (int i = 0; i < hook->n_readers && !hook->trouble[0]; i++)
        read_row(hook, t, hook->readers[i].row, width, each, hook->readers[i].out);
    hook->found = true;
}

/* ids [each, tokens]: the experts that each token goes through. */
static void read_experts(me_llama_hook *hook, const struct ggml_tensor *ids, int each) {
    for (int i = 0; i < hook->n_readers && !hook->trouble[0]; i++) {
        const me_llama_reader *reader = &hook->readers[i];
        const int at = number_of(hook, reader->row, ids->ne[1]);
        if (ids->type != GGML_TYPE_I32 || ids->nb[0] != sizeof(int32_t) || at < 0) {
            fail(hook, "the experts' numbers have another form", ids);
            return;
        }
        ggml_backend_tensor_get(ids, reader->experts, (size_t)at * ids->nb[1],
                                (size_t)each * sizeof(int32_t));
    }
}

static void read_activations(me_llama_hook *hook, const struct ggml_tensor *down) {
    const int each = rows_each(down);
    const bool experts = down->op == GGML_OP_MUL_MAT_ID;
    if (experts && each != hook->model->n_experts_used) {
        fail(hook, "tokens go through another number of experts", down);
        return;
    }
    read_all(hook, down->src[1], hook->model->d_ff, each);
    if (experts) read_experts(hook, down->src[2], each);
}

/* Adds a delta to each of the token's rows, as the neurons of an adapter do, and sees that it is there. The
 * value is the rows' mean. scratch: [2][d] */
static void edit_row(me_llama_hook *hook, struct ggml_tensor *t, const me_llama_edit *edit) {
    const size_t d = (size_t)hook->model->d_model, bytes = d * sizeof(float);
    const int each = rows_each(t);
    const size_t first = row_offset(hook, t, edit->row, (int64_t)d, each);
    float *row = hook->scratch, *again = row + d;
    if (first == SIZE_MAX) return;
    if (edit->value) memset(edit->value, 0, bytes);
    for (int r = 0; r < each; r++) {
        const size_t at = first + (size_t)r * bytes;
        ggml_backend_tensor_get(t, row, at, bytes);
        for (size_t i = 0; i < d && edit->value; i++)
            edit->value[i] += row[i] / (float)each;
        if (!edit->delta) continue;
        for (size_t i = 0; i < d; i++)
            row[i] += edit->delta[i];
        ggml_backend_tensor_set(t, row, at, bytes);
        ggml_backend_tensor_get(t, again, at, bytes);
        if (memcmp(row, again, bytes) != 0) fail(hook, "what was written is not there", t);
    }
}

static void edit_all(me_llama_hook *hook, struct ggml_tensor *t) {
    for (int i = 0; i < hook->n_edits && !hook->trouble[0]; i++)
        edit_row(hook, t, &hook->edits[i]);
    hook->edited = true;
}

/* ---- what a prefix measures in later layers ------------------------------------------------------------ */

static bool is_later(const me_llama_hook *hook, int layer) {
    return hook->focus && layer > hook->layer && layer < hook->model->n_layer;
}

/* The attention's norm: its input is the residual, which is needed again behind the attention, so that it is
 * still there. */
static bool is_entering(const me_llama_hook *hook, const struct ggml_tensor *t) {
    char name[GGML_MAX_NAME];
    if (t->op != GGML_OP_MUL || !is_later(hook, hook->block)) return false;
    (void)snprintf(name, sizeof name, "blk.%d.attn_norm.weight", hook->block);
    const struct ggml_tensor *norm = t->src[0];
    return is_weight(t->src[1], name) && norm && norm->src[0] && norm->src[0]->ne[0] == hook->model->d_model;
}

static void measure_rms(me_llama_hook *hook, const struct ggml_tensor *residual) {
    const int d = hook->model->d_model;
    for (int i = 0; i < hook->n_edits && !hook->trouble[0]; i++) {
        if (!hook->edits[i].value) continue;
        double sum = 0;
        read_row(hook, residual, hook->edits[i].row, d, 1, hook->scratch);
        for (int j = 0; j < d; j++)
            sum += (double)hook->scratch[j] * (double)hook->scratch[j];
        hook->focus->rms[hook->block - hook->layer - 1] += hook->focus->share * (float)sqrt(sum / d);
    }
}

/* K is put into the cache's rows src[1]. (The rows of V are single values.) */
static bool is_cached_k(const me_llama_hook *hook, const struct ggml_tensor *t) {
    return t->op == GGML_OP_SET_ROWS && is_later(hook, hook->block) && t->src[1]->type == GGML_TYPE_I64 &&
           ggml_nelements(t->src[1]) == hook->n_tokens;
}

/* The softmax of the attention, [cells, tokens, n_head]. */
static bool is_attention(const me_llama_hook *hook, const struct ggml_tensor *t) {
    return t->op == GGML_OP_SOFT_MAX && is_later(hook, hook->block) && hook->has_cells &&
           t->type == GGML_TYPE_F32 && t->ne[1] >= hook->n_tokens && t->ne[2] == hook->model->n_head &&
           t->ne[3] == 1;
}

static void measure_attention(me_llama_hook *hook, const struct ggml_tensor *t) {
    float *sums =
        hook->focus->attention + (size_t)(hook->block - hook->layer - 1) * (size_t)hook->model->n_head;
    for (int i = 0; i < hook->n_readers; i++) {
        const me_llama_reader *reader = &hook->readers[i];
        if (reader->edit < 0 || reader->share == 0) continue;
        const int64_t cell = hook->cells[reader->edit];
        for (int head = 0; head < hook->model->n_head && cell >= 0 && cell < t->ne[0]; head++) {
            float weight;
            ggml_backend_tensor_get(t, &weight,
                                    (size_t)head * t->nb[2] + (size_t)reader->row.token * t->nb[1] +
                                        (size_t)cell * t->nb[0],
                                    sizeof weight);
            sums[head] += reader->share * weight;
        }
    }
}

/* ---- the callback -------------------------------------------------------------------------------------- */

void me_hook_reset(me_llama_hook *hook) {
    hook->edited = hook->found = hook->moved = hook->has_cells = false;
    hook->trouble[0] = '\0';
    hook->n_asked = 0;
    hook->block = -1;
    hook->hidden = NULL;
}

/* The operations in order, for the one behind which the final norm comes is known by its place. */
static void note(me_llama_hook *hook, struct ggml_tensor *t) {
    if (me_grow(&hook->asked, &hook->capacity, hook->n_asked + 1, sizeof *hook->asked))
        hook->asked[hook->n_asked++] = t;
    else
        fail(hook, "out of memory", t);
    for (int i = 0; i < 2; i++) {
        const int block = block_of(t->src[i]);
        if (block >= 0 && t->op != GGML_OP_NONE) hook->block = block;
    }
}

/* Before the final norm's product: was what was read its input? If not, the place is known from now on. */
static void confirm_hidden(me_llama_hook *hook, const struct ggml_tensor *input) {
    if (hook->hidden == input && hook->found) return;
    hook->moved = true;
    for (size_t i = 0; i < hook->n_asked; i++)
        if (hook->asked[i] == input) hook->hidden_at = i;
}

static bool is_needed(me_llama_hook *hook, struct ggml_tensor *t) {
    if (multiplies(t, hook->down)) return hook->n_edits > 0 || hook->read == ME_LLAMA_ACTIVATIONS;
    if (hook->read == ME_LLAMA_KEYS) return multiplies(t, hook->input);
    if (is_entering(hook, t) || is_cached_k(hook, t) || is_attention(hook, t)) return true;
    if (hook->read == ME_LLAMA_HIDDEN && hook->n_asked - 1 == hook->hidden_at) {
        hook->hidden = t;
        return true;
    }
    const struct ggml_tensor *hidden = hook->read == ME_LLAMA_HIDDEN ? me_final_hidden(hook->model, t) : NULL;
    if (hidden) confirm_hidden(hook, hidden);
    return hidden != NULL;
}

/* False where nothing more of the graph is needed. */
static bool take(me_llama_hook *hook, struct ggml_tensor *t) {
    const me_model *model = hook->model;
    if (multiplies(t, hook->down)) {
        if (hook->read == ME_LLAMA_ACTIVATIONS)
            read_activations(hook, t);
        else
            edit_all(hook, t);
        return hook->read == ME_LLAMA_HIDDEN;
    }
    if (hook->read == ME_LLAMA_KEYS) {
        read_all(hook, t->src[1], model->d_model, 1);
        return false;
    }
    if (is_entering(hook, t))
        measure_rms(hook, t->src[0]->src[0]);
    else if (is_cached_k(hook, t)) {
        ggml_backend_tensor_get(t->src[1], hook->cells, 0, (size_t)hook->n_tokens * sizeof *hook->cells);
        hook->has_cells = true;
    } else if (is_attention(hook, t))
        measure_attention(hook, t);
    else if (t == hook->hidden)
        read_all(hook, t, model->d_model, 1);
    else
        return false; /* the final norm: the rest is for logits */
    return true;
}

bool me_hook_call(struct ggml_tensor *t, bool ask, void *user) {
    me_llama_hook *hook = user;
    if (!ask) return take(hook, t) && !hook->trouble[0];
    note(hook, t);
    return hook->active && !hook->trouble[0] && is_needed(hook, t);
}
