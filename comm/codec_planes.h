/* comm/codec_planes.h - floats apart into byte planes and back. Private to the codecs.
 * Plane k holds byte k of every float, least significant first: sign and exponent, the only
 * part of an activation with any pattern, gather in plane 3. */
#ifndef SL_CODEC_PLANES_H
#define SL_CODEC_PLANES_H

#include <stddef.h>
#include <stdint.h>

enum { SL_PLANES = 4 };

/* values: n. planes: [SL_PLANES][n]. */
void sl_planes_split(const float *values, size_t n, uint8_t *planes);
/* out: n. planes: n bytes each, anywhere. */
void sl_planes_merge(const uint8_t *const planes[SL_PLANES], size_t n, float *out);

#endif
