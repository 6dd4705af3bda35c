/* Writes and reads a model's calibration as a GGUF file. */
#define _POSIX_C_SOURCE 200809L
#include "store/calibration_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/pending.h"
#include "model/llama_init.h"
#include "model/metadata.h"

#include <gguf.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    VERSION = 6,
    MAX_PROMPTS = 10000,
    MOST_TENSORS = 2 + 2 * (int)ME_CALIBRATION_PLACES,
    N_COUNTS = (int)ME_CALIBRATION_KINDS * (int)ME_CALIBRATION_BLOCKS
};
static const char TRIAL_LAYERS[] = "mobiedit.calibration.trial_layers",
                  TRIAL_USUAL[] = "mobiedit.calibration.trial_usual",
                  TRIAL_LOSSES[] = "mobiedit.calibration.trial_losses";
static const char TYPE[] = "mobiedit-calibration";
static const char MEANS[] = "calibration.means", TEXTS[] = "calibration.texts";
static const char *const TEXT_KEYS[ME_CALIBRATION_PLACES] = {"calibration.text_keys",
                                                             "calibration.answer_text_keys"};
static const char *const BACKGROUND_KEYS[ME_CALIBRATION_PLACES] = {"calibration.background_keys",
                                                                   "calibration.answer_background_keys"};
static const char BACKGROUND[] = "mobiedit.calibration.background",
                  ANSWER_LAYER[] = "mobiedit.calibration.answer_layer";

static int64_t n_values(int d) {
    return (int64_t)ME_CALIBRATION_KINDS * d * d;
}

static size_t texts_size(int n_texts) {
    return (size_t)n_texts * ME_CALIBRATION_TEXT_TOKENS * sizeof(int32_t);
}

static size_t keys_size(int n, int d) {
    return (size_t)n * (size_t)d * sizeof(float);
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static void describe_keys(const me_calibration *c, int place, struct ggml_context *tensors,
                          struct gguf_context *gguf) {
    const me_calibration_keys *k = &c->keys[place];
    if (k->text) {
        struct ggml_tensor *keys = ggml_new_tensor_2d(tensors, GGML_TYPE_F16, c->d, k->n_text);
        ggml_set_name(keys, TEXT_KEYS[place]);
        gguf_add_tensor(gguf, keys);
    }
    if (k->background) {
        struct ggml_tensor *keys = ggml_new_tensor_2d(tensors, GGML_TYPE_F32, c->d, k->n_background);
        ggml_set_name(keys, BACKGROUND_KEYS[place]);
        gguf_add_tensor(gguf, keys);
        gguf_set_val_u64(gguf, BACKGROUND, c->background_hash);
    }
}

/* Texts and their keys are left out while there are none. */
static void describe_tensors(const me_calibration *c, struct ggml_context *tensors,
                             struct gguf_context *gguf) {
    struct ggml_tensor *means = ggml_new_tensor_3d(tensors, GGML_TYPE_F32, c->d, c->d, ME_CALIBRATION_KINDS);
    ggml_set_name(means, MEANS);
    gguf_add_tensor(gguf, means);
    if (c->n_texts > 0) {
        struct ggml_tensor *texts =
            ggml_new_tensor_2d(tensors, GGML_TYPE_I32, ME_CALIBRATION_TEXT_TOKENS, c->n_texts);
        ggml_set_name(texts, TEXTS);
        gguf_add_tensor(gguf, texts);
    }
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++)
        describe_keys(c, p, tensors, gguf);
}

/* None where the layer was named. */
static void set_trials(struct gguf_context *gguf, const me_layer_trials *t) {
    if (t->n_layers == 0) return;
    gguf_set_arr_data(gguf, TRIAL_LAYERS, GGUF_TYPE_INT32, t->layers, (size_t)t->n_layers);
    gguf_set_val_i32(gguf, TRIAL_USUAL, t->usual);
    if (t->n_done) gguf_set_arr_data(gguf, TRIAL_LOSSES, GGUF_TYPE_FLOAT32, t->losses, (size_t)t->n_done);
}

