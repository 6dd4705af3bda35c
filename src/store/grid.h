/* A row of a quantised tensor as integers: value i is zero[i] + step[i] * q[i], or step[i] * level q[i] of types whose
 * integers stand for levels. The scales stay as they are in the row; the integers can be changed and put back. */
#ifndef ME_STORE_GRID_H
#define ME_STORE_GRID_H

#include <ggml.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    float *zero, *step;   /* [n] */
    uint8_t *q;           /* [n], each in [0, max] */
    const int8_t *levels; /* [max + 1], ascending; NULL: integers stand for themselves */
    int max;
} me_grid;

/* The greatest integer of the type's grid; 0 for types without one (floats). */
int me_grid_max(enum ggml_type type);

/* The row's n values, n a multiple of the type's block, into the grid's arrays. `scratch` holds a row of the type. */
void me_grid_read(enum ggml_type type, const void *row, int n, void *scratch, me_grid *grid);

/* What integer q would be as value i. */
float me_grid_value(const me_grid *grid, int i, int q);

/* The integer whose value is nearest to `wanted` as value i; q[i] if all are the same there. */
int me_grid_nearest(const me_grid *grid, int i, float wanted);

/* Puts the integers q [n] into the row; its scales stay. */
void me_grid_write(enum ggml_type type, const uint8_t *q, int n, void *row);

#endif
