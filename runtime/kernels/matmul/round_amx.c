/* runtime/kernels/matmul/round_amx.c - rows that enter tiles, to bf16. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/tiles_amx.h"

void SL_AMX(sl_round)(const float *x, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i += 16)
        _mm256_storeu_si256((void *)(out + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)));
}
