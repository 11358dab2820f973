/* runtime/kernels/matmul/quantize_ref.c - activations to int8: per block of 32
 *   scale = f16(max|x| / 127), q = clip(rint(x / scale), -127, 127),
 *   sum = scale * sum of q, sum_16 = sum of q.
 * A scale beyond f16 stops at 65504. A NaN makes its block's scale NaN, so it stays visible in
 * the product. */
#include <math.h>
#include <string.h>

#include "runtime/kernels/kernel_sets.h"

/* Magnitudes are compared as integers: a NaN is above everything and wins. */
static float largest_magnitude(const float *x)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < SL_BLOCK; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        if (bits > largest) largest = bits;
    }
    float out;
    memcpy(&out, &largest, sizeof out);
    return out;
}

static int8_t quantized(float x, float scale)
{
    if (!(scale > 0)) return 0; /* NaN or nothing */
    float q = rintf(x / scale);
    return (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
}

static void quantize_block(const float *x, int8_t *q, float *scale, float *sum, int16_t *sum_16)
{
    float exact = largest_magnitude(x) / 127;
    *scale = sl_f16_to_f32(sl_f32_to_f16(exact > 65504 ? 65504 : exact));
    int32_t total[2] = {0};
    for (size_t i = 0; i < SL_BLOCK; i++) {
        q[i] = quantized(x[i], *scale);
        total[i / (SL_BLOCK / 2)] += q[i];
    }
    *sum = *scale * (float)(total[0] + total[1]);
    for (int h = 0; h < 2; h++) sum_16[h] = (int16_t)total[h];
}

void sl_quantize_ref(const float *x, size_t n_blocks, int8_t *q, float *scale, float *sum,
                     int16_t *sum_16)
{
    for (size_t b = 0; b < n_blocks; b++)
        quantize_block(x + b * SL_BLOCK, q + b * SL_BLOCK, &scale[b], &sum[b], sum_16 + 2 * b);
}
