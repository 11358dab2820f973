/* comm/codec/codec_round.c - plain loops that the compiler turns into vectors (CMakeLists.txt asks
 * it to): 8 GB/s of floats and more, with no instruction set beyond the least of x86-64.
 *
 * A scale of int8 is bf16, not f16 as in GGUF's q8_0: as few bytes (an f32 would make a payload 6%
 * larger), but the range of a float. An f16 ends at 65504, so with |x| at 8.3e6, and below 6e-5
 * loses its bits one by one. The few bits of a bf16 cost little, since values are divided by the
 * scale as the receiver will see it: steps are up to 0.8% wider. It is rounded up, so that no
 * quotient is beyond 127. */
#include "comm/codec/codec_round.h"

#include <math.h>
#include <string.h>

#include "runtime/base/float_bits.h"

enum { BF16_NAN = 0x7fc0 };

static void put_u16(uint8_t *out, uint32_t value)
{
    uint16_t item = (uint16_t)value;
    memcpy(out, &item, sizeof item);
}

static uint32_t get_u16(const uint8_t *in)
{
    uint16_t item;
    memcpy(&item, in, sizeof item);
    return item;
}

void sl_bf16_round(const float *restrict values, size_t n, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) put_u16(out + 2 * i, sl_bf16_of(values[i]));
}

void sl_bf16_widen(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = sl_bits_float(get_u16(in + 2 * i) << 16);
}

size_t sl_int8_blocks(size_t n) { return (n + SL_INT8_BLOCK - 1) / SL_INT8_BLOCK; }

/* Magnitudes are compared as integers: a NaN is above everything and wins. */
static float largest_magnitude(const float *x, size_t n)
{
    int32_t largest = 0; /* SSE2 compares signed ones only */
    for (size_t i = 0; i < n; i++) {
        int32_t magnitude = (int32_t)(sl_float_bits(x[i]) & 0x7fffffff);
        largest = magnitude > largest ? magnitude : largest;
    }
    return sl_bits_float((uint32_t)largest);
}

/* For |y| <= 127. Floats beside 1.5 * 2^23 lie 1 apart, so the addition rounds y to a whole
 * number, which the sum's lowest bits then are. */
static uint8_t nearest_int8(float y) { return (uint8_t)sl_float_bits(y + 0x1.8p23F); }

static void round_block(const float *restrict x, size_t n, uint8_t *restrict q,
                        uint8_t *restrict scale)
{
    float exact = largest_magnitude(x, n) / 127;
    if (!(exact > 0 && exact < INFINITY)) { /* nothing to tell apart, or not finite */
        memset(q, 0, n);
        put_u16(scale, exact == 0 ? 0 : BF16_NAN);
        return;
    }
    uint32_t up = (sl_float_bits(exact) + 0xffff) >> 16;
    float divisor = sl_bits_float(up << 16);
    for (size_t i = 0; i < n; i++) q[i] = nearest_int8(x[i] / divisor);
    put_u16(scale, up);
}

void sl_int8_round(const float *values, size_t n, uint8_t *q, uint8_t *scales)
{
    for (; n >= SL_INT8_BLOCK; n -= SL_INT8_BLOCK) {
        round_block(values, SL_INT8_BLOCK, q, scales);
        values += SL_INT8_BLOCK, q += SL_INT8_BLOCK, scales += 2;
    }
    if (n > 0) round_block(values, n, q, scales);
}

static void widen_block(const uint8_t *restrict q, const uint8_t *scale, size_t n,
                        float *restrict out)
{
    float step = sl_bits_float(get_u16(scale) << 16);
    for (size_t i = 0; i < n; i++) out[i] = step * (float)(int8_t)q[i];
}

void sl_int8_widen(const uint8_t *q, const uint8_t *scales, size_t n, float *out)
{
    for (; n >= SL_INT8_BLOCK; n -= SL_INT8_BLOCK) {
        widen_block(q, scales, SL_INT8_BLOCK, out);
        out += SL_INT8_BLOCK, q += SL_INT8_BLOCK, scales += 2;
    }
    if (n > 0) widen_block(q, scales, n, out);
}