/* NULL: out of memory. */
static struct gguf_context *describe(const me_calibration *c, const char *fingerprint) {
    const size_t bytes = MOST_TENSORS * ggml_tensor_overhead();
    void *memory = me_calloc(bytes, 1);
    if (!memory) return NULL;
    struct ggml_context *tensors =
        ggml_init((struct ggml_init_params){.mem_size = bytes, .mem_buffer = memory, .no_alloc = true});
    struct gguf_context *gguf = gguf_init_empty();
    gguf_set_val_str(gguf, "general.type", TYPE);
    gguf_set_val_u32(gguf, "mobiedit.calibration.version", VERSION);
    gguf_set_val_str(gguf, "mobiedit.calibration.fingerprint", fingerprint);
    gguf_set_val_i32(gguf, "mobiedit.calibration.layer", c->layer);
    gguf_set_val_i32(gguf, ANSWER_LAYER, c->keys[1].layer);
    gguf_set_val_i32(gguf, "mobiedit.calibration.done", c->n_done);
    gguf_set_val_i32(gguf, "mobiedit.calibration.total", c->n_total);
    gguf_set_arr_data(gguf, "mobiedit.calibration.counts", GGUF_TYPE_INT32, c->counts, N_COUNTS);
    set_trials(gguf, &c->trials);
    describe_tensors(c, tensors, gguf);
    ggml_free(tensors);
    me_free(memory);
    return gguf;
}

/* `padding` [alignment] are zeros. */
static mobiedit_status write_tensor(const void *values, size_t size, const char *padding, size_t alignment,
                                    me_pending_file *file, mobiedit_error *err) {
    ME_TRY(me_pending_add(file, values, size, err));
    return me_pending_add(file, padding, GGML_PAD(size, alignment) - size, err);
}

static mobiedit_status write_text_keys(const me_calibration_keys *k, int d, const char *padding,
                                       size_t alignment, me_pending_file *file, mobiedit_error *err) {
    const size_t n = (size_t)k->n_text * (size_t)d;
    ggml_fp16_t *rounded = me_calloc(n, sizeof *rounded);
    if (!rounded) return me_fail_memory(err, "the calibration");
    ggml_fp32_to_fp16_row(k->text, rounded, (int64_t)n);
    const mobiedit_status status = write_tensor(rounded, n * sizeof *rounded, padding, alignment, file, err);
    me_free(rounded);
    return status;
}

/* The tensors in the order in which they were described. */
static mobiedit_status write_values(const struct gguf_context *gguf, const me_calibration *c,
                                    me_pending_file *file, mobiedit_error *err) {
    const size_t meta = gguf_get_meta_size(gguf), alignment = gguf_get_alignment(gguf);
    char *header = me_calloc(meta + alignment, 1), *padding = header + meta;
    if (!header) return me_fail_memory(err, "the calibration");
    gguf_get_meta_data(gguf, header);
    mobiedit_status status = me_pending_add(file, header, meta, err);
    if (status == MOBIEDIT_OK)
        status =
            write_tensor(c->means, (size_t)n_values(c->d) * sizeof(float), padding, alignment, file, err);
    if (status == MOBIEDIT_OK && c->n_texts > 0)
        status = write_tensor(c->texts, texts_size(c->n_texts), padding, alignment, file, err);
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
        const me_calibration_keys *k = &c->keys[p];
        if (status == MOBIEDIT_OK && k->text)
            status = write_text_keys(k, c->d, padding, alignment, file, err);
        if (status == MOBIEDIT_OK && k->background)
            status =
                write_tensor(k->background, keys_size(k->n_background, c->d), padding, alignment, file, err);
    }
    me_free(header);
    return status;
}

mobiedit_status me_calibration_file_write(const me_calibration *c, const char *fingerprint, const char *path,
                                          mobiedit_error *err) {
    me_llama_init();
    struct gguf_context *gguf = describe(c, fingerprint);
    if (!gguf) return me_fail_memory(err, "the calibration");
    me_pending_file file = {0};
    mobiedit_status status = me_pending_open_private(path, &file, err);
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
    for (int k = 0; k < ME_CALIBRATION_KINDS; k++)
        for (int block = 0; block < ME_CALIBRATION_BLOCKS; block++)
            if (c->counts[k][block] < 0 || c->counts[k][block] > c->n_done) return false;
    return true;
}

/* The array's values into out, which has room for `most`; *n: how many there
 * are. None where there is no such key. */
static bool get_array(const struct gguf_context *gguf, const char *key, enum gguf_type type, size_t size,
                      int most, void *out, int *n) {
    const int64_t id = gguf_find_key(gguf, key);
    *n = 0;
    if (id < 0) return true;
    if (gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY || gguf_get_arr_type(gguf, id) != type ||
        gguf_get_arr_n(gguf, id) > (size_t)most)
        return false;
    *n = (int)gguf_get_arr_n(gguf, id);
    if (*n) memcpy(out, gguf_get_arr_data(gguf, id), (size_t)*n * size); /* of none there is no data */
    return true;
}

