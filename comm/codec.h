/* comm/codec.h - a frame's hidden rows as bytes, per link. Knows floats, not models.
 * One sl_codec per thread that uses it; its buffers are taken at open. */
#ifndef SL_CODEC_H
#define SL_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct sl_codec sl_codec;

/* What a payload's header says. Numbers are on the wire: never reuse one. */
typedef enum {
    SL_CODEC_F32 = 1,      /* little-endian floats as they are */
    SL_CODEC_F32_ZSTD = 2, /* four byte planes, those that shrink through zstd */
} sl_codec_kind;

/* By --codec's name: "f32", "f32-zstd". SL_ERR_OPTION, logged with the names there are. */
sl_status sl_codec_kind_named(const char *name, sl_codec_kind *kind_out);
const char *sl_codec_kind_name(sl_codec_kind kind);
/* What decodes to the same bits: contract 1 holds over such links only. */
int sl_codec_kind_lossless(sl_codec_kind kind);

/* For up to values_max floats a payload; decodes every kind, encodes `kind`. SL_ERR_MEMORY. */
sl_status sl_codec_open(sl_codec_kind kind, size_t values_max, sl_codec **codec_out);
void sl_codec_close(sl_codec *codec); /* NULL is fine */
/* Upper bound of an encoded payload, any kind. */
size_t sl_codec_bytes_max(size_t values_max);
/* Memory sl_codec_open takes. */
size_t sl_codec_open_bytes(size_t values_max);

/* Encode n floats into out[out_bytes_max], at least sl_codec_bytes_max(n). Payloads too small to
 * gain are written as plain f32: *kind_out says what was done. */
sl_status sl_codec_encode(sl_codec *codec, const float *values, size_t n, uint8_t *out,
                          size_t out_bytes_max, sl_codec_kind *kind_out, size_t *n_bytes_out);
/* Decode exactly n floats. SL_ERR_FORMAT: unknown kind, wrong size, corrupt; `out` is then
 * unspecified but nothing beyond out[n] was written. */
sl_status sl_codec_decode(sl_codec *codec, sl_codec_kind kind, const uint8_t *bytes, size_t n_bytes,
                          float *out, size_t n);

#endif
