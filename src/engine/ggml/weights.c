/* Weights on their devices: mapped where the device can use the files' pages, else copied once. */
#include "engine/ggml/ggml_engine.h"

#include "base/memory.h"

#include <stddef.h>
#include <stdint.h>

/* Which tensor of the model goes where. */
typedef struct {
    size_t from; /* in me_layer */
    size_t to;   /* in me_ggml_layer */
    bool matrix; /* stays in its type; vectors become float32 */
} part;

#define PART(name, matrix)                                                                                   \
    { offsetof(me_layer, name), offsetof(me_ggml_layer, name), matrix }

static const part PARTS[] = {
    PART(attn_norm, false), PART(wq, true),      PART(wk, true),      PART(wv, true),
    PART(wo, true),         PART(bq, false),     PART(bk, false),     PART(bv, false),
    PART(bo, false),        PART(q_norm, false), PART(k_norm, false), PART(post_attn_norm, false),
    PART(ffn_norm, false),  PART(gate, true),    PART(up, true),      PART(down, true),
    PART(gate_b, false),    PART(up_b, false),   PART(down_b, false), PART(post_ffn_norm, false),
};
enum { N_PARTS = sizeof PARTS / sizeof *PARTS };

/* ---- stores ------------------------------------------------------------------------------------------ */

static struct ggml_context *new_context(size_t n_tensors) {
    const struct ggml_init_params params = {.mem_size = (n_tensors + 1) * ggml_tensor_overhead(),
                                            .no_alloc = true};
    return ggml_init(params);
}

mobiedit_status me_store_open(me_ggml_store *store, size_t n_tensors, mobiedit_error *err) {
    store->context = new_context(n_tensors);
    return store->context ? MOBIEDIT_OK : me_fail_memory(err, "tensors");
}

mobiedit_status me_store_allocate(me_ggml_store *store, const me_ggml_device *device, mobiedit_error *err) {
    if (!ggml_get_first_tensor(store->context)) return MOBIEDIT_OK;
    store->buffer = ggml_backend_alloc_ctx_tensors_from_buft(store->context,
                                                             ggml_backend_dev_buffer_type(device->device));
    if (!store->buffer)
        return me_fail(err, MOBIEDIT_E_MEMORY, "out of memory on %s", ggml_backend_dev_name(device->device));
    return MOBIEDIT_OK;
}

void me_store_close(me_ggml_store *store) {
    if (store->buffer) ggml_backend_buffer_free(store->buffer);
    if (store->context) ggml_free(store->context);
    *store = (me_ggml_store){0};
}

void me_tensor_put(struct ggml_tensor *tensor, const void *data) {
    ggml_backend_tensor_set(tensor, data, 0, ggml_nbytes(tensor));
}

void me_tensor_take(const struct ggml_tensor *tensor, void *data) {
    ggml_backend_tensor_get(tensor, data, 0, ggml_nbytes(tensor));
}

/* ---- where a weight goes ----------------------------------------------------------------------------- */

/* Whether the device can multiply by a matrix of this type and size. Asked of a matrix in an empty buffer of
 * the device, since some say no to any other. */
static bool multiplies(const me_ggml_device *device, const me_tensor *weight) {
    struct ggml_context *context = new_context(3);
    if (!context) return false;
    struct ggml_tensor *matrix = ggml_new_tensor_2d(context, weight->type, weight->n_in, weight->n_out);
    struct ggml_tensor *columns = ggml_new_tensor_2d(context, GGML_TYPE_F32, weight->n_in, 32);
    struct ggml_tensor *product = ggml_mul_mat(context, matrix, columns);
    matrix->buffer = ggml_backend_buft_alloc_buffer(ggml_backend_dev_buffer_type(device->device), 0);
    bool can = ggml_backend_dev_supports_op(device->device, product);
    ggml_backend_buffer_free(matrix->buffer);
    ggml_free(context);
    return can;
}

static me_ggml_device *device_for(me_ggml *engine, const me_tensor *weight, int wanted) {
    me_ggml_device *device = &engine->devices[wanted];
    return multiplies(device, weight) ? device : &engine->devices[engine->n_devices - 1];
}

/* Layers are dealt out in proportion to the devices' free memory, in equal parts where that is not known. The
 * CPU behind other devices gets none. */
