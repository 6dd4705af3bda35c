/* The AVX512-VNNI table over portable intrinsics, so that it is tested where no processor has them. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <math.h>
#include <simde/x86/avx512.h>

/* SIMDe rounds the product of a multiply-add, and has no instruction of the other two. */
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps multiply_add
#define _mm512_cvtepi32_ps convert_to_floats
#define _mm512_srai_epi32 shift_right_signed

static inline __m512 multiply_add(__m512 a, __m512 b, __m512 c) {
    simde__m512_private x = simde__m512_to_private(a), y = simde__m512_to_private(b);
    simde__m512_private out = simde__m512_to_private(c);
    for (int i = 0; i < 16; i++)
        out.f32[i] = fmaf(x.f32[i], y.f32[i], out.f32[i]);
    return simde__m512_from_private(out);
}

static inline __m512 convert_to_floats(__m512i a) {
    simde__m512i_private in = simde__m512i_to_private(a);
    simde__m512_private out;
    for (int i = 0; i < 16; i++)
        out.f32[i] = (float)in.i32[i];
    return simde__m512_from_private(out);
}

static inline __m512i shift_right_signed(__m512i a, int bits) {
    simde__m512i_private in = simde__m512i_to_private(a);
    for (int i = 0; i < 16; i++)
        in.i32[i] >>= bits;
    return simde__m512i_from_private(in);
}

#define ME_EMULATE_AVX512
#define ME_KERNELS_ROLLED
#include "engine/native/kernels/kernels_avx512vnni.c"
