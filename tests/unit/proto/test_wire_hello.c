/* tests/unit/proto/test_wire_hello.c - the greeting: whole, of another version, or garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/wire.h"
#include "proto/wire_seal.h"
#include "tests/support/capture.h"
#include "tests/support/seeded.h"

static char talk[1 << 16];

static sl_hello sample(void)
{
    return (sl_hello){.version = SL_WIRE_VERSION,
                      .build = "0.1.0-gabc",
                      .kernels = "avx2",
                      .host = "node7",
                      .status = SL_ERR_MEMORY,
                      .threads = 12,
                      .options_hash = 0xfedcba9876543210u,
                      .header_hash = 2,
                      .model_hash = 1,
                      .pages_total = 1234567,
                      .planned_bytes = UINT64_MAX,
                      .memory_limit = 99};
}

static void assert_equal(const sl_hello *a, const sl_hello *b)
{
    assert_int_equal(a->version, b->version);
    assert_string_equal(a->build, b->build);
    assert_string_equal(a->kernels, b->kernels);
    assert_string_equal(a->host, b->host);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->threads, b->threads);
    assert_true(a->options_hash == b->options_hash && a->model_hash == b->model_hash &&
                a->header_hash == b->header_hash);
    assert_true(a->pages_total == b->pages_total && a->planned_bytes == b->planned_bytes);
    assert_true(a->memory_limit == b->memory_limit);
}

static sl_status decode_quietly(const uint8_t *bytes, sl_hello *out)
{
    capture quiet;
    capture_begin(&quiet);
    sl_status status = sl_wire_decode_hello(bytes, out);
    capture_end(&quiet, talk, sizeof talk);
    return status;
}

static void test_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[SL_HELLO_BYTES];
    sl_hello hello = sample(), back;
    memset(bytes, 0xaa, sizeof bytes);
    sl_wire_encode_hello(&hello, bytes);
    assert_int_equal(bytes[SL_HELLO_BYTES - 1], 0);
    assert_int_equal(sl_wire_decode_hello(bytes, &back), SL_OK);
    assert_equal(&hello, &back);
}

static void test_longest(void **state)
{
    (void)state;
    uint8_t bytes[SL_HELLO_BYTES];
    sl_hello hello = sample(), back;
    memset(hello.build, 'b', SL_HELLO_TEXT_MAX - 1);
    memset(hello.kernels, 'k', SL_HELLO_TEXT_MAX - 1);
    memset(hello.host, 0xff, SL_HELLO_TEXT_MAX - 1); /* bytes, not letters */
    hello.status = INT32_MIN;
    hello.threads = UINT32_MAX;
    hello.pages_total = UINT64_MAX;
    sl_wire_encode_hello(&hello, bytes);
    assert_int_equal(sl_wire_decode_hello(bytes, &back), SL_OK);
    assert_equal(&hello, &back);
}

static void test_empty(void **state)
{
    (void)state;
    uint8_t bytes[SL_HELLO_BYTES];
    sl_hello hello = {.version = SL_WIRE_VERSION}, back;
    sl_wire_encode_hello(&hello, bytes);
    assert_int_equal(sl_wire_decode_hello(bytes, &back), SL_OK);
    assert_equal(&hello, &back);
}

static void test_other_version(void **state)
{
    (void)state;
    uint8_t bytes[SL_HELLO_BYTES];
    sl_hello hello = sample(), back = {.threads = 99};
    hello.version = SL_WIRE_VERSION + 1;
    sl_wire_encode_hello(&hello, bytes);
    assert_int_equal(decode_quietly(bytes, &back), SL_ERR_FORMAT);
    char said[80];
    snprintf(said, sizeof said, "version %d, a peer %d (build 0.1.0-gabc)", SL_WIRE_VERSION,
             SL_WIRE_VERSION + 1);
    assert_non_null(strstr(talk, said));
    assert_int_equal(back.threads, 99);

    /* and when only the version can still be read */
    memset(bytes + SL_SEAL_BYTES + 5, 0xff, 10);
    sl_seal_write(bytes, 15);
    assert_int_equal(decode_quietly(bytes, &back), SL_ERR_FORMAT);
    snprintf(said, sizeof said, "version %d, a peer %d (build unknown)", SL_WIRE_VERSION,
             SL_WIRE_VERSION + 1);
    assert_non_null(strstr(talk, said));
}

