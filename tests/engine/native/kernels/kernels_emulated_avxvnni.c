/* The AVX-VNNI table over AVX2, so that it is tested where no processor has its one instruction. */
#include <immintrin.h>

/* sum + the products of each lane's four unsigned bytes of a and signed bytes of b */
static inline __m256i dot_bytes(__m256i sum, __m256i a, __m256i b) {
    const __m256i low = _mm256_set1_epi16(0xff);
    __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, low), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

#define _mm256_dpbusd_avx_epi32 dot_bytes
#define ME_EMULATE_AVXVNNI
#define ME_KERNELS_ROLLED
#include "engine/native/kernels/kernels_avxvnni.c"
