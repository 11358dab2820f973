/* runtime/kernels/math_avx512.h - small steps the avx512 kernels share. */
#ifndef SL_MATH_AVX512_H
#define SL_MATH_AVX512_H

#include <immintrin.h>

#define SL_LOG2_E 1.44269504088896341F

/* 2^x for x <= 0, relative error below 1e-4, exactly 1 for 0; 2^-100 and less end there. */
static inline __m512 sl_exp2_avx512(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-100), x); /* the second operand if that is NaN */
    __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* 0 <= f < 1 */
    __m512 p = _mm512_set1_ps(7.70670420e-02F);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.27644991e-01F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.95116786e-01F));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
    return _mm512_scalef_ps(p, x);
}

/* sl_exp_avx2, with an instruction for the power of two. */
static inline __m512 sl_exp_avx512(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-120), x);
    x = _mm512_min_ps(_mm512_set1_ps(120), x);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(SL_LOG2_E)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);

    __m512 p = _mm512_set1_ps(1.9875691500E-4F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507E-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073E-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894E-2F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459E-1F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201E-1F));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1)), n);
}

#endif
