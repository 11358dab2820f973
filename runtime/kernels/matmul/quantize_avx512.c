/* runtime/kernels/matmul/quantize_avx512.c - as quantize_ref.c, bit for bit: it divides, too. */
#include <immintrin.h>

#include "runtime/kernels/kernel_sets.h"

/* x / scale, clipped to +-127 before rounding, which keeps the conversion in range; 0 unless scale
 * > 0. */
static inline __m512i quantized(__m512 x, __m512 scale, __mmask16 usable)
{
    const __m512 bound = _mm512_set1_ps(127);
    __m512 r = _mm512_maskz_div_ps(usable, x, scale);
    r = _mm512_max_ps(_mm512_min_ps(r, bound), _mm512_sub_ps(_mm512_setzero_ps(), bound));
    return _mm512_cvtps_epi32(r);
}

/* Magnitudes are compared as integers: a NaN is larger than all. */
static inline float largest_magnitude(__m512 a, __m512 b)
{
    __m512i m = _mm512_max_epu32(_mm512_castps_si512(_mm512_abs_ps(a)),
                                 _mm512_castps_si512(_mm512_abs_ps(b)));
    __m256i h = _mm256_max_epu32(_mm512_castsi512_si256(m), _mm512_extracti64x4_epi64(m, 1));
    __m128i q = _mm_max_epu32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    q = _mm_max_epu32(q, _mm_shuffle_epi32(q, 0x4e));
    q = _mm_max_epu32(q, _mm_shuffle_epi32(q, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(q));
}

static inline void quantize_block(const float *x, int8_t *q, float *scale, float *sum,
                                  int16_t *sum_16)
{
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    float exact = largest_magnitude(a, b) / 127;
    *scale = _cvtsh_ss(_cvtss_sh(exact > 65504 ? 65504 : exact, _MM_FROUND_TO_NEAREST_INT));
    __m512 divisor = _mm512_set1_ps(*scale);
    __mmask16 usable = _mm512_cmp_ps_mask(divisor, _mm512_setzero_ps(), _CMP_GT_OQ);
    __m512i qa = quantized(a, divisor, usable), qb = quantized(b, divisor, usable);
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(qa));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm512_cvtepi32_epi8(qb));
    int32_t first = _mm512_reduce_add_epi32(qa), second = _mm512_reduce_add_epi32(qb);
    *sum = *scale * (float)(first + second);
    sum_16[0] = (int16_t)first;
    sum_16[1] = (int16_t)second;
}

void sl_quantize_avx512(const float *x, size_t n_blocks, int8_t *q, float *scale, float *sum,
                        int16_t *sum_16)
{
    for (size_t b = 0; b < n_blocks; b++)
        quantize_block(x + b * SL_BLOCK, q + b * SL_BLOCK, &scale[b], &sum[b], sum_16 + 2 * b);
}
