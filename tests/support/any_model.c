#include "any_model.h"

#include "base/memory.h"
#include "base/random.h"
#include "model/llama_init.h"
#include "model/sites.h"
#include "tiny_model.h"

#include <ggml-backend.h>
#include <gguf.h>
#include <llama.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_TENSORS = 512, ARENA_BYTES = 64 << 20 };

static const any_key COMMON[] = {
    ANY_NUMBER(ANY_INT, "context_length", 512),      ANY_NUMBER(ANY_INT, "embedding_length", 64),
    ANY_NUMBER(ANY_INT, "block_count", ANY_LAYERS),  ANY_NUMBER(ANY_INT, "feed_forward_length", 96),
    ANY_NUMBER(ANY_INT, "attention.head_count", 4),  ANY_NUMBER(ANY_INT, "attention.head_count_kv", 2),
    ANY_NUMBER(ANY_INT, "attention.key_length", 16), ANY_NUMBER(ANY_INT, "attention.value_length", 16),
    ANY_NUMBER(ANY_INT, "rope.dimension_count", 16), ANY_NUMBER(ANY_FLOAT, "rope.freq_base", 10000),
};

typedef struct {
    const any_spec *spec;
    struct gguf_context *gguf;    /* of the file */
    struct ggml_context *tensors; /* of the file */
    me_random random;
    bool failed;
} writer;

static void set_key(struct gguf_context *gguf, const char *arch, const any_key *key) {
    char name[128];
    (void)snprintf(name, sizeof name, "%s.%s", arch, key->name);
    if (key->n > 0 && key->kind == ANY_BOOL) {
        int8_t flags[ANY_LIST];
        for (int i = 0; i < key->n; i++)
            flags[i] = key->list[i] != 0;
        gguf_set_arr_data(gguf, name, GGUF_TYPE_BOOL, flags, (size_t)key->n);
    } else if (key->n > 0 && key->kind == ANY_FLOAT) {
        float values[ANY_LIST];
        for (int i = 0; i < key->n; i++)
            values[i] = (float)key->list[i];
        gguf_set_arr_data(gguf, name, GGUF_TYPE_FLOAT32, values, (size_t)key->n);
    } else if (key->n > 0)
        gguf_set_arr_data(gguf, name, GGUF_TYPE_INT32, key->list, (size_t)key->n);
    else if (key->kind == ANY_INT)
        gguf_set_val_u32(gguf, name, (uint32_t)key->value);
    else if (key->kind == ANY_FLOAT)
        gguf_set_val_f32(gguf, name, (float)key->value);
    else
        gguf_set_val_bool(gguf, name, key->value != 0);
}

static void set_metadata(struct gguf_context *gguf, const any_spec *spec) {
    const any_key epsilon = ANY_NUMBER(
        ANY_FLOAT, spec->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        1e-6);
    gguf_set_val_str(gguf, "general.architecture", spec->arch);
    gguf_set_val_str(gguf, "general.type", "model");
    for (size_t i = 0; i < sizeof COMMON / sizeof *COMMON; i++)
        set_key(gguf, spec->arch, &COMMON[i]);
    set_key(gguf, spec->arch, &epsilon);
    for (int i = 0; i < ANY_KEYS && spec->keys[i].name; i++)
        set_key(gguf, spec->arch, &spec->keys[i]);
}

static bool is_left_out(const any_spec *spec, const char *name) {
    if (me_ends_with(name, "scale")) return true;
    for (size_t i = 0; i < sizeof spec->without / sizeof *spec->without && spec->without[i]; i++)
        if (me_ends_with(name, spec->without[i])) return true;
    return false;
}

int any_spare(const any_spec *spec) {
    const me_site_arch *known = me_site_arch_find(spec->arch);
    return known && !me_has_gate(known->activation) ? 3 : 1;
}

static void fill(writer *w, const struct ggml_tensor *t, float *values) {
    const size_t n = (size_t)ggml_nelements(t);
    const bool is_vector = ggml_nrows(t) == 1;
    float mean = 0, deviation = is_vector ? 0.1F : 1.2F / sqrtf((float)t->ne[0]);
    if ((strstr(t->name, "norm") || strstr(t->name, "output_scale")) && me_ends_with(t->name, ".weight"))
        mean = 1;
    /* Gemma multiplies its embeddings by sqrt(d_model). */
    if (strcmp(t->name, "token_embd.weight") == 0)
        deviation = strncmp(w->spec->arch, "gemma", 5) == 0 ? 1 / sqrtf((float)t->ne[0]) : 0.3F;
    me_random_normals(&w->random, values, n);
    for (size_t i = 0; i < n; i++)
        values[i] = mean + deviation * values[i];
    /* The state of a recurrent layer has to fade. */
    for (size_t i = 0; i < n && me_ends_with(t->name, "ssm_a"); i++)
        values[i] = -0.5F - fabsf(values[i]);
    for (size_t i = 0; i < n && strstr(t->name, "rope_f"); i++)
        values[i] = 1 + fabsf(values[i]);
    for (size_t i = 0; i < n && strstr(t->name, "ffn_down"); i += (size_t)t->ne[0])
        memset(values + i, 0, (size_t)any_spare(w->spec) * sizeof *values);
}

static void add_tensor(struct ggml_tensor *made, void *user) {
    writer *w = user;
    float *values = me_calloc((size_t)ggml_nelements(made), sizeof *values);
    if (!values || made->type != GGML_TYPE_F32) {
        w->failed = true;
        me_free(values);
        return;
    }
    fill(w, made, values);
    ggml_backend_tensor_set(made, values, 0, ggml_nbytes(made));
    if (!is_left_out(w->spec, made->name) && gguf_find_tensor(w->gguf, made->name) < 0) {
        struct ggml_tensor *copy = ggml_new_tensor(w->tensors, GGML_TYPE_F32, ggml_n_dims(made), made->ne);
        (void)ggml_set_name(copy, made->name);
        memcpy(copy->data, values, ggml_nbytes(made));
        gguf_add_tensor(w->gguf, copy);
    }
    me_free(values);
}

bool any_model_write(const char *path, const any_spec *spec) {
    writer w = {.spec = spec, .gguf = gguf_init_empty()};
    struct llama_model_params params = llama_model_default_params();
    ggml_backend_dev_t no_devices[] = {NULL};
    params.devices = no_devices;
    params.use_extra_bufts = false;
    me_llama_init();
    me_random_seed(&w.random, 1 + spec->seed);
    w.tensors = ggml_init((struct ggml_init_params){.mem_size = ARENA_BYTES});
    struct gguf_context *metadata = gguf_init_empty();
    set_metadata(metadata, spec);
    bool ok = w.tensors && tiny_vocab_write(metadata, false);
    gguf_set_kv(w.gguf, metadata);
    struct llama_model *model = ok ? llama_model_init_from_user(metadata, add_tensor, &w, params) : NULL;
    ok = model && !w.failed && gguf_write_to_file(w.gguf, path, false);
    llama_model_free(model);
    ggml_free(w.tensors);
    gguf_free(metadata);
    gguf_free(w.gguf);
    return ok;
}
