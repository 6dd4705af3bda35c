/* Folds an edit into a quantised matrix, row by row, with errors fed back by what the matrix reads. */
#include "store/fold.h"

#include "base/memory.h"
#include "store/grid.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* lambda, relative to the mean square that the samples give a value; sweeps over the row: later ones change
 * next to nothing. */
static const float RIDGE = 0.1F;
enum { MAX_SWEEPS = 8 };

/* What all rows share. */
typedef struct {
    const me_tensor *matrix;
    const me_adapter_part *edit;
    const me_key_samples *samples;
    enum ggml_type type;
    size_t n_rows, row_bytes;
    float lambda;
    float *weight; /* [n_in]: mean square of what the samples have there, and lambda */
    uint8_t *out;  /* [n_rows][row_bytes] */
    struct scratch *threads;
} fold;

/* A thread's own. */
typedef struct scratch {
    float *floats;  /* all of the following */
    float *target;  /* [n_in]: W + edit */
    float *error;   /* [n_in] */
    float *seen;    /* [n]: the error's product with each sample */
    me_grid grid;   /* of the row as it will be */
    uint8_t *bytes; /* two rows of the type, then the grid's q */
    double squares_error, squares_edit;
    bool overflow;
} scratch;

/* ---- memory ------------------------------------------------------------------------------------------ */

static bool scratch_open(const fold *f, scratch *s) {
    const size_t n_in = (size_t)f->matrix->n_in;
    s->floats = me_calloc(4 * n_in + (size_t)f->samples->n, sizeof *s->floats);
    s->bytes = me_calloc(2 * f->row_bytes + n_in, 1);
    if (!s->floats || !s->bytes) return false;
    s->target = s->floats;
    s->error = s->target + n_in;
    s->grid =
        (me_grid){.zero = s->error + n_in, .step = s->error + 2 * n_in, .q = s->bytes + 2 * f->row_bytes};
    s->seen = s->error + 3 * n_in;
    return true;
}

static void fold_close(fold *f, int n_threads) {
    for (int i = 0; f->threads && i < n_threads; i++) {
        me_free(f->threads[i].floats);
        me_free(f->threads[i].bytes);
    }
    me_free(f->threads);
    me_free(f->weight);
    me_free(f->out);
}

static bool fold_open(fold *f, int n_threads) {
    const size_t n_in = (size_t)f->matrix->n_in, n = (size_t)f->samples->n;
    f->weight = me_calloc(n_in, sizeof *f->weight);
    f->out = me_calloc(f->n_rows, f->row_bytes);
    f->threads = me_calloc((size_t)n_threads, sizeof *f->threads);
    if (!f->weight || !f->out || !f->threads) return false;
    double sum = 0;
    for (size_t i = 0; i < n_in && n > 0; i++) {
        const float *column = f->samples->columns + i * n;
        f->weight[i] = cblas_sdot((int)n, column, 1, column, 1);
        sum += (double)f->weight[i];
    }
    f->lambda = sum > 0 ? RIDGE * (float)(sum / (double)n_in) : 1;
    for (size_t i = 0; i < n_in; i++)
        f->weight[i] += f->lambda;
    for (int i = 0; i < n_threads; i++)
        if (!scratch_open(f, &f->threads[i])) return false;
    return true;
}

/* ---- one row ----------------------------------------------------------------------------------------- */

bool me_edited_row(const me_tensor *matrix, const me_adapter_part *edit, int64_t row, float *out) {
    const int64_t expert = row / matrix->n_out, within = row % matrix->n_out;
    bool changes = false;
    me_tensor_row(matrix, row, out);
    for (int r = 0; edit && r < edit->rank; r++) {
        const int64_t at = expert * edit->rank + r;
        const float b = edit->b[at * matrix->n_out + within];
        if (b == 0) continue;
        changes = true;
        cblas_saxpy((int)matrix->n_in, b, edit->a + at * matrix->n_in, 1, out, 1);
    }
    return changes;
}

