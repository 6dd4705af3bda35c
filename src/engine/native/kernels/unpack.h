/* Rows of any supported weight type as plain values: the one place that knows the file's formats.
 *
 * Everything here is static and in plain C: each table's source includes it and is compiled with its own
 * instruction set, which the compiler then uses for these loops. */
#ifndef ME_KERNELS_UNPACK_H
#define ME_KERNELS_UNPACK_H

#include "engine/native/kernels/kernels.h"
#include "model/blocks.h"

#include <string.h>
#ifdef __F16C__
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { ME_SUPER_BLOCKS = ME_SUPER / ME_BLOCK };

/* Blocks of 32 of one row. */
typedef struct {
    uint8_t *q;   /* [block][32], in [0, 2^bits) */
    float *scale; /* [block]: w = scale * (q - offset) + min */
    float *min;   /* [block], written only by formats with a min */
    /* [block][2], only by formats with half scales: w = scale * half_scale * (q - offset), and of half mins, too, if they
     * have mins: w = scale * half_scale * q + min * half_min */
    int8_t *half_scales, *half_mins;
} me_row;

/* What tiles distinguish. */
typedef struct {
    int bits;
    bool has_min;
    bool has_halves;
} me_kind;

typedef struct {
    enum ggml_type type;
    me_kind kind;
    int offset;
    void (*unpack)(const void *data, int first, int n, const me_row *row); /* blocks [first, first + n); both
                                                                            * multiples of 8 for K-quants */
} me_format;

static inline float me_half(uint16_t bits) {
#ifdef __F16C__
    return _cvtsh_ss(bits);
#elif defined(__aarch64__)
    __fp16 half;
    memcpy(&half, &bits, sizeof half);
    return half;
#else
    /* Shift the exponent and fraction into place, then let a multiplication by 2^112 rebias the exponent:
     * exact, subnormal halves included. Infinities and NaNs have exponent 31 and are set by hand. */
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = (uint32_t)(bits & 0x7fff) << 13;
    float value;
    if (rest >= 0x7c00u << 13) {
        rest |= 0x7f800000u;
        memcpy(&value, &rest, sizeof value);
    } else {
        memcpy(&value, &rest, sizeof value);
        value *= 0x1p112f;
    }
    memcpy(&rest, &value, sizeof rest);
    rest |= sign;
    memcpy(&value, &rest, sizeof value);
    return value;
#endif
}

