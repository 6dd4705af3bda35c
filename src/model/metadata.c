/* Typed, checked access to the key-value pairs of a GGUF file, and to the bytes of its tensors. */
#define _POSIX_C_SOURCE 200809L
#include "model/metadata.h"

#include "base/memory.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

enum { KEY_MAX = 128, SHOWN_PATH_MAX = 200 };

const char *me_shown_path(const char *path) {
    size_t n = strlen(path);
    return n > SHOWN_PATH_MAX ? path + n - SHOWN_PATH_MAX : path;
}

int64_t me_meta_find(const me_metadata *meta, const char *name) {
    char key[KEY_MAX];
    int n = snprintf(key, sizeof key, "%s.%s", meta->arch, name);
    return n > 0 && n < KEY_MAX ? gguf_find_key(meta->gguf, key) : -1;
}

static mobiedit_status fail_type(const me_metadata *meta, const char *name, enum gguf_type want,
                                 mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the metadata's %s is not of type %s", meta->path, name,
                   gguf_type_name(want));
}

static mobiedit_status check_range(const me_metadata *meta, const char *name, int64_t value, int min, int max,
                                   int *out, mobiedit_error *err) {
    if (value < min || value > max)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s.%s is %lld, outside %d to %d", meta->path, meta->arch,
                       name, (long long)value, min, max);
    *out = (int)value;
    return MOBIEDIT_OK;
}

mobiedit_status me_meta_int(const me_metadata *meta, const char *name, int min, int max, int *out,
                            mobiedit_error *err) {
    int64_t id = me_meta_find(meta, name);
    if (id < 0) return MOBIEDIT_OK;
    if (gguf_get_kv_type(meta->gguf, id) != GGUF_TYPE_UINT32)
        return fail_type(meta, gguf_get_key(meta->gguf, id), GGUF_TYPE_UINT32, err);
    return check_range(meta, name, gguf_get_val_u32(meta->gguf, id), min, max, out, err);
}

mobiedit_status me_meta_need_int(const me_metadata *meta, const char *name, int min, int max, int *out,
                                 mobiedit_error *err) {
    if (me_meta_find(meta, name) < 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the metadata has no %s.%s", meta->path, meta->arch, name);
    return me_meta_int(meta, name, min, max, out, err);
}

mobiedit_status me_meta_layer_int(const me_metadata *meta, const char *name, int n_layer, int min, int max,
                                  int *out, mobiedit_error *err) {
    int64_t id = me_meta_find(meta, name);
    if (id < 0 || gguf_get_kv_type(meta->gguf, id) != GGUF_TYPE_ARRAY)
        return me_meta_int(meta, name, min, max, out, err);
    enum gguf_type type = gguf_get_arr_type(meta->gguf, id);
    if (type != GGUF_TYPE_INT32 && type != GGUF_TYPE_UINT32)
        return fail_type(meta, gguf_get_key(meta->gguf, id), GGUF_TYPE_UINT32, err);
    if (gguf_get_arr_n(meta->gguf, id) != (size_t)n_layer)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s.%s has %zu values for %d layers", meta->path,
                       meta->arch, name, gguf_get_arr_n(meta->gguf, id), n_layer);
    const int32_t *values = gguf_get_arr_data(meta->gguf, id);
    for (int i = 1; i < n_layer; i++)
        if (values[i] != values[0])
            return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: %s.%s differs between layers", meta->path,
                           meta->arch, name);
    return check_range(meta, name, values[0], min, max, out, err);
}

mobiedit_status me_meta_float(const me_metadata *meta, const char *name, float *out, bool *found,
                              mobiedit_error *err) {
    int64_t id = me_meta_find(meta, name);
    if (found) *found = id >= 0;
    if (id < 0) return MOBIEDIT_OK;
    if (gguf_get_kv_type(meta->gguf, id) != GGUF_TYPE_FLOAT32)
        return fail_type(meta, gguf_get_key(meta->gguf, id), GGUF_TYPE_FLOAT32, err);
    float value = gguf_get_val_f32(meta->gguf, id);
    if (!isfinite(value))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: %s.%s is not a finite number", meta->path, meta->arch,
                       name);
    *out = value;
    return MOBIEDIT_OK;
}

mobiedit_status me_meta_string(const me_metadata *meta, const char *key, const char **out,
                               mobiedit_error *err) {
    int64_t id = gguf_find_key(meta->gguf, key);
    if (id < 0) return MOBIEDIT_OK;
    if (gguf_get_kv_type(meta->gguf, id) != GGUF_TYPE_STRING)
        return fail_type(meta, key, GGUF_TYPE_STRING, err);
    *out = gguf_get_val_str(meta->gguf, id);
    return MOBIEDIT_OK;
}

const char *me_gguf_string(const struct gguf_context *gguf, const char *key) {
    const int64_t id = gguf_find_key(gguf, key);
    return id >= 0 && gguf_get_kv_type(gguf, id) == GGUF_TYPE_STRING ? gguf_get_val_str(gguf, id) : NULL;
}

bool me_gguf_says(const struct gguf_context *gguf, const char *key, const char *value) {
    const char *found = me_gguf_string(gguf, key);
    return found && strcmp(found, value) == 0;
}

bool me_gguf_read(FILE *file, const struct gguf_context *gguf, int64_t id, void *out, size_t size) {
    size_t begin, end;
    if (!me_add_size(gguf_get_data_offset(gguf), gguf_get_tensor_offset(gguf, id), &begin) ||
        !me_add_size(begin, size, &end) || end > INT64_MAX)
        return false;
    return fseeko(file, (off_t)begin, SEEK_SET) == 0 && fread(out, 1, size, file) == size;
}

double me_meta_number(const me_metadata *meta, int64_t id) {
    const struct gguf_context *gguf = meta->gguf;
    switch (gguf_get_kv_type(gguf, id)) {
    case GGUF_TYPE_UINT8:
        return gguf_get_val_u8(gguf, id);
    case GGUF_TYPE_INT8:
        return gguf_get_val_i8(gguf, id);
    case GGUF_TYPE_UINT16:
        return gguf_get_val_u16(gguf, id);
    case GGUF_TYPE_INT16:
        return gguf_get_val_i16(gguf, id);
    case GGUF_TYPE_UINT32:
        return gguf_get_val_u32(gguf, id);
    case GGUF_TYPE_INT32:
        return gguf_get_val_i32(gguf, id);
    case GGUF_TYPE_FLOAT32:
        return (double)gguf_get_val_f32(gguf, id);
    case GGUF_TYPE_BOOL:
        return gguf_get_val_bool(gguf, id) ? 1.0 : 0.0;
    case GGUF_TYPE_UINT64:
        return (double)gguf_get_val_u64(gguf, id);
    case GGUF_TYPE_INT64:
        return (double)gguf_get_val_i64(gguf, id);
    case GGUF_TYPE_FLOAT64:
        return gguf_get_val_f64(gguf, id);
    default:
        return NAN;
    }
}