/* Prompts are measured when the layer has been chosen. */
static bool get_trials(const struct gguf_context *gguf, const me_model *model, me_calibration *c) {
    me_layer_trials *t = &c->trials;
    *t = (me_layer_trials){0};
    if (!get_array(gguf, TRIAL_LAYERS, GGUF_TYPE_INT32, sizeof *t->layers, ME_LAYER_CANDIDATES, t->layers,
                   &t->n_layers))
        return false;
    for (int i = 0; i < t->n_layers; i++)
        if (t->layers[i] < 0 || t->layers[i] > model->n_layer - 2) return false;
    if (t->n_layers && !get_int(gguf, TRIAL_USUAL, 0, t->n_layers - 1, &t->usual)) return false;
    if (!get_array(gguf, TRIAL_LOSSES, GGUF_TYPE_FLOAT32, sizeof *t->losses, me_layer_trials_total(t),
                   t->losses, &t->n_done))
        return false;
    for (int i = 0; i < t->n_done; i++)
        if (!isfinite(t->losses[i])) return false;
    return me_layer_trials_left(t) == 0 || c->n_done == 0;
}

static mobiedit_status check_keys(const struct gguf_context *gguf, const me_model *model,
                                  const char *fingerprint, const char *path, me_calibration *c,
                                  mobiedit_error *err) {
    int version;
    if (!me_gguf_says(gguf, "general.type", TYPE))
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a calibration", path);
    if (!get_int(gguf, "mobiedit.calibration.version", 0, INT32_MAX, &version) || version != VERSION)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "the calibration %s has another version: calibrate again",
                       path);
    if (!me_gguf_says(gguf, "mobiedit.calibration.fingerprint", fingerprint))
        return me_fail(err, MOBIEDIT_E_MISMATCH,
                       "the calibration %s belongs to another model than %s: calibrate again", path,
                       model->path);
    if (!get_int(gguf, "mobiedit.calibration.layer", 0, model->n_layer - 2, &c->layer) ||
        !get_int(gguf, ANSWER_LAYER, 0, model->n_layer - 2, &c->keys[1].layer) ||
        !get_int(gguf, "mobiedit.calibration.total", 1, MAX_PROMPTS, &c->n_total) ||
        !get_int(gguf, "mobiedit.calibration.done", 0, c->n_total, &c->n_done) || !get_counts(gguf, c) ||
        !get_trials(gguf, model, c))
        return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is damaged", path);
    c->keys[0].layer = c->layer;
    return MOBIEDIT_OK;
}

typedef struct {
    FILE *file;
    uint64_t size;
    const struct gguf_context *gguf;
    const char *path;
} source;

static mobiedit_status damaged(const source *from, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is damaged", from->path);
}

/* `size` bytes of a tensor of that type. */
static mobiedit_status read_tensor(const source *from, const char *name, enum ggml_type type, void *out,
                                   size_t size, mobiedit_error *err) {
    const int64_t id = gguf_find_tensor(from->gguf, name);
    if (id < 0 || gguf_get_tensor_type(from->gguf, id) != type ||
        gguf_get_tensor_size(from->gguf, id) != size)
        return damaged(from, err);
    if (!me_gguf_read(from->file, from->gguf, id, out, size))
        return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is truncated", from->path);
    return MOBIEDIT_OK;
}

static mobiedit_status check_finite(const source *from, const float *values, int64_t n, mobiedit_error *err) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return me_fail(err, MOBIEDIT_E_FORMAT, "the calibration %s is damaged: not a number", from->path);
    return MOBIEDIT_OK;
}

static mobiedit_status read_means(const source *from, me_calibration *c, mobiedit_error *err) {
    const int64_t n = n_values(c->d);
    ME_TRY(read_tensor(from, MEANS, GGML_TYPE_F32, c->means, (size_t)n * sizeof *c->means, err));
    return check_finite(from, c->means, n, err);
}

/* Whether a text has tokens of the vocabulary, one at least, and nothing behind its end. */
static bool is_text(const int32_t *row, int n_vocab) {
    int n = 0;
    while (n < ME_CALIBRATION_TEXT_TOKENS && row[n] >= 0 && row[n] < n_vocab)
        n++;
    if (n == 0) return false;
    while (n < ME_CALIBRATION_TEXT_TOKENS && row[n] == ME_NO_TOKEN)
        n++;
    return n == ME_CALIBRATION_TEXT_TOKENS;
}

static mobiedit_status read_texts(const source *from, int n_vocab, me_calibration *c, mobiedit_error *err) {
    const int64_t id = gguf_find_tensor(from->gguf, TEXTS);
    c->n_texts = 0;
    if (id < 0) return MOBIEDIT_OK;
    const size_t n = gguf_get_tensor_size(from->gguf, id) / texts_size(1);
    if (n > ME_CALIBRATION_TEXTS) return damaged(from, err);
    ME_TRY(read_tensor(from, TEXTS, GGML_TYPE_I32, c->texts, texts_size((int)n), err));
    for (size_t i = 0; i < n; i++)
        if (!is_text(c->texts + i * ME_CALIBRATION_TEXT_TOKENS, n_vocab)) return damaged(from, err);
    c->n_texts = (int)n;
    return MOBIEDIT_OK;
}

