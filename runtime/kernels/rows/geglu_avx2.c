/* runtime/kernels/rows/geglu_avx2.c - gelu(gate) * up, tails with the steps of full vectors. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx2.h"

static __m256 geglu(__m256 gate, __m256 up)
{
    __m256 slope = _mm256_fmadd_ps(_mm256_set1_ps(SL_GELU_CUBIC), _mm256_mul_ps(gate, gate),
                                   _mm256_set1_ps(SL_GELU_LINEAR));
    __m256 e = sl_exp_avx2(_mm256_fnmadd_ps(gate, slope, _mm256_setzero_ps()));
    return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(_mm256_set1_ps(1), e)), up);
}

void sl_geglu_avx2(const float *gate, const float *up, size_t n, float *out)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, geglu(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i == n) return;
    __m256i mask = sl_tail_mask_avx2(n - i);
    __m256 rest = geglu(_mm256_maskload_ps(gate + i, mask), _mm256_maskload_ps(up + i, mask));
    _mm256_maskstore_ps(out + i, mask, rest);
}
