/* tests/unit/comm/test_codec_bomb.c - 32 to 140 KB for zstd that unpack to a gigabyte, made by hand
 * (RFC 8878): run-length blocks, 4 bytes for 128 KB each, in one frame or each in its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/codec/codec.h"
#include "runtime/base/log.h"
#include "tests/support/count_malloc.h"

enum { VALUES_MAX = 20000, BLOCK_BYTES = 128 << 10, BOMB_BLOCKS = 8192 };
enum {
    FRAME_HEAD_MAX = 13,
    PAYLOAD_BYTES_MAX = 3 * VALUES_MAX + BOMB_BLOCKS * (FRAME_HEAD_MAX + 4)
};

/* A frame of n_blocks zero runs, its size told in front or left open. Returns its bytes. */
static size_t put_frame(uint8_t *out, size_t n_blocks, size_t block_bytes, bool told)
{
    static const uint8_t open_end[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38}; /* window 128 KB */
    static const uint8_t size_follows[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0};   /* in 8 bytes */
    const uint64_t size = (uint64_t)n_blocks * block_bytes;
    size_t n = told ? sizeof size_follows : sizeof open_end;
    memcpy(out, told ? size_follows : open_end, n);
    for (int i = 0; told && i < 8; i++) out[n++] = (uint8_t)(size >> 8 * i);
    for (size_t i = 0; i < n_blocks; i++) {
        const uint32_t header = (uint32_t)(block_bytes << 3 | 1 << 1 | (i + 1 == n_blocks));
        for (int k = 0; k < 3; k++) out[n++] = (uint8_t)(header >> 8 * k);
        out[n++] = 0;
    }
    return n;
}

/* A payload of n zeros as f32-zstd, but for its exponents: n_frames frames. */
static size_t put_payload(uint8_t *out, size_t n, size_t n_frames, size_t n_blocks,
                          size_t block_bytes, bool told)
{
    size_t n_bytes = 3 * n;
    memset(out, 0, n_bytes);
    for (size_t i = 0; i < n_frames; i++)
        n_bytes += put_frame(out + n_bytes, n_blocks, block_bytes, told);
    assert_true(n_bytes <= PAYLOAD_BYTES_MAX);
    return n_bytes;
}

/* It is refused, and nothing was allocated for it. */
static void check_refused(sl_codec *codec, const uint8_t *payload, size_t n_bytes, size_t n)
{
    float *out = malloc(n * sizeof *out + 1); /* for the sanitizer */
#if COUNTS_MALLOC
    const size_t asked = malloc_count.bytes;
#endif
    assert_int_equal(sl_codec_decode(codec, SL_CODEC_F32_ZSTD, payload, n_bytes, out, n),
                     SL_ERR_FORMAT);
#if COUNTS_MALLOC
    assert_int_equal(malloc_count.bytes, asked);
#endif
    free(out);
}

/* Exponents in one frame or in several are what they claim to be, if they are as many. */
static void check_accepted(sl_codec *codec, uint8_t *payload, size_t n_frames, bool told)
{
    enum { N = 5000 };
    float out[N];
    size_t n_bytes = put_payload(payload, N, n_frames, 1, N / n_frames, told);
    assert_int_equal(sl_codec_decode(codec, SL_CODEC_F32_ZSTD, payload, n_bytes, out, N), SL_OK);
    for (int i = 0; i < N; i++) assert_true(out[i] == 0);
}

static void test_a_gigabyte(void **state)
{
    (void)state;
    sl_codec *codec;
    uint8_t *payload = malloc(PAYLOAD_BYTES_MAX);
    assert_int_equal(sl_codec_open(SL_CODEC_F32_ZSTD, VALUES_MAX, &codec), SL_OK);
    sl_log_set_level(SL_LOG_NONE);
    for (int told = 0; told < 2; told++) {
        check_accepted(codec, payload, 1, told);
        check_accepted(codec, payload, 4, told);
        static const size_t counts[] = {0, 1, 5000, VALUES_MAX};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            size_t n = counts[i];
            size_t n_bytes = put_payload(payload, n, 1, BOMB_BLOCKS, BLOCK_BYTES, told);
            check_refused(codec, payload, n_bytes, n);
            n_bytes = put_payload(payload, n, BOMB_BLOCKS, 1, BLOCK_BYTES, told);
            check_refused(codec, payload, n_bytes, n);
        }
    }
    sl_codec_close(codec);
    free(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_gigabyte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
