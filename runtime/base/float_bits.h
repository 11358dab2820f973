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

#endif
