#define _POSIX_C_SOURCE 200809L
#include "store/sidecar.h"

#include "base/backend.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/metadata.h"
#include "store/pending.h"

#include <gguf.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 3, MAX_PROMPTS = 10000, N_COUNTS = (int)ME_KINDS * (int)ME_CALIBRATION_BLOCKS };
static const char TYPE[] = "mobiedit-calibration";
static const char MEANS[] = "calibration.means";

static int64_t n_values(int d) {
    return (int64_t)ME_KINDS * d * d;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

/* NULL: out of memory. */
static struct gguf_context *describe(const me_calibration *c, const char *fingerprint) {
    const size_t bytes = ggml_tensor_overhead();
    void *memory = me_calloc(bytes, 1);
    if (!memory) return NULL;
    struct ggml_context *tensors =
        ggml_init((struct ggml_init_params){.mem_size = bytes, .mem_buffer = memory, .no_alloc = true});
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_val_str(gguf, "general.type", TYPE);
    gguf_set_val_u32(gguf, "mobiedit.calibration.version", VERSION);
    gguf_set_val_str(gguf, "mobiedit.calibration.fingerprint", fingerprint);
    gguf_set_val_i32(gguf, "mobiedit.calibration.layer", c->layer);
    gguf_set_val_i32(gguf, "mobiedit.calibration.done", c->n_done);
    gguf_set_val_i32(gguf, "mobiedit.calibration.total", c->n_total);
    gguf_set_arr_data(gguf, "mobiedit.calibration.counts", GGUF_TYPE_INT32, c->counts, N_COUNTS);
    struct ggml_tensor *means = ggml_new_tensor_3d(tensors, GGML_TYPE_F32, c->d, c->d, ME_KINDS);
    ggml_set_name(means, MEANS);
    gguf_add_tensor(gguf, means);
    ggml_free(tensors);
    me_free(memory);
    return gguf;
}

static mobiedit_status write_values(const struct gguf_context *gguf, const me_calibration *c,
                                    me_pending_file *file, mobiedit_error *err) {
    const size_t meta = gguf_get_meta_size(gguf), alignment = gguf_get_alignment(gguf);
    const size_t size = (size_t)n_values(c->d) * sizeof(float);
    char *header = me_calloc(meta + alignment, 1); /* and zeros to pad with */
    if (!header) return me_fail_memory(err, "the calibration");
    gguf_get_meta_data(gguf, header);
    mobiedit_status status = me_pending_add(file, header, meta, err);
    if (status == MOBIEDIT_OK) status = me_pending_add(file, c->means, size, err);
    if (status == MOBIEDIT_OK)
        status = me_pending_add(file, header + meta, GGML_PAD(size, alignment) - size, err);
    me_free(header);
    return status;
}

mobiedit_status me_sidecar_write(const me_calibration *c, const char *fingerprint, const char *path,
                                 mobiedit_error *err) {
    me_backend_init();
    struct gguf_context *gguf = describe(c, fingerprint);
    if (!gguf) return me_fail_memory(err, "the calibration");
    me_pending_file file = {0};
    mobiedit_status status = me_pending_open(path, &file, err);
    if (status == MOBIEDIT_OK) {
        status = write_values(gguf, c, &file, err);
        if (status == MOBIEDIT_OK) status = me_pending_finish(&file, err);
        if (status == MOBIEDIT_OK)
            status = me_pending_commit(&file, err);
        else
            me_pending_discard(&file);
    }
    gguf_free(gguf);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

/* The gguf reader ends the process where a key's type is not the one that is asked for. */
static bool get_int(const struct gguf_context *gguf, const char *key, int low, int high, int *out) {
    const int64_t id = gguf_find_key(gguf, key);
    if (id < 0) return false;
    const enum gguf_type type = gguf_get_kv_type(gguf, id);
    if (type == GGUF_TYPE_UINT32 && gguf_get_val_u32(gguf, id) <= (uint32_t)high)
        *out = (int)gguf_get_val_u32(gguf, id);
    else if (type == GGUF_TYPE_INT32)
        *out = gguf_get_val_i32(gguf, id);
    else
        return false;
    return *out >= low && *out <= high;
}

static bool get_counts(const struct gguf_context *gguf, me_calibration *c) {
    const int64_t id = gguf_find_key(gguf, "mobiedit.calibration.counts");
    if (id < 0 || gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY ||
        gguf_get_arr_type(gguf, id) != GGUF_TYPE_INT32 || gguf_get_arr_n(gguf, id) != N_COUNTS)
        return false;
    memcpy(c->counts, gguf_get_arr_data(gguf, id), sizeof c->counts);
    for (int k = 0; k < ME_KINDS; k++)
        for (int block = 0; block < ME_CALIBRATION_BLOCKS; block++)
            if (c->counts[k][block] < 0 || c->counts[k][block] > c->n_done) return false;
    return true;
}

static mobiedit_status check_keys(const struct gguf_context *gguf, const me_model *model,
                                  const char *fingerprint, const char *path, me_calibration *c,
                                  mobiedit_error *err) {
    int version;
    if (!me_gguf_says(gguf, "general.type", TYPE))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a calibration", path);
    if (!get_int(gguf, "mobiedit.calibration.version", 0, INT32_MAX, &version) || version != VERSION)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "the calibration %s is of another version: calibrate again", path);
    if (!me_gguf_says(gguf, "mobiedit.calibration.fingerprint", fingerprint))
        return me_fail(err, MOBIEDIT_E_MISMATCH,
                       "the calibration %s belongs to another model than %s: calibrate again", path,
                       model->path);
    if (!get_int(gguf, "mobiedit.calibration.layer", 0, model->n_layer - 2, &c->layer) ||
        !get_int(gguf, "mobiedit.calibration.total", 1, MAX_PROMPTS, &c->n_total) ||
        !get_int(gguf, "mobiedit.calibration.done", 0, c->n_total, &c->n_done) || !get_counts(gguf, c))
        return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is damaged", path);
    return MOBIEDIT_OK;
}

static mobiedit_status read_means(FILE *file, uint64_t file_size, const struct gguf_context *gguf,
                                  const char *path, me_calibration *c, mobiedit_error *err) {
    const int64_t id = gguf_find_tensor(gguf, MEANS), n = n_values(c->d);
    const size_t size = (size_t)n * sizeof *c->means;
    size_t begin, end;
    if (id < 0 || gguf_get_tensor_type(gguf, id) != GGML_TYPE_F32 || gguf_get_tensor_size(gguf, id) != size ||
        !me_add_size(gguf_get_data_offset(gguf), gguf_get_tensor_offset(gguf, id), &begin) ||
        !me_add_size(begin, size, &end))
        return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is damaged", path);
    if (end > file_size || end > INT64_MAX || fseeko(file, (off_t)begin, SEEK_SET) != 0 ||
        fread(c->means, sizeof *c->means, (size_t)n, file) != (size_t)n)
        return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is truncated", path);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(c->means[i]))
            return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is damaged: not a number", path);
    return MOBIEDIT_OK;
}

mobiedit_status me_sidecar_read(const me_model *model, const char *fingerprint, const char *path,
                                me_calibration *c, mobiedit_error *err) {
    me_backend_init();
    FILE *file;
    uint64_t size = 0;
    ME_TRY(me_open_file(path, &file, &size, err));
    struct gguf_context *gguf = gguf_init_from_file_ptr(file, (struct gguf_init_params){.no_alloc = true});
    mobiedit_status status = gguf ? check_keys(gguf, model, fingerprint, path, c, err)
                                  : me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a calibration", path);
    if (status == MOBIEDIT_OK) status = read_means(file, size, gguf, path, c, err);
    if (gguf) gguf_free(gguf);
    (void)fclose(file);
    return status;
}

char *me_sidecar_default_path(const me_model *model) {
    return me_path_with(model->path, ".mobiedit.calibration");
}
