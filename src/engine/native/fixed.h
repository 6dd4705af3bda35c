/* Fixed-point numbers as integer hardware has them: weights int8 with a scale a row, activations int16 or
 * int8 with one step for all, sums exact. */
#ifndef ME_NATIVE_FIXED_H
#define ME_NATIVE_FIXED_H

#include "model/model.h"

/* w[i][j] = scale[i] * q[i][j], |q| <= 127 */
typedef struct {
    int64_t n_in, n_out;
    int8_t *q;    /* [n_out][n_in] */
    float *scale; /* [n_out] */
} me_fixed_matrix;

/* Room for a matrix of that shape; its rows are filled one by one. Freed with me_fixed_free in any case. */
mobiedit_status me_fixed_alloc(int64_t n_in, int64_t n_out, me_fixed_matrix *out, mobiedit_error *err);
void me_fixed_free(me_fixed_matrix *matrix);

/* Row i becomes w [n_in], rounded to the nearest: its largest value is 127 steps. */
void me_fixed_set_row(me_fixed_matrix *matrix, int64_t i, const float *w);

/* q = x / step, rounded to the nearest, beyond limit saturated (NaN counts as beyond); step 0: all 0. */
void me_fixed_quantize(const float *x, size_t n, float step, int limit, int16_t *q);

/* y[column * ldy + i] = scale[i] * step * sum over j of q[i][j] x[column][j] for rows [first, last):
 * x [n_columns][n_in], |x| <= 32767; scratch [n_in]. */
void me_fixed_matmul(const me_fixed_matrix *matrix, const int16_t *x, int n_columns, float step,
                     int64_t first, int64_t last, float *y, size_t ldy, int16_t *scratch);

#endif
