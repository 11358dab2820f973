/* runtime/kernels/rows/add_avx2.c - the residual addition. */
#include <immintrin.h>

#include "runtime/kernels/kernel_sets.h"

void sl_add_avx2(const float *y, size_t n, float *x)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++) x[i] += y[i];
}
