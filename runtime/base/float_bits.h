/* runtime/base/float_bits.h - a float's IEEE 754 bits, and back. */
#ifndef SL_FLOAT_BITS_H
#define SL_FLOAT_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t sl_float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float sl_bits_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The nearest bf16, the upper half of a float, ties to even. A NaN stays one, quiet. */
static inline uint16_t sl_bf16_of(float f)
{
    uint32_t bits = sl_float_bits(f), nearest = bits + 0x7fff + (bits >> 16 & 1);
    uint32_t quiet = bits | 0x400000;
    return (uint16_t)(((bits & 0x7fffffff) > 0x7f800000 ? quiet : nearest) >> 16);
}

#endif
