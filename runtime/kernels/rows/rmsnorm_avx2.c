/* runtime/kernels/rows/rmsnorm_avx2.c - root mean square norm; the sum of squares runs in 8
 * lanes. */
#include <math.h>

#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx2.h"

static float sum_of_squares(const float *x, size_t n)
{
    __m256 sum = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        sum = _mm256_fmadd_ps(v, v, sum);
    }
    __m256 v = _mm256_maskload_ps(x + i, sl_tail_mask_avx2(n - i));
    return sl_sum_avx2(_mm256_fmadd_ps(v, v, sum));
}

void sl_rmsnorm_avx2(const float *x, const float *gain, size_t n_rows, size_t width, float eps,
                     float *out)
{
    for (size_t t = 0; t < n_rows; t++, x += width, out += width) {
        float rms = sqrtf(sum_of_squares(x, width) / (float)width + eps);
        __m256 divisor = _mm256_set1_ps(rms);
        size_t i = 0;
        for (; i + 8 <= width; i += 8) {
            __m256 v = _mm256_mul_ps(_mm256_loadu_ps(gain + i), _mm256_loadu_ps(x + i));
            _mm256_storeu_ps(out + i, _mm256_div_ps(v, divisor));
        }
        for (; i < width; i++) out[i] = gain[i] * x[i] / rms;
    }
}
