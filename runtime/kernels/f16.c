/* runtime/kernels/f16.c - the 16-bit floats. IEEE 754 half precision in plain integer steps, bit
 * for bit what F16C does. For single values; kernels over rows have instructions for it. */
#include "runtime/base/float_bits.h"
#include "runtime/kernels/kernels.h"

float sl_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    if (exponent == 31) {
        uint32_t quiet = mantissa ? 0x400000 : 0;
        return sl_bits_float(sign | 0x7f800000 | quiet | mantissa << 13);
    }
    if (exponent == 0) return sl_bits_float(sign | sl_float_bits((float)mantissa * 0x1p-24F));
    return sl_bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t sl_f32_to_f16(float f)
{
    uint32_t bits = sl_float_bits(f), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000) return sign | 0x7e00 | (uint16_t)(magnitude >> 13 & 0x3ff);
    if (magnitude >= sl_float_bits(65520.0F))
        return sign | 0x7c00; /* halfway to 65536, ties to even */
    if (magnitude < sl_float_bits(0x1p-14F)) {
        /* next to 0.5 floats lie 2^-24 apart, like f16's denormals: the addition rounds */
        return sign |
               (uint16_t)(sl_float_bits(sl_bits_float(magnitude) + 0.5F) - sl_float_bits(0.5F));
    }
    uint32_t half = 0xfff + (magnitude >> 13 & 1); /* with the tie towards even */
    return sign | (uint16_t)((magnitude - (112U << 23) + half) >> 13);
}

float sl_bf16_to_f32(uint16_t h) { return sl_bits_float((uint32_t)h << 16); }