/* The nearest integers on the grid of `row`, which take their places in it. */
static void round_on_grid(const fold *f, scratch *s, uint8_t *row, uint8_t *spare) {
    const int n_in = (int)f->matrix->n_in;
    me_grid_read(f->type, row, n_in, spare, &s->grid);
    for (int i = 0; i < n_in; i++)
        s->grid.q[i] = (uint8_t)me_grid_nearest(&s->grid, i, s->target[i]);
    me_grid_write(f->type, s->grid.q, n_in, row);
}

/* error = row - target */
static void find_error(const fold *f, scratch *s, const uint8_t *row) {
    const me_tensor made = {.data = row, .type = f->type, .n_in = f->matrix->n_in};
    me_tensor_row(&made, 0, s->error);
    cblas_saxpy((int)f->matrix->n_in, -1, s->target, 1, s->error, 1);
}

static double weighted_square(const fold *f, const float *error, size_t first, size_t n) {
    double sum = 0;
    for (size_t i = first; i < first + n; i++)
        sum += (double)f->weight[i] * error[i] * error[i];
    return sum;
}

/* The row on its old scales or on new ones, block by block. */
static void choose_scales(const fold *f, scratch *s, int64_t row_number, uint8_t *row) {
    const size_t n_in = (size_t)f->matrix->n_in, n = (size_t)ggml_blck_size(f->type);
    const size_t block_bytes = ggml_type_size(f->type);
    uint8_t *fresh = s->bytes, *spare = fresh + f->row_bytes;
    float *fresh_error = s->grid.zero; /* read again afterwards */
    (void)ggml_quantize_chunk(f->type, s->target, fresh, 0, 1, (int64_t)n_in, f->weight);
    if (f->type != f->matrix->type) {
        memcpy(row, fresh, f->row_bytes);
        return;
    }
    memcpy(row, (const uint8_t *)f->matrix->data + (size_t)row_number * f->row_bytes, f->row_bytes);
    round_on_grid(f, s, row, spare);
    find_error(f, s, fresh);
    memcpy(fresh_error, s->error, n_in * sizeof *fresh_error);
    find_error(f, s, row);
    for (size_t b = 0; b < n_in / n; b++)
        if (weighted_square(f, fresh_error, b * n, n) < weighted_square(f, s->error, b * n, n))
            memcpy(row + b * block_bytes, fresh + b * block_bytes, block_bytes);
}

/* One pass of coordinate descent; whether it changed anything. */
static bool sweep(const fold *f, scratch *s) {
    const int n_in = (int)f->matrix->n_in, n = f->samples->n;
    bool changed = false;
    for (int i = 0; i < n_in; i++) {
        const float *column = f->samples->columns + (size_t)i * (size_t)n;
        const float slope = cblas_sdot(n, column, 1, s->seen, 1) + f->lambda * s->error[i];
        const float now = me_grid_value(&s->grid, i, s->grid.q[i]);
        const int q = me_grid_nearest(&s->grid, i, now - slope / f->weight[i]);
        if (q == s->grid.q[i]) continue;
        s->grid.q[i] = (uint8_t)q;
        const float step = me_grid_value(&s->grid, i, q) - now;
        s->error[i] += step;
        cblas_saxpy(n, step, column, 1, s->seen, 1);
        changed = true;
    }
    return changed;
}

/* seen = the error's products with the samples */
static void look(const fold *f, scratch *s) {
    const int n_in = (int)f->matrix->n_in, n = f->samples->n;
    memset(s->seen, 0, (size_t)n * sizeof *s->seen);
    for (int i = 0; i < n_in && n > 0; i++)
        cblas_saxpy(n, s->error[i], f->samples->columns + (size_t)i * (size_t)n, 1, s->seen, 1);
}

