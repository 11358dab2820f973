/* runtime/kernels/f16.c - the 16-bit floats. IEEE 754 half precision in plain integer steps, bit for
 * bit what F16C does. For single values; kernels over rows have instructions for it. */
#include <string.h>

#include "runtime/kernels/kernels.h"

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float sl_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    if (exponent == 31) {
        uint32_t quiet = mantissa ? 0x400000 : 0;
        return float_of(sign | 0x7f800000 | quiet | mantissa << 13);
    }
    if (exponent == 0) return float_of(sign | bits_of((float)mantissa * 0x1p-24F));
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t sl_f32_to_f16(float f)
{
    uint32_t bits = bits_of(f), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000) return sign | 0x7e00 | (uint16_t)(magnitude >> 13 & 0x3ff);
    if (magnitude >= bits_of(65520.0F)) return sign | 0x7c00; /* halfway to 65536, ties to even */
    if (magnitude < bits_of(0x1p-14F)) {
        /* next to 0.5 floats lie 2^-24 apart, like f16's denormals: the addition rounds */
        return sign | (uint16_t)(bits_of(float_of(magnitude) + 0.5F) - bits_of(0.5F));
    }
    uint32_t half = 0xfff + (magnitude >> 13 & 1); /* with the tie towards even */
    return sign | (uint16_t)((magnitude - (112U << 23) + half) >> 13);
}

float sl_bf16_to_f32(uint16_t h) { return float_of((uint32_t)h << 16); }