static inline float me_bfloat(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

typedef uint8_t me_byte16 __attribute__((vector_size(16)));
typedef uint8_t me_byte32
    __attribute__((vector_size(32))); /* two of them, where a processor has no longer ones */

/* 16 nibble bytes -> 16 low values, then 16 high values. */
static inline void me_split_16(const uint8_t *bytes, me_byte32 *values) {
    me_byte16 both, low, high;
    memcpy(&both, bytes, sizeof both);
    low = both & 15, high = both >> 4;
    *values = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
                                      18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
}

/* 32 nibble bytes -> 32 values to `low`, 32 to `high`. */
static inline void me_split_32(const uint8_t *bytes, uint8_t *low, uint8_t *high) {
    me_byte32 both, part;
    memcpy(&both, bytes, sizeof both);
    part = both & 15;
    memcpy(low, &part, sizeof part);
    part = both >> 4;
    memcpy(high, &part, sizeof part);
}

/* Bits [shift, shift + width) of 32 bytes into bits `to` and up of 32 values. */
static inline void me_add_bits(const uint8_t *bytes, int shift, int width, int to, me_byte32 *values) {
    me_byte32 all;
    memcpy(&all, bytes, sizeof all);
    *values |= (all >> (uint8_t)shift & (uint8_t)((1 << width) - 1)) << (uint8_t)to;
}

static inline void me_add_high_bits(const uint8_t *bytes, int shift, int width, uint8_t *q) {
    me_byte32 values;
    memcpy(&values, q, sizeof values);
    me_add_bits(bytes, shift, width, 4, &values);
    memcpy(q, &values, sizeof values);
}

/* Bit i of `bits` into bit 4 of value i of 32: a copy of the byte in each of eight bytes, of which byte
 * i keeps bit i. */
static inline void me_add_fifth_bits(const uint8_t bits[4], me_byte32 *values) {
    typedef uint32_t word8 __attribute__((vector_size(32)));
    const me_byte32 mask = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                            1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint32_t word;
    memcpy(&word, bits, sizeof word);
    const me_byte32 all = (me_byte32)((word8){0} + word);
    const me_byte32 spread =
        __builtin_shufflevector(all, all, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 18, 18, 18, 18, 18,
                                18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19);
    *values |= (me_byte32)((spread & mask) == mask) & 16;
}

/* The halves at the start of n blocks, `bytes` from one to the next: one of each to `first`, and where
 * `second` is not NULL the one behind it. */
static inline void me_block_halves(const void *blocks, size_t bytes, int n, float *first, float *second) {
    const char *at = blocks;
#if defined(__AVX2__) && defined(__F16C__)
    if (n == 8) {
        int32_t words[8];
        for (int i = 0; i < 8; i++)
            memcpy(words + i, at + (size_t)i * bytes, sizeof *words);
        const __m256i both =
            _mm256_setr_epi32(words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7]);
        /* Packing works on 128-bit lanes. */
        const __m256i packed =
            _mm256_permute4x64_epi64(_mm256_packus_epi32(_mm256_and_si256(both, _mm256_set1_epi32(0xffff)),
                                                         _mm256_srli_epi32(both, 16)),
                                     0xd8);
        _mm256_storeu_ps(first, _mm256_cvtph_ps(_mm256_castsi256_si128(packed)));
        if (second) _mm256_storeu_ps(second, _mm256_cvtph_ps(_mm256_extracti128_si256(packed, 1)));
        return;
    }
#endif
    for (int i = 0; i < n; i++, at += bytes) {
        uint16_t halves[2];
        memcpy(halves, at, sizeof halves);
        first[i] = me_half(halves[0]);
        if (second) second[i] = me_half(halves[1]);
    }
}

static void me_unpack_q4_0(const void *data, int first, int n, const me_row *row) {
    const me_q4_0 *block = (const me_q4_0 *)data + first;
    for (int b = 0; b < n; b++) {
        me_byte32 values;
        me_split_16(block[b].nibbles, &values);
        memcpy(row->q + b * ME_BLOCK, &values, sizeof values);
    }
    me_block_halves(block, sizeof *block, n, row->scale, NULL);
}

static void me_unpack_q4_1(const void *data, int first, int n, const me_row *row) {
    const me_q4_1 *block = (const me_q4_1 *)data + first;
    for (int b = 0; b < n; b++) {
        me_byte32 values;
        me_split_16(block[b].nibbles, &values);
        memcpy(row->q + b * ME_BLOCK, &values, sizeof values);
    }
    me_block_halves(block, sizeof *block, n, row->scale, row->min);
}

static void me_unpack_q5_0(const void *data, int first, int n, const me_row *row) {
    const me_q5_0 *block = (const me_q5_0 *)data + first;
    for (int b = 0; b < n; b++) {
        me_byte32 values;
        me_split_16(block[b].nibbles, &values);
        me_add_fifth_bits(block[b].fifth, &values);
        memcpy(row->q + b * ME_BLOCK, &values, sizeof values);
    }
    me_block_halves(block, sizeof *block, n, row->scale, NULL);
}

static void me_unpack_q5_1(const void *data, int first, int n, const me_row *row) {
    const me_q5_1 *block = (const me_q5_1 *)data + first;
    for (int b = 0; b < n; b++) {
        me_byte32 values;
        me_split_16(block[b].nibbles, &values);
        me_add_fifth_bits(block[b].fifth, &values);
        memcpy(row->q + b * ME_BLOCK, &values, sizeof values);
    }
    me_block_halves(block, sizeof *block, n, row->scale, row->min);
}

