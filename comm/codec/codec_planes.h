/* comm/codec/codec_planes.h - numbers apart into byte planes and back. Private to the codecs.
 * Plane k holds byte k of every number, least significant first: sign and exponent, the only part
 * of an activation with any pattern, gather in the last plane. */
#ifndef SL_CODEC_PLANES_H
#define SL_CODEC_PLANES_H

#include <stddef.h>
#include <stdint.h>

enum { SL_PLANES_MAX = 4 };

/* items: n numbers of item_bytes (1, 2 or 4). planes: [item_bytes][n]. */
void sl_planes_split(const uint8_t *items, size_t n, size_t item_bytes, uint8_t *planes);
/* out: n numbers. planes: item_bytes of them, n bytes each, anywhere. */
void sl_planes_merge(const uint8_t *const *planes, size_t n, size_t item_bytes, uint8_t *out);

#endif
