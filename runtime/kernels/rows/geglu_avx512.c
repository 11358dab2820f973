/* runtime/kernels/rows/geglu_avx512.c - gelu(gate) * up, tails with the steps of full vectors. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx512.h"

static inline __m512 geglu(__m512 gate, __m512 up)
{
    __m512 slope = _mm512_fmadd_ps(_mm512_set1_ps(SL_GELU_CUBIC), _mm512_mul_ps(gate, gate),
                                   _mm512_set1_ps(SL_GELU_LINEAR));
    __m512 e = sl_exp_avx512(_mm512_fnmadd_ps(gate, slope, _mm512_setzero_ps()));
    return _mm512_mul_ps(_mm512_div_ps(gate, _mm512_add_ps(_mm512_set1_ps(1), e)), up);
}

void sl_geglu_avx512(const float *gate, const float *up, size_t n, float *out)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, geglu(_mm512_loadu_ps(gate + i), _mm512_loadu_ps(up + i)));
    __mmask16 rest = (__mmask16)((1U << (n - i)) - 1);
    __m512 last = geglu(_mm512_maskz_loadu_ps(rest, gate + i), _mm512_maskz_loadu_ps(rest, up + i));
    if (rest) _mm512_mask_storeu_ps(out + i, rest, last);
}
