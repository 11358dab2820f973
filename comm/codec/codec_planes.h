/* comm/codec/codec_planes.h - numbers apart into the byte that follows a pattern and the rest, and
 * back. Private to the codecs. Neighbouring activations are of like size but otherwise noise: the
 * pattern is in the exponent, and `top` is all of it, while sign and mantissa go to `rest`.
 *
 *   item_bytes  number  top              rest
 *   1           int8    the number       nothing
 *   2           bf16    exponent         [n] mantissa, then the sign as the lowest bit
 *   4           f32     exponent         [n][2] lower half, then [n] as of a bf16: its upper half
 *
 * Any bits return. Numbers and halves are little-endian, aligned to nothing; buffers are apart. */
#ifndef SL_CODEC_PLANES_H
#define SL_CODEC_PLANES_H

#include <stddef.h>
#include <stdint.h>

/* items: n numbers of item_bytes. rest: [(item_bytes - 1) * n]. top: [n]. */
void sl_planes_split(const uint8_t *items, size_t n, size_t item_bytes, uint8_t *rest,
                     uint8_t *top);
void sl_planes_merge(const uint8_t *rest, const uint8_t *top, size_t n, size_t item_bytes,
                     uint8_t *items_out);

#endif
