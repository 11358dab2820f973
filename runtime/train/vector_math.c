/* runtime/train/vector_math.c - see vector_math.h. One source, compiled for several widths of
 * vectors; the loader picks. Clang before 16 gives the clones names that no other file can call. */
#include "runtime/train/vector_math.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __clang__
#define CLONES
#else
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif

/* e^x for x <= 20, and e^20 above; relative error below 1e-6: 2^n times a polynomial on [-1/2, 1/2]
 * (Cephes, expf). */
static inline float exp_to_20(float x)
{
    static const float ROUND = 12582912.0F; /* 1.5 * 2^23: adding it leaves whole numbers */
    x = x < -80 ? -80 : x > 20 ? 20 : x;
    float rounded = x * 1.44269504F + ROUND, n = rounded - ROUND;
    float r = x - n * 0.693359375F + n * 2.12194440e-4F;
    float p = 1.9875691500E-4F;
    p = p * r + 1.3981999507E-3F;
    p = p * r + 8.3334519073E-3F;
    p = p * r + 4.1665795894E-2F;
    p = p * r + 1.6666665459E-1F;
    p = p * r + 5.0000001201E-1F;
    p = p * r * r + r + 1;
    uint32_t bits; /* n is in the lowest of them, and shifted to where the exponent is */
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

CLONES float sl_vector_dot(const float *x, const float *y, size_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

CLONES float sl_vector_softmax(float *x, size_t n, size_t n_all)
{
    float max = x[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += x[i] = exp_to_20(x[i] - max);
    float scale = 1 / sum;
    for (size_t i = 0; i < n; i++) x[i] *= scale;
    memset(x + n, 0, (n_all - n) * sizeof *x);
    return max + logf(sum);
}

CLONES void sl_vector_weigh(float log_sum, float mean, size_t n, float *score, float *d)
{
    for (size_t i = 0; i < n; i++) {
        float w = exp_to_20(score[i] - log_sum);
        score[i] = w;
        d[i] = w * (d[i] - mean);
    }
}

CLONES void sl_vector_weigh_gated(float log_sum, float mean, const float *log_keep, size_t n,
                                  float *score, float *d, float *d_keep)
{
    for (size_t i = 0; i < n; i++) {
        float shown = log_keep[i] > SL_LOG_EVICTED ? 1 : 0;
        float e = exp_to_20(score[i] + shown * log_keep[i] - log_sum);
        float w = shown * e, change = d[i] - mean;
        score[i] = w;
        d[i] = w * change;
        d_keep[i] += (w + (1 - shown) * e / (1 + e)) * change;
    }
}

CLONES void sl_vector_softmax_backward(const float *w, size_t n, float *d)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += w[i] * d[i];
    for (size_t i = 0; i < n; i++) d[i] = w[i] * (d[i] - sum);
}

CLONES float sl_vector_exp_sum(const float *x, float max, size_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += exp_to_20(x[i] - max);
    return sum;
}

CLONES float sl_vector_exp_sums(const float *x, const float *y, float max, size_t n,
                                float *expected_out)
{
    float sum = 0, expected = 0;
#pragma omp simd reduction(+ : sum, expected)
    for (size_t i = 0; i < n; i++) {
        float e = exp_to_20(x[i] - max);
        sum += e;
        expected += e * (x[i] - y[i]);
    }
    *expected_out = expected;
    return sum;
}

CLONES void sl_vector_to_exp(float log_sum, float scale, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = scale * exp_to_20(x[i] - log_sum);
}

CLONES void sl_vector_add_exp(const float *x, float log_sum, float scale, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] += scale * exp_to_20(x[i] - log_sum);
}

CLONES void sl_vector_add_powers(const float *x, float scale, size_t n, float *sum)
{
    for (size_t j = 0; j < n; j++) sum[j] += scale * x[j] * sqrtf(x[j]);
}
