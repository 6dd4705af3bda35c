/* A row of a quantised tensor as integers that can be changed and put back. */
#include "store/grid.h"

#include "model/blocks.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* Some bits of an integer in its block. */
typedef struct {
    size_t byte;
    int shift;
    int width; /* 0: none */
} place;

/* Where integer i of a block has its low bits and those above, see blocks.h. */
static void find_places(enum ggml_type type, size_t i, place *low, place *high) {
    *high = (place){0};
    *low = (place){.shift = 4 * (int)(i / 16 % 2), .width = 4};
    switch (type) {
    case GGML_TYPE_Q4_0:
        low->byte = offsetof(me_q4_0, nibbles) + i % 16;
        return;
    case GGML_TYPE_Q4_1:
        low->byte = offsetof(me_q4_1, nibbles) + i % 16;
        return;
    case GGML_TYPE_Q5_0:
        low->byte = offsetof(me_q5_0, nibbles) + i % 16;
        *high = (place){.byte = offsetof(me_q5_0, fifth) + i / 8, .shift = (int)(i % 8), .width = 1};
        return;
    case GGML_TYPE_Q5_1:
        low->byte = offsetof(me_q5_1, nibbles) + i % 16;
        *high = (place){.byte = offsetof(me_q5_1, fifth) + i / 8, .shift = (int)(i % 8), .width = 1};
        return;
    case GGML_TYPE_Q8_0:
        *low = (place){.byte = offsetof(me_q8_0, q) + i, .width = 8};
        return;
    case GGML_TYPE_Q2_K:
        *low = (place){
            .byte = offsetof(me_q2_k, q) + i / 128 * 32 + i % 32, .shift = 2 * (int)(i / 32 % 4), .width = 2};
        return;
    case GGML_TYPE_Q3_K:
        *low = (place){.byte = offsetof(me_q3_k, low) + i / 128 * 32 + i % 32,
                       .shift = 2 * (int)(i / 32 % 4),
                       .width = 2};
        *high = (place){.byte = offsetof(me_q3_k, third) + i % 32, .shift = (int)(i / 32), .width = 1};
        return;
    case GGML_TYPE_IQ4_NL:
        low->byte = offsetof(me_iq4_nl, nibbles) + i % 16;
        return;
    case GGML_TYPE_IQ4_XS:
        low->byte = offsetof(me_iq4_xs, nibbles) + i / 32 * 16 + i % 16;
        return;
    case GGML_TYPE_Q4_K:
        low->byte = offsetof(me_q4_k, nibbles) + i / 64 * 32 + i % 32;
        low->shift = 4 * (int)(i / 32 % 2);
        return;
    case GGML_TYPE_Q5_K:
        low->byte = offsetof(me_q5_k, nibbles) + i / 64 * 32 + i % 32;
        low->shift = 4 * (int)(i / 32 % 2);
        *high = (place){.byte = offsetof(me_q5_k, fifth) + i % 32, .shift = (int)(i / 32), .width = 1};
        return;
    default: /* Q6_K */
        low->byte = offsetof(me_q6_k, low) + i / 128 * 64 + i % 64;
        low->shift = 4 * (int)(i / 64 % 2);
        *high = (place){.byte = offsetof(me_q6_k, high) + i / 128 * 32 + i % 32,
                        .shift = 2 * (int)(i / 32 % 4),
                        .width = 2};
        return;
    }
}

static int get_bits(const uint8_t *block, place at) {
    return block[at.byte] >> at.shift & ((1 << at.width) - 1);
}

static void set_bits(uint8_t *block, place at, int value) {
    const int mask = ((1 << at.width) - 1) << at.shift;
    block[at.byte] = (uint8_t)((block[at.byte] & ~mask) | (value << at.shift & mask));
}

int me_grid_max(enum ggml_type type) {
    switch (type) {
    case GGML_TYPE_Q2_K:
        return 3;
    case GGML_TYPE_Q3_K:
        return 7;
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_IQ4_XS:
        return 15;
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q5_K:
        return 31;
    case GGML_TYPE_Q6_K:
        return 63;
    case GGML_TYPE_Q8_0:
        return 255;
    default:
        return 0;
    }
}

static const int8_t *levels_of(enum ggml_type type) {
    return type == GGML_TYPE_IQ4_NL || type == GGML_TYPE_IQ4_XS ? ME_IQ4_LEVELS : NULL;
}

/* Q8_0 holds signed bytes: their top bit turned over, they count from 0. */
static int top_bit(enum ggml_type type) {
    return type == GGML_TYPE_Q8_0 ? 128 : 0;
}

/* all >= 0: that value for all of them; else q. */
static void write_all(enum ggml_type type, const uint8_t *q, int all, int n, uint8_t *row) {
    const int per_block = (int)ggml_blck_size(type);
    const size_t bytes = ggml_type_size(type);
    for (int i = 0; i < n; i++) {
        uint8_t *block = row + (size_t)(i / per_block) * bytes;
        const int value = (all < 0 ? q[i] : all) ^ top_bit(type);
        place low, high;
        find_places(type, (size_t)(i % per_block), &low, &high);
        set_bits(block, low, value);
        if (high.width) set_bits(block, high, value >> low.width);
    }
}

void me_grid_write(enum ggml_type type, const uint8_t *q, int n, void *row) {
    write_all(type, q, -1, n, row);
}

/* What ggml makes of the row where every integer is 0, and where every one is 1, tells zero and step without
 * a word about how the type packs its scales. Of levels, that of 1 is enough. */
void me_grid_read(enum ggml_type type, const void *row, int n, void *scratch, me_grid *grid) {
    const int per_block = (int)ggml_blck_size(type);
    const size_t bytes = ggml_type_size(type);
    const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
    grid->levels = levels_of(type);
    grid->max = me_grid_max(type);
    memcpy(scratch, row, ggml_row_size(type, n));
    write_all(type, NULL, 0, n, scratch);
    to_float(scratch, grid->zero, n);
    if (grid->levels) memset(grid->zero, 0, (size_t)n * sizeof *grid->zero);
    write_all(type, NULL, grid->levels ? ME_IQ4_UNIT : 1, n, scratch);
    to_float(scratch, grid->step, n);
    for (int i = 0; i < n; i++) {
        const uint8_t *block = (const uint8_t *)row + (size_t)(i / per_block) * bytes;
        place low, high;
        find_places(type, (size_t)(i % per_block), &low, &high);
        grid->q[i] = (uint8_t)((get_bits(block, low) | get_bits(block, high) << low.width) ^ top_bit(type));
        grid->step[i] -= grid->zero[i];
    }
}

float me_grid_value(const me_grid *grid, int i, int q) {
    return grid->zero[i] + grid->step[i] * (float)(grid->levels ? grid->levels[q] : q);
}

/* Of the levels on both sides of x the nearer. */
static int nearest_level(const int8_t *levels, int max, float x) {
    int q = 0;
    while (q < max && (float)levels[q + 1] <= x)
        q++;
    return q < max && (float)levels[q + 1] - x < x - (float)levels[q] ? q + 1 : q;
}

int me_grid_nearest(const me_grid *grid, int i, float wanted) {
    const float x = (wanted - grid->zero[i]) / grid->step[i];
    if (!isfinite(x)) return grid->q[i];
    if (grid->levels) return nearest_level(grid->levels, grid->max, x);
    const float q = roundf(x);
    return q <= 0 ? 0 : q >= (float)grid->max ? grid->max : (int)q;
}
