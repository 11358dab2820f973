/* tests/fuzz/fuzz_codec.c - the input is a codec's number, a count of floats and a payload. The
 * payload is decoded; and, repeated to that many floats of any bits, encoded and decoded again. */
#include <stdlib.h>
#include <string.h>

#include "comm/codec/codec.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"

enum { KINDS_MAX = 16, VALUES_MAX = 8192, HEAD_BYTES = 3 };

static sl_codec *codecs[KINDS_MAX]; /* NULL: a number without a codec */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    for (int kind = 0; kind < KINDS_MAX; kind++)
        if (strcmp(sl_codec_kind_name((sl_codec_kind)kind), "unknown") != 0)
            SL_ASSERT(sl_codec_open((sl_codec_kind)kind, VALUES_MAX, &codecs[kind]) == SL_OK);
    SL_ASSERT(codecs[SL_CODEC_F32]);
    return 0;
}

/* n floats in exactly their bytes, so that a sanitizer guards their end. */
static float *make_floats(size_t n)
{
    float *values = malloc(n ? n * sizeof *values : 1);
    SL_ASSERT(values);
    return values;
}

/* Encoded and decoded; the same bits come back unless the codec loses some. */
static void check_round_trip(sl_codec *codec, const float *values, size_t n)
{
    sl_codec_kind kind;
    size_t n_bytes, bytes_max = sl_codec_bytes_max(n);
    uint8_t *payload = malloc(bytes_max);
    float *back = make_floats(n);
    SL_ASSERT(payload);
    SL_ASSERT(sl_codec_encode(codec, values, n, payload, bytes_max, &kind, &n_bytes) == SL_OK);
    SL_ASSERT(n_bytes <= bytes_max);
    SL_ASSERT(sl_codec_decode(codecs[SL_CODEC_F32], kind, payload, n_bytes, back, n) == SL_OK);
    if (sl_codec_kind_lossless(kind)) SL_ASSERT(memcmp(back, values, n * sizeof *back) == 0);
    free(back);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES) return 0;
    int kind = data[0] % KINDS_MAX;
    size_t n = (data[1] | (size_t)data[2] << 8) % (VALUES_MAX + 2); /* one too many, too */
    data += HEAD_BYTES, size -= HEAD_BYTES;
    uint8_t *payload = malloc(size ? size : 1); /* aligned by nothing but its start */
    float *values = make_floats(n);
    SL_ASSERT(payload);
    memcpy(payload, data, size);
    sl_status status = sl_codec_decode(codecs[SL_CODEC_F32], (sl_codec_kind)kind, payload, size,
                                       values, n);
    SL_ASSERT(status == SL_OK || status == SL_ERR_FORMAT);
    SL_ASSERT(status != SL_OK || (codecs[kind] && n <= VALUES_MAX));
    if (status == SL_OK) check_round_trip(codecs[kind], values, n);
    if (codecs[kind] && n <= VALUES_MAX && size > 0) {
        uint8_t *bytes = (uint8_t *)values;
        for (size_t i = 0; i < n * sizeof *values; i++) bytes[i] = payload[i % size];
        check_round_trip(codecs[kind], values, n);
    }
    free(values);
    free(payload);
    return 0;
}