static void feed_back(const fold *f, scratch *s, uint8_t *row) {
    const int n_in = (int)f->matrix->n_in;
    me_grid_read(f->type, row, n_in, s->bytes, &s->grid);
    look(f, s);
    for (int i = 0; i < MAX_SWEEPS && sweep(f, s); i++)
        continue;
    me_grid_write(f->type, s->grid.q, n_in, row);
}

/* Adds the row's share to the sums behind me_folded.error, and sees that all of it is finite. */
static void judge(const fold *f, scratch *s, int64_t row_number, const uint8_t *row) {
    const size_t n = (size_t)f->samples->n, n_in = (size_t)f->matrix->n_in;
    find_error(f, s, row);
    if (!me_all_finite(s->error, n_in)) s->overflow = true;
    look(f, s);
    for (size_t k = 0; k < n; k++)
        s->squares_error += (double)s->seen[k] * s->seen[k];
    float *edit = s->error;
    me_tensor_row(f->matrix, row_number, edit);
    for (size_t i = 0; i < n_in; i++)
        edit[i] = s->target[i] - edit[i];
    look(f, s);
    for (size_t k = 0; k < n; k++)
        s->squares_edit += (double)s->seen[k] * s->seen[k];
}

static void fold_row(void *context, size_t task, int thread) {
    const fold *f = context;
    const int64_t row_number = (int64_t)task;
    scratch *s = &f->threads[thread];
    uint8_t *row = f->out + task * f->row_bytes;
    const bool changes = me_edited_row(f->matrix, f->edit, row_number, s->target);
    if (!changes && f->type == f->matrix->type) {
        memcpy(row, (const uint8_t *)f->matrix->data + task * f->row_bytes, f->row_bytes);
        return;
    }
    if (!me_all_finite(s->target, (size_t)f->matrix->n_in)) {
        s->overflow = true;
        return;
    }
    if (!me_grid_max(f->type)) {
        (void)ggml_quantize_chunk(f->type, s->target, row, 0, 1, f->matrix->n_in, NULL);
    } else {
        choose_scales(f, s, row_number, row);
        find_error(f, s, row);
        if (f->samples->n) feed_back(f, s, row);
    }
    judge(f, s, row_number, row);
}

/* ---- all rows ---------------------------------------------------------------------------------------- */

mobiedit_status me_fold(const me_model *model, const me_adapter_part *edit, enum ggml_type type,
                        const me_key_samples *samples, me_pool *pool, me_folded *out, mobiedit_error *err) {
    const me_tensor *matrix = me_mlp_tensor(model, edit->layer, edit->matrix);
    const int n_threads = me_pool_threads(pool);
    fold f = {.matrix = matrix, .edit = edit, .samples = samples, .type = type};
    f.n_rows = (size_t)matrix->n_out * (size_t)me_mlp_experts(model, edit->layer);
    f.row_bytes = ggml_row_size(type, matrix->n_in);
    if (!fold_open(&f, n_threads)) {
        fold_close(&f, n_threads);
        return me_fail_memory(err, "the merged matrix");
    }
    me_pool_run(pool, f.n_rows, fold_row, &f);
    double squares_error = 0, squares_edit = 0;
    bool overflow = false;
    for (int i = 0; i < n_threads; i++) {
        squares_error += f.threads[i].squares_error;
        squares_edit += f.threads[i].squares_edit;
        overflow = overflow || f.threads[i].overflow;
    }
    if (!overflow) {
        *out = (me_folded){.layer = edit->layer,
                           .matrix = edit->matrix,
                           .type = type,
                           .data = f.out,
                           .bytes = f.n_rows * f.row_bytes,
                           .error = samples->n == 0     ? NAN
                                    : squares_error > 0 ? sqrt(squares_error / squares_edit)
                                                        : 0};
        f.out = NULL;
    }
    fold_close(&f, n_threads);
    if (!overflow) return MOBIEDIT_OK;
    char name[GGML_MAX_NAME];
    me_mlp_tensor_name(model, edit->layer, edit->matrix, name);
    return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "the edit of %s does not fit the type %s", name,
                   ggml_type_name(type));
}
