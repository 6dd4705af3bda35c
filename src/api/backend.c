/* Opens the engine that a backend's name stands for, and tells of the devices and the libraries below. */
#include "api/backend.h"

#include "base/memory.h"
#include "edit/carriers.h"
#include "edit/texts.h"
#include "engine/ggml/devices.h"
#include "engine/ggml/remote.h"
#include "engine/native/kernels/kernels.h"
#include "model/llama_init.h"

#include <llama.h>
#include <string.h>

static const char native[] = "native", llama[] = "llama";

static const struct {
    const char *name;
    int activation_bits;
} PROFILES[] = {{"none", 0}, {"w8a16-static", 16}, {"w8a8-static", 8}};
enum { N_PROFILES = sizeof PROFILES / sizeof PROFILES[0] };

/* Its place in the table; N_PROFILES: it is not there. */
static int find_profile(const char *name) {
    int i = 0;
    while (name && i < N_PROFILES && strcmp(PROFILES[i].name, name) != 0)
        i++;
    return i;
}

const char *me_backend_profile(const char *profile) {
    const int i = find_profile(profile);
    return i < N_PROFILES ? PROFILES[i].name : NULL;
}

/* The name without "auto" and NULL; model NULL: one that our own engines run. */
static const char *resolved(const char *name, const me_model *model) {
    const bool is_auto = name && strcmp(name, "auto") == 0;
    if (name && !is_auto) return name;
    if (model && model->why_foreign) return llama;
    const char *best = is_auto ? me_devices_best() : NULL;
    return best ? best : native;
}

mobiedit_status me_backend_check(const char *name, const char *profile, mobiedit_error *err) {
    const int i = find_profile(profile);
    name = resolved(name, NULL);
    if (i == N_PROFILES)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "there is no profile \"%.60s\": choose none, w8a16-static or w8a8-static", profile);
    if (strcmp(name, native) == 0) return me_kernels_choose(NULL, &(const me_kernels *){NULL}, err);
    if (PROFILES[i].activation_bits)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "profile %s needs the native backend, not %.60s", profile,
                       name);
    return strcmp(name, llama) == 0 ? MOBIEDIT_OK : me_devices_check(name, err);
}

const char *me_backend_name(const char *name, const me_model *model) {
    return resolved(name, model);
}

mobiedit_status me_backend_fits(const char *name, const char *profile, const me_model *model,
                                mobiedit_error *err) {
    if (!model->why_foreign) return MOBIEDIT_OK;
    if (strcmp(resolved(name, model), llama) == 0 && !PROFILES[find_profile(profile)].activation_bits)
        return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s (the backend llama runs it)", model->why_foreign);
}

/* A profile's scales are those of plain text. */
static mobiedit_status open_native(const char *profile, const me_model *model, const me_vocab *vocab,
                                   me_pool *pool, const mobiedit_model_options *options, me_engine **out,
                                   mobiedit_error *err) {
    me_sequences texts = {0};
    me_native_options ours = {.memory_bytes = options->memory_bytes,
                              .activation_bits = PROFILES[find_profile(profile)].activation_bits};
    mobiedit_status status = MOBIEDIT_OK;
    if (ours.activation_bits)
        status = me_sequences_add_texts(&texts, vocab, me_texts_background,
                                        me_texts_count(me_texts_background), err);
    ours.calibration = texts.items;
    ours.n_calibration = texts.n;
    if (status == MOBIEDIT_OK) status = me_native_open(model, pool, &ours, out, err);
    me_sequences_free(&texts);
    return status;
}

mobiedit_status me_backend_open(const char *name, const char *profile, const me_model *model,
                                const me_vocab *vocab, me_pool *pool, const mobiedit_model_options *options,
                                me_engine **out, mobiedit_error *err) {
    name = resolved(name, model);
    if (strcmp(name, native) == 0) return open_native(profile, model, vocab, pool, options, out, err);
    if (strcmp(name, llama) == 0) {
        const me_llama_options ours = {.memory_bytes = options->memory_bytes, .threads = options->threads};
        return me_llama_open(model, &ours, out, err);
    }
    const me_ggml_options ggml = {
        .backend = name, .memory_bytes = options->memory_bytes, .threads = options->threads};
    return me_devices_remote(name) ? me_remote_open(model, &ggml, out, err)
                                   : me_ggml_open(model, &ggml, out, err);
}

const char *mobiedit_llama_version(void) {
    return llama_version();
}

const char *mobiedit_ggml_version(void) {
    return ggml_version();
}

static mobiedit_device describe(ggml_backend_dev_t device) {
    mobiedit_device out = {.name = ggml_backend_dev_name(device),
                           .kind = me_device_kind(device),
                           .description = ggml_backend_dev_description(device)};
    ggml_backend_dev_memory(device, &out.memory_free, &out.memory_total);
    return out;
}

static size_t count_kernels(void) {
    size_t n = 0;
    while (me_kernels_all[n])
        n++;
    return n;
}

/* Our own kernels on this processor. names: room for all tables and a NULL. */
static mobiedit_device describe_native(const me_kernels *chosen, const char **names) {
    const mobiedit_device out = {
        .name = native, .kind = "cpu", .description = chosen->name, .kernels = names};
    for (const me_kernels *const *table = me_kernels_all; *table; table++)
        if ((*table)->supported()) *names++ = (*table)->name;
    *names = NULL;
    return out;
}

/* native and llama, on the processor. */
enum { N_OURS = 2 };

mobiedit_status mobiedit_devices(mobiedit_device **devices, size_t *n, mobiedit_error *err) {
    const me_kernels *chosen;
    ME_TRY(me_kernels_choose(NULL, &chosen, err));
    me_llama_init();
    const size_t count = ggml_backend_dev_count();
    /* One block, for one mobiedit_free: the devices, then the names of kernels. */
    mobiedit_device *list =
        me_calloc(1, (N_OURS + count) * sizeof *list + (count_kernels() + 1) * sizeof(char *));
    if (!list) return me_fail_memory(err, "the devices");
    list[0] = describe_native(chosen, (const char **)(list + N_OURS + count));
    list[1] = (mobiedit_device){.name = llama, .kind = "cpu", .description = "libllama's own graph"};
    for (size_t i = 0; i < count; i++) {
        const mobiedit_device found = list[N_OURS + i] = describe(ggml_backend_dev_get(i));
        for (int j = 0; j < N_OURS && strcmp(found.kind, "cpu") == 0; j++) {
            list[j].memory_free = found.memory_free;
            list[j].memory_total = found.memory_total;
        }
    }
    *devices = list;
    *n = N_OURS + count;
    return me_outcome(MOBIEDIT_OK, err);
}