/* text [n] */
static mobiedit_status read_rounded(const source *from, const char *name, ggml_fp16_t *rounded, int64_t n,
                                    float *text, mobiedit_error *err) {
    ME_TRY(read_tensor(from, name, GGML_TYPE_F16, rounded, (size_t)n * sizeof *rounded, err));
    ggml_fp16_to_fp32_row(rounded, text, n);
    return check_finite(from, text, n, err);
}

static mobiedit_status read_text_keys(const source *from, me_calibration *c, int place, mobiedit_error *err) {
    me_calibration_keys *k = &c->keys[place];
    me_free(k->text);
    k->text = NULL;
    if (gguf_find_tensor(from->gguf, TEXT_KEYS[place]) < 0) return MOBIEDIT_OK;
    k->n_text = 0;
    for (int i = 0; i < c->n_texts; i++)
        k->n_text += me_calibration_text_length(c->texts + (size_t)i * ME_CALIBRATION_TEXT_TOKENS);
    const size_t n = (size_t)k->n_text * (size_t)c->d;
    if (n == 0) return damaged(from, err);
    ggml_fp16_t *rounded = me_calloc(n, sizeof *rounded);
    k->text = me_calloc(n, sizeof *k->text);
    const mobiedit_status status =
        rounded && k->text ? read_rounded(from, TEXT_KEYS[place], rounded, (int64_t)n, k->text, err)
                           : me_fail_memory(err, "the calibration");
    me_free(rounded);
    return status;
}

static bool has_background(const struct gguf_context *gguf, uint64_t hash) {
    const int64_t id = gguf_find_key(gguf, BACKGROUND);
    return id >= 0 && gguf_get_kv_type(gguf, id) == GGUF_TYPE_UINT64 && gguf_get_val_u64(gguf, id) == hash;
}

/* Keys of other sentences are as good as none. */
static mobiedit_status read_background_keys(const source *from, me_calibration *c, int place,
                                            mobiedit_error *err) {
    me_calibration_keys *k = &c->keys[place];
    me_free(k->background);
    k->background = NULL;
    k->n_background = 0;
    const int64_t id = gguf_find_tensor(from->gguf, BACKGROUND_KEYS[place]);
    if (id < 0 || !has_background(from->gguf, c->background_hash)) return MOBIEDIT_OK;
    const size_t size = gguf_get_tensor_size(from->gguf, id), row = keys_size(1, c->d);
    const size_t n = row > 0 ? size / row : 0;
    /* More than the file has would only be found out once there is memory for it. */
    if (n == 0 || size > from->size || n > INT_MAX) return damaged(from, err);
    k->background = me_calloc(size, 1);
    if (!k->background) return me_fail_memory(err, "the calibration");
    k->n_background = (int)n;
    ME_TRY(read_tensor(from, BACKGROUND_KEYS[place], GGML_TYPE_F32, k->background, keys_size((int)n, c->d),
                       err));
    return check_finite(from, k->background, (int64_t)n * c->d, err);
}

static mobiedit_status read_tensors(const source *from, int n_vocab, me_calibration *c, mobiedit_error *err) {
    ME_TRY(read_means(from, c, err));
    ME_TRY(read_texts(from, n_vocab, c, err));
    for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
        ME_TRY(read_text_keys(from, c, p, err));
        ME_TRY(read_background_keys(from, c, p, err));
    }
    return MOBIEDIT_OK;
}

mobiedit_status me_calibration_file_read(const me_model *model, const char *fingerprint, const char *path,
                                         me_calibration *c, mobiedit_error *err) {
    me_llama_init();
    FILE *file;
    uint64_t size = 0;
    ME_TRY(me_open_file(path, &file, &size, err));
    struct gguf_context *gguf = gguf_init_from_file_ptr(file, (struct gguf_init_params){.no_alloc = true});
    mobiedit_status status = gguf ? check_keys(gguf, model, fingerprint, path, c, err)
                                  : me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a calibration", path);
    const source from = {.file = file, .size = size, .gguf = gguf, .path = path};
    if (status == MOBIEDIT_OK) status = read_tensors(&from, model->n_vocab, c, err);
    if (gguf) gguf_free(gguf);
    (void)fclose(file);
    return status;
}

char *me_calibration_file_default_path(const me_model *model) {
    return me_strjoin(model->path, MOBIEDIT_CALIBRATION_SUFFIX);
}
