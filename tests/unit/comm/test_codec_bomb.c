/* tests/unit/comm/test_codec_bomb.c - zstd frames of 32 KB that unpack to a gigabyte, made by hand
 * (RFC 8878): frames of run-length blocks, 4 bytes for 128 KB each. */
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
enum { FRAME_BYTES_MAX = 16 + 4 * BOMB_BLOCKS };
enum { PLANES = 4, PLANE_PACKED = 1 };

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

/* A payload of f32-zstd: four such planes. */
static size_t put_payload(uint8_t *out, size_t n_blocks, size_t block_bytes, bool told)
{
    size_t n = 0;
    for (int plane = 0; plane < PLANES; plane++) {
        const size_t bytes = put_frame(out + n + 5, n_blocks, block_bytes, told);
        out[n] = PLANE_PACKED;
        for (int k = 0; k < 4; k++) out[n + 1 + (size_t)k] = (uint8_t)(bytes >> 8 * k);
        n += 5 + bytes;
    }
    return n;
}

static void test_a_gigabyte(void **state)
{
    (void)state;
    sl_codec *codec;
    uint8_t *payload = malloc((size_t)PLANES * (5 + FRAME_BYTES_MAX));
    assert_int_equal(sl_codec_open(SL_CODEC_F32_ZSTD, VALUES_MAX, &codec), SL_OK);
    sl_log_set_level(SL_LOG_NONE);
    for (int told = 0; told < 2; told++) {
        /* The same frame with one small block is what it claims to be. */
        float *out = malloc(VALUES_MAX * sizeof *out);
        size_t n_bytes = put_payload(payload, 1, 5000, told);
        assert_int_equal(sl_codec_decode(codec, SL_CODEC_F32_ZSTD, payload, n_bytes, out, 5000),
                         SL_OK);
        for (int i = 0; i < 5000; i++) assert_true(out[i] == 0);
        free(out);

        n_bytes = put_payload(payload, BOMB_BLOCKS, BLOCK_BYTES, told);
        assert_true(n_bytes < 150000);
        static const size_t counts[] = {0, 1, 5000, VALUES_MAX};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            out = malloc(counts[i] * sizeof *out + 1); /* for the sanitizer */
#if COUNTS_MALLOC
            const size_t asked = malloc_count.bytes;
#endif
            assert_int_equal(
                sl_codec_decode(codec, SL_CODEC_F32_ZSTD, payload, n_bytes, out, counts[i]),
                SL_ERR_FORMAT);
#if COUNTS_MALLOC
            assert_int_equal(malloc_count.bytes, asked);
#endif
            free(out);
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