/* Protobuf takes the last of a field that is there twice. */
static void test_version_twice(void **state)
{
    (void)state;
    uint8_t bytes[SL_HELLO_BYTES] = {0};
    const uint8_t body[] = {0x0d, SL_WIRE_VERSION, 0, 0, 0, 0x0d, 9, 0, 0, 0};
    sl_hello back = {.threads = 99};
    memcpy(bytes + SL_SEAL_BYTES, body, sizeof body);
    sl_seal_write(bytes, sizeof body);
    assert_int_equal(decode_quietly(bytes, &back), SL_ERR_FORMAT);
    assert_int_equal(back.threads, 99);
}

static void test_text_too_long(void **state)
{
    (void)state;
    uint8_t bytes[SL_HELLO_BYTES] = {0};
    uint8_t *body = bytes + SL_SEAL_BYTES;
    const uint8_t start[] = {0x0d, SL_WIRE_VERSION, 0, 0, 0, 0x12, SL_HELLO_TEXT_MAX};
    sl_hello back;
    memcpy(body, start, sizeof start);
    memset(body + sizeof start, 'x', SL_HELLO_TEXT_MAX);
    sl_seal_write(bytes, sizeof start + SL_HELLO_TEXT_MAX);
    assert_int_equal(decode_quietly(bytes, &back), SL_ERR_FORMAT);

    body[6]--; /* one less fits */
    sl_seal_write(bytes, sizeof start + SL_HELLO_TEXT_MAX - 1);
    assert_int_equal(sl_wire_decode_hello(bytes, &back), SL_OK);
    assert_int_equal(strlen(back.build), SL_HELLO_TEXT_MAX - 1);
}

static void test_flipped_and_garbage(void **state)
{
    (void)state;
    uint8_t bytes[SL_HELLO_BYTES], garbage[SL_HELLO_BYTES] = {0};
    sl_hello hello = sample(), back = {.threads = 99};
    sl_wire_encode_hello(&hello, bytes);
    size_t n_bytes = SL_SEAL_BYTES + bytes[0] + 256u * bytes[1];
    for (size_t bit = 0; bit < 8 * n_bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode_quietly(bytes, &back), SL_ERR_FORMAT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(decode_quietly(garbage, &back), SL_ERR_FORMAT);
    memset(garbage, 0xff, sizeof garbage);
    assert_int_equal(decode_quietly(garbage, &back), SL_ERR_FORMAT);
    assert_int_equal(back.threads, 99);
}

static void test_damaged_beneath_the_seal(void **state)
{
    (void)state;
    int accepted = 0;
    for (uint64_t seed = 0; seed < 5000; seed++) {
        seeded random = seeded_from(seed);
        uint8_t bytes[SL_HELLO_BYTES];
        sl_hello hello = sample(), back;
        sl_wire_encode_hello(&hello, bytes);
        uint32_t body_bytes = bytes[0];
        for (int flips = 0; flips < 2; flips++)
            bytes[SL_SEAL_BYTES + seeded_below(&random, body_bytes)] ^=
                (uint8_t)(1u << seeded_below(&random, 8));
        sl_seal_write(bytes, body_bytes);
        if (decode_quietly(bytes, &back) != SL_OK) continue;
        accepted++;
        assert_seeded(&random, memchr(back.build, 0, sizeof back.build));
        assert_seeded(&random, memchr(back.kernels, 0, sizeof back.kernels));
        assert_seeded(&random, memchr(back.host, 0, sizeof back.host));
    }
    assert_true(accepted > 100 && accepted < 4900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_other_version),
        cmocka_unit_test(test_version_twice),
        cmocka_unit_test(test_text_too_long),
        cmocka_unit_test(test_flipped_and_garbage),
        cmocka_unit_test(test_damaged_beneath_the_seal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
