/* runtime/kernels/matmul/quantize_avx2.c - as quantize_ref.c, bit for bit: it divides, too. */
#include <immintrin.h>

#include "runtime/kernels/kernel_sets.h"

static float largest_magnitude(const __m256 x[4])
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256i m[4];
    for (int i = 0; i < 4; i++) m[i] = _mm256_castps_si256(_mm256_and_ps(x[i], magnitude));
    __m256i all = _mm256_max_epu32(_mm256_max_epu32(m[0], m[1]), _mm256_max_epu32(m[2], m[3]));
    __m128i s = _mm_max_epu32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    s = _mm_max_epu32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_max_epu32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(s));
}

static int32_t sum_of(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static void quantize_block(const float *x, int8_t *q, float *scale, float *sum, int16_t *sum_16)
{
    __m256 v[4];
    for (size_t i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
    float exact = largest_magnitude(v) / 127;
    *scale = _cvtsh_ss(_cvtss_sh(exact > 65504 ? 65504 : exact, _MM_FROUND_TO_NEAREST_INT));

    /* clipping before rounding is the same, and keeps the conversion in range; with a scale that
     * is zero or NaN all lanes are nulled */
    __m256 divisor = _mm256_set1_ps(*scale), bound = _mm256_set1_ps(127);
    __m256 usable = _mm256_cmp_ps(divisor, _mm256_setzero_ps(), _CMP_GT_OQ);
    __m256i n[4];
    for (int i = 0; i < 4; i++) {
        __m256 r = _mm256_and_ps(_mm256_div_ps(v[i], divisor), usable);
        r = _mm256_max_ps(_mm256_min_ps(r, bound), _mm256_sub_ps(_mm256_setzero_ps(), bound));
        n[i] = _mm256_cvtps_epi32(r);
    }
    int32_t first = sum_of(_mm256_add_epi32(n[0], n[1])),
            second = sum_of(_mm256_add_epi32(n[2], n[3]));
    *sum = *scale * (float)(first + second);
    sum_16[0] = (int16_t)first;
    sum_16[1] = (int16_t)second;

    /* packing works in 128-bit halves: put their 4-byte pieces back in order */
    __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]),
                                        _mm256_packs_epi32(n[2], n[3]));
    packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)q, packed);
}

void sl_quantize_avx2(const float *x, size_t n_blocks, int8_t *q, float *scale, float *sum,
                      int16_t *sum_16)
{
    for (size_t b = 0; b < n_blocks; b++)
        quantize_block(x + b * SL_BLOCK, q + b * SL_BLOCK, &scale[b], &sum[b], sum_16 + 2 * b);
}
