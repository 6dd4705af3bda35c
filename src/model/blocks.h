/* The block layouts of ggml's quant types, as GGUF files hold them (little-endian, no padding).
 *
 * d, m, dmin are IEEE half floats. A nibble byte holds value i in its low and value i + half in its high
 * four bits, half being half the run of values that the bytes cover. */
#ifndef ME_MODEL_BLOCKS_H
#define ME_MODEL_BLOCKS_H

#include <assert.h>
#include <stdint.h>

enum { ME_SUPER = 256 }; /* values of a K-quant's super-block */

/* w = d * (q - 8) */
typedef struct {
    uint16_t d;
    uint8_t nibbles[16];
} me_q4_0;

/* w = d * q + m */
typedef struct {
    uint16_t d, m;
    uint8_t nibbles[16];
} me_q4_1;

/* w = d * (q - 16); bit i of `fifth` is bit 4 of value i */
typedef struct {
    uint16_t d;
    uint8_t fifth[4];
    uint8_t nibbles[16];
} me_q5_0;

/* w = d * q + m */
typedef struct {
    uint16_t d, m;
    uint8_t fifth[4];
    uint8_t nibbles[16];
} me_q5_1;

/* w = d * q, q an int8 */
typedef struct {
    uint16_t d;
    uint8_t q[32];
} me_q8_0;

/* Eight sub-blocks of 32: w = d * scale * q - dmin * min, with 6-bit scale and min of the sub-block packed
 * in `scales`. 32 nibble bytes for each pair of sub-blocks. */
typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t nibbles[128];
} me_q4_k;

/* As Q4_K; bit j of fifth[i] is bit 4 of value i of sub-block j. */
typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t fifth[32];
    uint8_t nibbles[128];
} me_q5_k;

/* Sixteen sub-blocks of 16: w = d * scale * (q - 32). For each half of 128 values: 64 bytes `low` (low four
 * bits of values i and i + 64) and 32 bytes `high` (two bits each of values i, i + 32, i + 64, i + 96). */
typedef struct {
    uint8_t low[128];
    uint8_t high[64];
    int8_t scales[16];
    uint16_t d;
} me_q6_k;

/* As Q6_K with w = d * scale * (q - 4) and 6-bit scales. For each half of 128 values 32 bytes `low`, which hold the
 * low two bits of values i, i + 32, i + 64, i + 96; bit j of third[i] is bit 2 of value i of the run j of 32. The low
 * four bits of scales 0-7 are low nibbles, those of 8-15 high ones of the first eight bytes; the high two of scales i,
 * i + 4, i + 8, i + 12 are in byte 8 + i. They count from -32. */
typedef struct {
    uint8_t third[32];
    uint8_t low[64];
    uint8_t scales[12];
    uint16_t d;
} me_q3_k;

/* Sixteen sub-blocks of 16: w = d * scale * q - dmin * min, the 4-bit scale and min of a sub-block the low and the high
 * nibble of its byte. Integers as the low bits of Q3_K. */
typedef struct {
    uint8_t scales[16];
    uint8_t q[64];
    uint16_t d, dmin;
} me_q2_k;

/* w = d * level q, see ME_IQ4_LEVELS */
typedef struct {
    uint16_t d;
    uint8_t nibbles[16];
} me_iq4_nl;

/* Eight sub-blocks as IQ4_NL's: w = d * (scale - 32) * level q. The scale of sub-block i is four bits of `low_scales`, a
 * nibble each, and two of `high_scales`. */
typedef struct {
    uint16_t d;
    uint16_t high_scales;
    uint8_t low_scales[4];
    uint8_t nibbles[128];
} me_iq4_xs;

/* What the four bits of IQ4_NL and IQ4_XS stand for: denser near zero, as weights are. */
enum { ME_IQ4_N = 16, ME_IQ4_UNIT = 8 /* whose level is 1 */ };
static const int8_t ME_IQ4_LEVELS[ME_IQ4_N] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

static_assert(sizeof(me_q4_0) == 18 && sizeof(me_q4_1) == 20, "4-bit blocks");
static_assert(sizeof(me_q5_0) == 22 && sizeof(me_q5_1) == 24 && sizeof(me_q8_0) == 34, "5- and 8-bit blocks");
static_assert(sizeof(me_q4_k) == 144 && sizeof(me_q5_k) == 176 && sizeof(me_q6_k) == 210, "K blocks");
static_assert(sizeof(me_q3_k) == 110 && sizeof(me_q2_k) == 84, "K blocks of few bits");
static_assert(sizeof(me_iq4_nl) == 18 && sizeof(me_iq4_xs) == 136, "blocks with levels");

#endif
