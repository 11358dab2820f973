/* runtime/kernels/kv/kv_put_avx2.c - a token into a page, the bits of the plain ones. */
#include <immintrin.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

/* min and max give their second argument for NaN. */
static __m128i half(const float *x)
{
    __m256 v = _mm256_max_ps(_mm256_set1_ps(-65504), _mm256_loadu_ps(x));
    v = _mm256_min_ps(_mm256_set1_ps(65504), v);
    return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
}

void sl_kv_f16_put_avx2(void *page, size_t slot, const float *k, const float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    uint16_t *keys = page, *values = keys + head_dim * SL_PAGE_TOKENS;
    for (size_t i = 0; i < head_dim; i += 8) {
        uint16_t key[8];
        _mm_storeu_si128((__m128i *)key, half(k + i));
        _mm_storeu_si128((__m128i *)(values + slot * head_dim + i), half(v + i));
        for (size_t j = 0; j < 8; j++) keys[(i + j) * SL_PAGE_TOKENS + slot] = key[j];
    }
}

void sl_kv_q8_0_put_avx2(void *page, size_t slot, const float *k, const float *v, size_t head_dim)
{
    sl_kv_q8_0_put(sl_quantize_avx2, page, slot, k, v, head_dim);
}