static void me_unpack_q8_0(const void *data, int first, int n, const me_row *row) {
    const me_q8_0 *block = (const me_q8_0 *)data + first;
    for (int b = 0; b < n; b++) {
        me_byte32 values;
        memcpy(&values, block[b].q, sizeof values);
        values ^= 0x80; /* + 128 */
        memcpy(row->q + b * ME_BLOCK, &values, sizeof values);
    }
    me_block_halves(block, sizeof *block, n, row->scale, NULL);
}

/* Scales and mins of the eight sub-blocks of a Q4_K or Q5_K super-block: 6 bits each in 12 bytes. The first
 * four lie in the low bits of bytes 0-3 and 4-7, whose two top bits complete the nibbles of the last four
 * in bytes 8-11. Four bytes at a time. */
static inline void me_unpack_k_scales(const uint8_t packed[12], uint16_t d, uint16_t dmin, float *scale,
                                      float *min) {
    uint32_t words[3], scales[2], mins[2];
    uint8_t bytes[2][ME_SUPER_BLOCKS];
    memcpy(words, packed, sizeof words);
    scales[0] = words[0] & 0x3f3f3f3f;
    scales[1] = (words[2] & 0x0f0f0f0f) | (words[0] >> 2 & 0x30303030);
    mins[0] = words[1] & 0x3f3f3f3f;
    mins[1] = (words[2] >> 4 & 0x0f0f0f0f) | (words[1] >> 2 & 0x30303030);
    memcpy(bytes[0], scales, sizeof scales);
    memcpy(bytes[1], mins, sizeof mins);
    float by = me_half(d), less = -me_half(dmin);
    for (int i = 0; i < ME_SUPER_BLOCKS; i++)
        scale[i] = by * (float)bytes[0][i];
    for (int i = 0; i < ME_SUPER_BLOCKS; i++)
        min[i] = less * (float)bytes[1][i];
}

static void me_unpack_q4_k(const void *data, int first, int n, const me_row *row) {
    const me_q4_k *super = (const me_q4_k *)data + first / ME_SUPER_BLOCKS;
    for (int b = 0; b < n; b += ME_SUPER_BLOCKS, super++) {
        me_unpack_k_scales(super->scales, super->d, super->dmin, row->scale + b, row->min + b);
        uint8_t *q = row->q + b * ME_BLOCK;
        for (int j = 0; j < 4; j++, q += 2 * ME_BLOCK)
            me_split_32(super->nibbles + 32 * j, q, q + ME_BLOCK);
    }
}

static void me_unpack_q5_k(const void *data, int first, int n, const me_row *row) {
    const me_q5_k *super = (const me_q5_k *)data + first / ME_SUPER_BLOCKS;
    for (int b = 0; b < n; b += ME_SUPER_BLOCKS, super++) {
        me_unpack_k_scales(super->scales, super->d, super->dmin, row->scale + b, row->min + b);
        uint8_t *q = row->q + b * ME_BLOCK;
        for (int j = 0; j < 4; j++)
            me_split_32(super->nibbles + 32 * j, q + 2 * j * ME_BLOCK, q + (2 * j + 1) * ME_BLOCK);
        for (int j = 0; j < ME_SUPER_BLOCKS; j++)
            me_add_high_bits(super->fifth, j, 1, q + j * ME_BLOCK);
    }
}

static void me_unpack_q6_k(const void *data, int first, int n, const me_row *row) {
    const me_q6_k *super = (const me_q6_k *)data + first / ME_SUPER_BLOCKS;
    for (int b = 0; b < n; b += ME_SUPER_BLOCKS, super++) {
        for (int half = 0; half < 2; half++) {
            uint8_t *q = row->q + (b + 4 * half) * ME_BLOCK;
            for (int j = 0; j < 2; j++)
                me_split_32(super->low + 64 * half + 32 * j, q + j * ME_BLOCK, q + (j + 2) * ME_BLOCK);
            for (int j = 0; j < 4; j++)
                me_add_high_bits(super->high + 32 * half, 2 * j, 2, q + j * ME_BLOCK);
        }
        for (int j = 0; j < ME_SUPER_BLOCKS; j++)
            row->scale[b + j] = me_half(super->d);
        memcpy(row->half_scales + 2 * b, super->scales, sizeof super->scales);
    }
}

