/* comm/codec/codec.h - a frame's hidden rows as bytes, per link: the front door of
 * comm/codec, which knows floats, not models.
 * One sl_codec per thread that uses it; its buffers are taken at open. */
#ifndef SL_CODEC_H
#define SL_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct sl_codec sl_codec;

/* What a payload's header says. Numbers are on the wire: never reuse one, and let a version of the
 * wire (proto/wire.h) begin where the bytes of a kind change. */
typedef enum {
    SL_CODEC_F32 = 1,       /* little-endian floats as they are */
    SL_CODEC_F32_ZSTD = 2,  /* exponents through zstd, signs and mantissas as they are */
    SL_CODEC_BF16 = 3,      /* rounded to the upper half of a float: relative error 2^-8 */
    SL_CODEC_BF16_ZSTD = 4, /* exponents as of f32 */
    SL_CODEC_INT8 = 5,      /* per block of 32: error 1/252 of the block's largest magnitude */
    SL_CODEC_INT8_ZSTD = 6, /* through zstd, as are the exponents of the blocks' scales */
} sl_codec_kind;
enum { SL_CODEC_KINDS = 6 }; /* all from 1 to here */

/* For help and errors. */
#define SL_CODEC_NAMES "f32, f32-zstd, bf16, bf16-zstd, int8, int8-zstd"

/* By --codec's name. SL_ERR_OPTION, logged with the names there are. */
sl_status sl_codec_kind_named(const char *name, sl_codec_kind *kind_out);
const char *sl_codec_kind_name(sl_codec_kind kind);
/* What decodes to the same bits: contract 1 holds over such links only. Over the others a value
 * is rounded once a link, so results depend on the number of ranks; but still not on what travels
 * together: payloads of any size are rounded alike, and in rows of whole blocks of 32 values a
 * value's bits depend on its own row alone. */
int sl_codec_kind_lossless(sl_codec_kind kind);

/* For up to values_max floats a payload; decodes every kind, encodes `kind`. SL_ERR_MEMORY. */
sl_status sl_codec_open(sl_codec_kind kind, size_t values_max, sl_codec **codec_out);
void sl_codec_close(sl_codec *codec); /* NULL is fine */
/* Upper bound of an encoded payload, any kind: the floats' own bytes, as what zstd would not make
 * smaller goes without it. */
size_t sl_codec_bytes_max(size_t values_max);
/* Memory sl_codec_open takes. */
size_t sl_codec_open_bytes(size_t values_max);

/* Encode n floats into out[out_bytes_max], at least sl_codec_bytes_max(n). What zstd would not
 * make smaller, or is too small to gain, is written without it: *kind_out says what was done. */
sl_status sl_codec_encode(sl_codec *codec, const float *values, size_t n, uint8_t *out,
                          size_t out_bytes_max, sl_codec_kind *kind_out, size_t *n_bytes_out);
/* Decode exactly n floats. SL_ERR_FORMAT: unknown kind, wrong size, corrupt; `out` is then
 * unspecified but nothing beyond out[n] was written. */
sl_status sl_codec_decode(sl_codec *codec, sl_codec_kind kind, const uint8_t *bytes, size_t n_bytes,
                          float *out, size_t n);

#endif