static void deal_layers(me_ggml *engine) {
    int n = engine->n_devices > 1 ? engine->n_devices - 1 : 1, n_layer = engine->base.model->n_layer;
    double share[ME_GGML_DEVICES], sum = 0;
    bool known = true;
    for (int i = 0; i < n; i++) {
        size_t free = 0, total = 0;
        ggml_backend_dev_memory(engine->devices[i].device, &free, &total);
        known = known && free > 0;
        share[i] = (double)free;
    }
    for (int i = 0; i < n; i++) {
        sum += known ? share[i] : 1;
        share[i] = sum;
    }
    for (int layer = 0, device = 0; layer < n_layer; layer++) {
        while (device < n - 1 && (layer + 0.5) / n_layer > share[device] / sum)
            device++;
        engine->layers[layer].device = device;
    }
}

/* ---- making the tensors ------------------------------------------------------------------------------ */

/* The mapped file that the weight lies in, as the device has it; NULL: it does not. */
static ggml_backend_buffer_t map_of(const me_model *model, const me_ggml_device *device,
                                    const me_tensor *weight) {
    const uintptr_t data = (uintptr_t)weight->data;
    for (int i = 0; i < model->n_files && device->maps; i++) {
        const uintptr_t begin = (uintptr_t)model->files[i].map;
        if (data >= begin && data - begin < model->files[i].size) return device->maps[i];
    }
    return NULL;
}

/* Makes the matrix point into the mapped file, where the device can have it there. */
static struct ggml_tensor *map_matrix(const me_model *model, const me_ggml_device *device,
                                      const me_tensor *weight) {
    ggml_backend_buffer_t map = map_of(model, device, weight);
    if (!map) return NULL;
    struct ggml_tensor *matrix =
        ggml_new_tensor_2d(device->mapped, weight->type, weight->n_in, weight->n_out);
    const char *end = (const char *)ggml_backend_buffer_get_base(map) + ggml_backend_buffer_get_size(map);
    size_t bytes = ggml_backend_buffer_get_alloc_size(map, matrix);
    if ((size_t)(end - (const char *)weight->data) < bytes) return NULL;
    if (ggml_backend_tensor_alloc(map, matrix, (void *)weight->data) != GGML_STATUS_SUCCESS) return NULL;
    return matrix;
}

static struct ggml_tensor *new_matrix(me_ggml *engine, const me_tensor *weight, int wanted) {
    if (!weight->data) return NULL;
    me_ggml_device *device = device_for(engine, weight, wanted);
    struct ggml_tensor *mapped = map_matrix(engine->base.model, device, weight);
    return mapped ? mapped
                  : ggml_new_tensor_2d(device->own.context, weight->type, weight->n_in, weight->n_out);
}

static struct ggml_tensor *new_vector(me_ggml *engine, const me_tensor *vector, int device) {
    if (!vector->data) return NULL;
    return ggml_new_tensor_1d(engine->devices[device].own.context, GGML_TYPE_F32, vector->n_in);
}

static const me_tensor *source_of(const me_layer *layer, const part *p) {
    return (const me_tensor *)((const char *)layer + p->from);
}

static struct ggml_tensor **place_of(me_ggml_layer *layer, const part *p) {
    return (struct ggml_tensor **)((char *)layer + p->to);
}

static void make_tensors(me_ggml *engine) {
    const me_model *model = engine->base.model;
    for (int i = 0; i < model->n_layer; i++) {
        const me_layer *from = &model->layers[i];
        me_ggml_layer *to = &engine->layers[i];
        for (int p = 0; p < N_PARTS; p++)
            *place_of(to, &PARTS[p]) = PARTS[p].matrix
                                           ? new_matrix(engine, source_of(from, &PARTS[p]), to->device)
                                           : new_vector(engine, source_of(from, &PARTS[p]), to->device);
        if (from->rope.freq_factors)
            to->rope_factors = ggml_new_tensor_1d(engine->devices[to->device].own.context, GGML_TYPE_F32,
                                                  from->rope.dims / 2);
    }
    int last = engine->layers[model->n_layer - 1].device;
    engine->output_norm = new_vector(engine, &model->output_norm, last);
    engine->output = new_matrix(engine, &model->output, last);
}

/* ---- filling them ------------------------------------------------------------------------------------ */

static void load_matrix(struct ggml_tensor *to, const me_tensor *from) {
    if (to && to->data != from->data) ggml_backend_tensor_set(to, from->data, 0, ggml_nbytes(to));
}