static void me_unpack_q2_k(const void *data, int first, int n, const me_row *row) {
    const me_q2_k *super = (const me_q2_k *)data + first / ME_SUPER_BLOCKS;
    for (int b = 0; b < n; b += ME_SUPER_BLOCKS, super++) {
        for (int j = 0; j < ME_SUPER_BLOCKS; j++) {
            me_byte32 values = {0};
            me_add_bits(super->q + 32 * (j / 4), j % 4 * 2, 2, 0, &values);
            memcpy(row->q + (b + j) * ME_BLOCK, &values, sizeof values);
            row->scale[b + j] = me_half(super->d);
            row->min[b + j] = -me_half(super->dmin);
        }
        for (int i = 0; i < 2 * ME_SUPER_BLOCKS; i++) {
            row->half_scales[2 * b + i] = (int8_t)(super->scales[i] & 15);
            row->half_mins[2 * b + i] = (int8_t)(super->scales[i] >> 4);
        }
    }
}

/* The sixteen scales of a Q3_K super-block, four bytes at a time. */
static inline void me_unpack_q3_k_scales(const uint8_t packed[12], int8_t *scales) {
    enum { LOW = 0x0f0f0f0f, HIGH = 0x30303030 };
    uint32_t words[3];
    uint8_t bytes[2 * ME_SUPER_BLOCKS];
    memcpy(words, packed, sizeof words);
    const uint32_t whole[4] = {
        (words[0] & LOW) | (words[2] << 4 & HIGH), (words[1] & LOW) | (words[2] << 2 & HIGH),
        (words[0] >> 4 & LOW) | (words[2] & HIGH), (words[1] >> 4 & LOW) | (words[2] >> 2 & HIGH)};
    memcpy(bytes, whole, sizeof whole);
    for (int i = 0; i < 2 * ME_SUPER_BLOCKS; i++)
        scales[i] = (int8_t)(bytes[i] - 32);
}

static void me_unpack_q3_k(const void *data, int first, int n, const me_row *row) {
    const me_q3_k *super = (const me_q3_k *)data + first / ME_SUPER_BLOCKS;
    for (int b = 0; b < n; b += ME_SUPER_BLOCKS, super++) {
        for (int j = 0; j < ME_SUPER_BLOCKS; j++) {
            me_byte32 values = {0};
            me_add_bits(super->low + 32 * (j / 4), j % 4 * 2, 2, 0, &values);
            me_add_bits(super->third, j, 1, 2, &values);
            memcpy(row->q + (b + j) * ME_BLOCK, &values, sizeof values);
            row->scale[b + j] = me_half(super->d);
        }
        me_unpack_q3_k_scales(super->scales, row->half_scales + 2 * b);
    }
}

/* 16 nibble bytes -> the levels of 32 values, plus 128. */
static inline void me_look_up_16(const uint8_t *bytes, uint8_t *q) {
    me_byte32 values;
    me_split_16(bytes, &values);
#ifdef __AVX2__
    const __m256i levels =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)ME_IQ4_LEVELS));
    values = (me_byte32)_mm256_shuffle_epi8(levels, (__m256i)values);
#elif defined(__aarch64__)
    const uint8x16_t levels = vreinterpretq_u8_s8(vld1q_s8(ME_IQ4_LEVELS));
    uint8_t split[ME_BLOCK];
    memcpy(split, &values, sizeof split);
    for (int half = 0; half < ME_BLOCK; half += 16)
        vst1q_u8(split + half, vqtbl1q_u8(levels, vld1q_u8(split + half)));
    memcpy(&values, split, sizeof values);
#else
    for (int i = 0; i < ME_BLOCK; i++)
        values[i] = (uint8_t)ME_IQ4_LEVELS[values[i]];
