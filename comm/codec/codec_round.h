/* comm/codec/codec_round.h - floats to fewer bits and back. Private to the codecs.
 * Every step is an IEEE operation on single values, so results are the same on every CPU. The
 * encoded numbers are little-endian bytes, aligned to nothing. */
#ifndef SL_CODEC_ROUND_H
#define SL_CODEC_ROUND_H

#include <stddef.h>
#include <stdint.h>

enum { SL_INT8_BLOCK = 32 };

/* bf16, the upper half of a float: round to nearest, ties to even. NaN stays NaN (quiet, with its
 * sign), infinities stay, and magnitudes from 2^128 - 2^119 on (3.3962e38) become infinite.
 * out, in: 2 bytes each. */
void sl_bf16_round(const float *values, size_t n, uint8_t *out);
void sl_bf16_widen(const uint8_t *in, size_t n, float *out);

/* Blocks of n values; the last may be partial. */
size_t sl_int8_blocks(size_t n);
/* Per block of 32: scale = bf16(max|x| / 127) rounded up, q = rint(x / scale), so |q| <= 127 and
 * |x - scale * q| <= scale / 2 (but for the last bit of the quotient). A block that holds a NaN or
 * an infinity is NaN throughout: what went wrong stays visible. Finite blocks stay finite.
 * q: [n]. scales: 2 bytes a block. */
void sl_int8_round(const float *values, size_t n, uint8_t *q, uint8_t *scales);
/* out[i] = scale * q[i], whatever the bytes. */
void sl_int8_widen(const uint8_t *q, const uint8_t *scales, size_t n, float *out);

#endif