static mobiedit_status load_vector(struct ggml_tensor *to, const me_tensor *from, mobiedit_error *err) {
    if (!to) return MOBIEDIT_OK;
    float *values = me_calloc((size_t)from->n_in, sizeof *values);
    if (!values) return me_fail_memory(err, "norm weights");
    me_tensor_row(from, 0, values);
    me_tensor_put(to, values);
    me_free(values);
    return MOBIEDIT_OK;
}

static mobiedit_status load_layer(const me_ggml *engine, int index, mobiedit_error *err) {
    const me_layer *from = &engine->base.model->layers[index];
    me_ggml_layer *to = &engine->layers[index];
    for (int p = 0; p < N_PARTS; p++) {
        struct ggml_tensor *tensor = *place_of(to, &PARTS[p]);
        const me_tensor *source = source_of(from, &PARTS[p]);
        if (PARTS[p].matrix)
            load_matrix(tensor, source);
        else
            ME_TRY(load_vector(tensor, source, err));
    }
    if (to->rope_factors) me_tensor_put(to->rope_factors, from->rope.freq_factors);
    return MOBIEDIT_OK;
}

static mobiedit_status load_tensors(const me_ggml *engine, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    for (int i = 0; i < model->n_layer; i++)
        ME_TRY(load_layer(engine, i, err));
    load_matrix(engine->output, &model->output);
    return load_vector(engine->output_norm, &model->output_norm, err);
}

/* ---- opening ----------------------------------------------------------------------------------------- */

static size_t largest_matrix(const me_model *model) {
    size_t largest = model->output.row_bytes * (size_t)model->output.n_out;
    for (int i = 0; i < model->n_layer; i++)
        for (int p = 0; p < N_PARTS; p++) {
            const me_tensor *tensor = source_of(&model->layers[i], &PARTS[p]);
            size_t bytes = tensor->data ? tensor->row_bytes * (size_t)tensor->n_out : 0;
            if (bytes > largest) largest = bytes;
        }
    return largest;
}

static mobiedit_status map_files(const me_model *model, me_ggml_device *device, mobiedit_error *err) {
    device->maps = me_calloc((size_t)model->n_files, sizeof *device->maps);
    if (!device->maps) return me_fail_memory(err, "tensors");
    for (int i = 0; i < model->n_files; i++) {
        device->maps[i] = ggml_backend_dev_buffer_from_host_ptr(device->device, (void *)model->files[i].map,
                                                                model->files[i].size, largest_matrix(model));
        if (device->maps[i])
            ggml_backend_buffer_set_usage(device->maps[i], GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    }
    return MOBIEDIT_OK;
}

static mobiedit_status open_device(me_ggml *engine, me_ggml_device *device, mobiedit_error *err) {
    const me_model *model = engine->base.model;
    size_t n_tensors = (size_t)model->n_layer * (N_PARTS + 1) + 2;
    struct ggml_backend_dev_props props;
    ggml_backend_dev_get_props(device->device, &props);
    if (props.caps.buffer_from_host_ptr) {
        ME_TRY(map_files(model, device, err));
        device->mapped = new_context(n_tensors);
        if (!device->mapped) return me_fail_memory(err, "tensors");
    }
    return me_store_open(&device->own, n_tensors, err);
}

mobiedit_status me_weights_open(me_ggml *engine, mobiedit_error *err) {
    engine->layers = me_calloc((size_t)engine->base.model->n_layer, sizeof *engine->layers);
    if (!engine->layers) return me_fail_memory(err, "the layers");
    for (int i = 0; i < engine->n_devices; i++)
        ME_TRY(open_device(engine, &engine->devices[i], err));
    deal_layers(engine);
    make_tensors(engine);
    for (int i = 0; i < engine->n_devices; i++) {
        ME_TRY(me_store_allocate(&engine->devices[i].own, &engine->devices[i], err));
        if (engine->devices[i].own.buffer)
            ggml_backend_buffer_set_usage(engine->devices[i].own.buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    }
    return load_tensors(engine, err);
}

void me_weights_close(me_ggml *engine) {
    for (int i = 0; i < engine->n_devices; i++) {
        me_ggml_device *device = &engine->devices[i];
        me_store_close(&device->own);
        for (int j = 0; j < engine->base.model->n_files && device->maps; j++)
            if (device->maps[j]) ggml_backend_buffer_free(device->maps[j]);
        me_free(device->maps);
        if (device->mapped) ggml_free(device->mapped);
    }
    me_free(engine->layers);
}
