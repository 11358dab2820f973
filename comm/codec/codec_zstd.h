/* comm/codec/codec_zstd.h - zstd in memory planned beforehand. Private to the codecs. */
#ifndef SL_CODEC_ZSTD_H
#define SL_CODEC_ZSTD_H

#include <stdbool.h>

#include "runtime/base/arena.h"

/* Its contexts live in the arena it was bound to; nothing to end. */
typedef struct {
    void *encoder, *decoder;
} sl_zstd;

/* Measures when the arena has no storage. */
void sl_zstd_bind(sl_zstd *zstd, sl_arena *arena);
/* Encoded bytes written to `out`, or 0: they would be more than out_bytes_max. */
size_t sl_zstd_encode(sl_zstd *zstd, const uint8_t *bytes, size_t n_bytes, uint8_t *out,
                      size_t out_bytes_max);
/* Whether the bytes, encoded ones or several of them one behind the other, decode to exactly n
 * into out[n]; writes nothing beyond it. */
bool sl_zstd_decode(sl_zstd *zstd, const uint8_t *bytes, size_t n_bytes, uint8_t *out, size_t n);

#endif