#endif
    values ^= 0x80; /* + 128 */
    memcpy(q, &values, sizeof values);
}

static void me_unpack_iq4_nl(const void *data, int first, int n, const me_row *row) {
    const me_iq4_nl *block = (const me_iq4_nl *)data + first;
    for (int b = 0; b < n; b++)
        me_look_up_16(block[b].nibbles, row->q + b * ME_BLOCK);
    me_block_halves(block, sizeof *block, n, row->scale, NULL);
}

static void me_unpack_iq4_xs(const void *data, int first, int n, const me_row *row) {
    const me_iq4_xs *super = (const me_iq4_xs *)data + first / ME_SUPER_BLOCKS;
    for (int b = 0; b < n; b += ME_SUPER_BLOCKS, super++) {
        const float by = me_half(super->d);
        for (int j = 0; j < ME_SUPER_BLOCKS; j++) {
            const int low = super->low_scales[j / 2] >> 4 * (j % 2) & 15,
                      high = super->high_scales >> 2 * j & 3;
            me_look_up_16(super->nibbles + 16 * j, row->q + (b + j) * ME_BLOCK);
            row->scale[b + j] = by * (float)((low | high << 4) - 32);
        }
    }
}

/* The format of an integer type; NULL for all others. */
static inline const me_format *me_format_of(enum ggml_type type) {
    static const me_format formats[] = {
        {GGML_TYPE_Q4_0, {4, false, false}, 8, me_unpack_q4_0},
        {GGML_TYPE_Q4_1, {4, true, false}, 0, me_unpack_q4_1},
        {GGML_TYPE_Q5_0, {5, false, false}, 16, me_unpack_q5_0},
        {GGML_TYPE_Q5_1, {5, true, false}, 0, me_unpack_q5_1},
        {GGML_TYPE_Q8_0, {8, false, false}, 128, me_unpack_q8_0},
        {GGML_TYPE_Q2_K, {2, true, true}, 0, me_unpack_q2_k},
        {GGML_TYPE_Q3_K, {3, false, true}, 4, me_unpack_q3_k},
        {GGML_TYPE_Q4_K, {4, true, false}, 0, me_unpack_q4_k},
        {GGML_TYPE_Q5_K, {5, true, false}, 0, me_unpack_q5_k},
        {GGML_TYPE_Q6_K, {6, false, true}, 32, me_unpack_q6_k},
        /* Levels are integers of eight bits. */
        {GGML_TYPE_IQ4_NL, {8, false, false}, 128, me_unpack_iq4_nl},
        {GGML_TYPE_IQ4_XS, {8, false, false}, 128, me_unpack_iq4_xs},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (formats[i].type == type) return &formats[i];
    return NULL;
}

static inline bool me_type_is_float(enum ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

/* Values [first, first + n) of a row of F32, F16 or BF16. */
static inline void me_unpack_floats(enum ggml_type type, const void *data, int first, int n, float *out) {
    const uint16_t *bits = (const uint16_t *)data + first;
    if (type == GGML_TYPE_F32) {
        memcpy(out, (const float *)data + first, (size_t)n * sizeof *out);
    } else if (type == GGML_TYPE_BF16) {
        for (int i = 0; i < n; i++)
            out[i] = me_bfloat(bits[i]);
    } else {
        int i = 0;
#ifdef __F16C__
        for (; i + 8 <= n; i += 8) {
            __m128i halves;
            memcpy(&halves, bits + i, sizeof halves);
            _mm256_storeu_ps(out + i, _mm256_cvtph_ps(halves));
        }
#elif defined(__aarch64__)
        for (; i + 4 <= n; i += 4)
            vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(bits + i))));
#endif
        for (; i < n; i++)
            out[i] = me_half(bits[i]);
    }
}

static inline const void *me_weight_row(const me_tensor *weight, int64_t row) {
    return (const char *)weight->data + (size_t)row * weight->row_bytes;
}

#endif
