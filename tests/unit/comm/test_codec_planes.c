/* tests/unit/comm/test_codec_planes.c - where each bit of a number goes, and that it returns:
 * against the fields of IEEE 754, for every length around a vector's, at forbidden pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "comm/codec/codec_planes.h"
#include "tests/support/guarded.h"
#include "tests/support/seeded.h"

enum { N_MAX = 300 };

/* Of a float's, or a bf16's, upper 16 bits. */
static uint32_t exponent_of(uint32_t half) { return half >> 7 & 0xff; }
static uint32_t mantissa_and_sign_of(uint32_t half) { return (half & 0x7f) << 1 | half >> 15; }

static uint32_t number_at(const uint8_t *items, size_t i, size_t item_bytes)
{
    uint32_t number = 0;
    for (size_t k = 0; k < item_bytes; k++) number |= (uint32_t)items[i * item_bytes + k] << 8 * k;
    return number;
}

static void check_split(seeded *random, const uint8_t *items, size_t n, size_t item_bytes,
                        const uint8_t *rest, const uint8_t *top)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t number = number_at(items, i, item_bytes);
        if (item_bytes == 1) {
            assert_seeded(random, top[i] == number);
            continue;
        }
        uint32_t half = item_bytes == 4 ? number >> 16 : number;
        const uint8_t *half_rest = item_bytes == 4 ? rest + 2 * n : rest;
        assert_seeded(random, top[i] == exponent_of(half));
        assert_seeded(random, half_rest[i] == mantissa_and_sign_of(half));
        if (item_bytes == 4) assert_seeded(random, number_at(rest, i, 2) == (number & 0xffff));
    }
}

static void every_bit_has_its_place_and_returns(void **state)
{
    (void)state;
    guarded items, rest, top;
    guarded_open(&items, N_MAX * 4);
    guarded_open(&rest, N_MAX * 3);
    guarded_open(&top, N_MAX);
    seeded random = seeded_from(7);
    for (size_t n = 0; n <= N_MAX; n++)
        for (size_t item_bytes = 1; item_bytes <= 4; item_bytes *= 2) {
            uint8_t given[N_MAX * 4];
            for (size_t i = 0; i < n * item_bytes; i++) given[i] = (uint8_t)seeded_bits(&random);
            uint8_t *from = guarded_copy(&items, given, n * item_bytes);
            uint8_t *to_rest = rest.end - n * (item_bytes - 1), *to_top = top.end - n;
            sl_planes_split(from, n, item_bytes, to_rest, to_top);
            check_split(&random, given, n, item_bytes, to_rest, to_top);
            memset(from, 0xcd, n * item_bytes);
            sl_planes_merge(to_rest, to_top, n, item_bytes, from);
            assert_seeded(&random, memcmp(from, given, n * item_bytes) == 0);
        }
    guarded_close(&items);
    guarded_close(&rest);
    guarded_close(&top);
}

/* What is on the wire: of -1.5 = 0xbfc00000 and 0x00800001, the least normal number but one. */
static void two_floats(void **state)
{
    (void)state;
    const uint8_t floats[] = {0x00, 0x00, 0xc0, 0xbf, 0x01, 0x00, 0x80, 0x00};
    const uint8_t expected_rest[] = {0x00, 0x00, 0x01, 0x00, 0x81, 0x00};
    uint8_t rest[6], top[2];
    sl_planes_split(floats, 2, 4, rest, top);
    assert_memory_equal(rest, expected_rest, sizeof rest);
    assert_memory_equal(top, ((const uint8_t[]){127, 1}), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_has_its_place_and_returns),
        cmocka_unit_test(two_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
