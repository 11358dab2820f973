/* runtime/kernels/math_avx2.h - small steps the avx2 kernels share. */
#ifndef SL_MATH_AVX2_H
#define SL_MATH_AVX2_H

#include <immintrin.h>
#include <stddef.h>

/* e^x, relative error below 2e-7 (test_elementwise.c). Cephes expf (S. Moshier): x = n ln 2 + r
 * with |r| <= ln 2 / 2, a polynomial in r, times 2^n. 2^n is applied in two halves, so results
 * become infinite, denormal or zero as they should. A NaN stays one. */
static inline __m256 sl_power_of_two_avx2(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

static inline __m256 sl_exp_avx2(__m256 x)
{
    /* beyond these bounds it is 0 and infinity; max and min give their second argument for NaN */
    x = _mm256_max_ps(_mm256_set1_ps(-120), x);
    x = _mm256_min_ps(_mm256_set1_ps(120), x);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341F)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375F), x); /* ln 2 in two parts */
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4F), r);

    __m256 p = _mm256_set1_ps(1.9875691500E-4F);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507E-3F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073E-3F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894E-2F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459E-1F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201E-1F));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1));

    __m256i exponent = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(exponent, 1);
    p = _mm256_mul_ps(p, sl_power_of_two_avx2(half));
    return _mm256_mul_ps(p, sl_power_of_two_avx2(_mm256_sub_epi32(exponent, half)));
}

/* Loads and stores of n < 8 floats touch no others: tails take the steps of full vectors. */
static inline __m256i sl_tail_mask_avx2(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The 8 lanes' sum, always in the same order. */
static inline float sl_sum_avx2(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#endif
