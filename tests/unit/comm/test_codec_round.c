/* tests/unit/comm/test_codec_round.c - what rounding to bf16 and int8 does to single values:
 * against exact arithmetic in double, over every exponent, and for what is no number. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "comm/codec/codec_round.h"
#include "runtime/base/float_bits.h"
#include "tests/support/seeded.h"

/* ---- bf16 ---- */

static float through_bf16(float x)
{
    uint8_t bytes[2];
    float out;
    sl_bf16_round(&x, 1, bytes);
    sl_bf16_widen(bytes, 1, &out);
    return out;
}

static void bf16_takes_the_nearest(void **state)
{
    (void)state;
    seeded random = seeded_from(1);
    for (int i = 0; i < 1000000; i++) {
        uint32_t bits = (uint32_t)seeded_bits(&random);
        if (seeded_below(&random, 4) == 0) bits = (bits & 0xffff0000) | 0x8000; /* a tie */
        float x = sl_bits_float(bits);
        if (!isfinite(x) || fabsf(x) >= 0x1.ffp127F) continue;
        uint32_t got = sl_float_bits(through_bf16(x));
        assert_seeded(&random, (got & 0xffff) == 0);
        double below = sl_bits_float(bits & 0xffff0000),
               above = sl_bits_float((bits & 0xffff0000) + 0x10000);
        if (isinf(above)) above = copysign(0x1p128, x);
        double to_below = fabs((double)x - below), to_above = fabs(above - (double)x);
        bool up = to_above < to_below || (to_above == to_below && (bits >> 16 & 1));
        assert_seeded(&random, got == (bits & 0xffff0000) + (up ? 0x10000 : 0));
        if (fabsf(x) >= FLT_MIN)
            assert_seeded(&random,
                          fabs((double)sl_bits_float(got) - (double)x) <= fabs((double)x) / 256);
    }
}

static void bf16_keeps_what_is_no_number(void **state)
{
    (void)state;
    assert_int_equal(sl_float_bits(through_bf16(INFINITY)), 0x7f800000);
    assert_int_equal(sl_float_bits(through_bf16(-INFINITY)), 0xff800000);
    assert_int_equal(sl_float_bits(through_bf16(-0.0F)), 0x80000000);
    assert_int_equal(sl_float_bits(through_bf16(sl_bits_float(0x7f800001))),
                     0x7fc00000); /* all in the rest */
    assert_int_equal(sl_float_bits(through_bf16(sl_bits_float(0xff80ffff))), 0xffc00000);
    assert_int_equal(sl_float_bits(through_bf16(sl_bits_float(0x7fffffff))),
                     0x7fff0000); /* must not wrap */
    assert_int_equal(sl_float_bits(through_bf16(sl_bits_float(0xffffffff))), 0xffff0000);
    assert_int_equal(sl_float_bits(through_bf16(0x1.fep127F)), 0x7f7f0000); /* the largest */
    assert_int_equal(sl_float_bits(through_bf16(sl_bits_float(0x7f7f7fff))), 0x7f7f0000);
    assert_int_equal(sl_float_bits(through_bf16(sl_bits_float(0x7f7f8000))),
                     0x7f800000); /* a tie, upwards */
    assert_int_equal(sl_float_bits(through_bf16(-FLT_MAX)), 0xff800000);
    assert_int_equal(sl_float_bits(through_bf16(0x1p-149F)), 0);
}

/* ---- int8 ---- */

enum { N_MAX = 100 };
typedef struct {
    uint8_t q[N_MAX], scales[2 * 4];
    float out[N_MAX];
} rounded;

static void through_int8(const float *x, size_t n, rounded *r)
{
    memset(r, 0xcd, sizeof *r);
    sl_int8_round(x, n, r->q, r->scales);
    sl_int8_widen(r->q, r->scales, n, r->out);
}

static float scale_of(const rounded *r, size_t block)
{
    return sl_bits_float((uint32_t)r->scales[2 * block] << 16 | (uint32_t)r->scales[2 * block + 1]
                                                                    << 24);
}

/* The promises of codec_round.h for one block of finite values. */
static void check_block(seeded *random, const float *x, size_t n, const rounded *r, size_t block)
{
    double largest = 0, scale = scale_of(r, block);
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)x[i]));
    assert_seeded(random, scale >= largest / 127 * (1 - 0x1p-24));
    double step = largest / 127 < 0x1p-126 ? 0x1p-133 : largest / 127 * 0x1p-7;
    assert_seeded(random, scale <= largest / 127 + step * (1 + 0x1p-20));
    for (size_t i = 0; i < n; i++) {
        double q = (int8_t)r->q[block * SL_INT8_BLOCK + i];
        double out = r->out[block * SL_INT8_BLOCK + i];
        assert_seeded(random, q >= -127 && q <= 127);
        assert_seeded(random, out == scale * q && isfinite(out));
        assert_seeded(random, fabs(out - (double)x[i]) <= scale * (0.5 + 0x1p-16));
    }
}

static void int8_errs_by_half_a_step(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        seeded random = seeded_from(seed);
        float x[N_MAX];
        size_t n = seeded_below(&random, N_MAX + 1);
        uint32_t exponents = 1 + seeded_below(&random, 40);
        uint32_t least = seeded_below(&random, 255 - exponents + 1);
        for (size_t i = 0; i < n; i++)
            x[i] = sl_bits_float(((uint32_t)seeded_bits(&random) & 0x807fffff) |
                                 (least + seeded_below(&random, exponents)) << 23);
        rounded r;
        through_int8(x, n, &r);
        for (size_t b = 0; b < sl_int8_blocks(n); b++) {
            size_t left = n - b * SL_INT8_BLOCK;
            check_block(&random, x + b * SL_INT8_BLOCK, left < SL_INT8_BLOCK ? left : SL_INT8_BLOCK,
                        &r, b);
        }
        assert_seeded(&random, n == N_MAX || r.q[n] == 0xcd);
    }
}

static void int8_at_the_ends_of_the_range(void **state)
{
    (void)state;
    static const float largest[] = {FLT_MAX,   0x1.fdp127F, 0x1.fcp127F, 8.4e6F, FLT_MIN,
                                    0x1p-140F, 0x1p-142F,   0x1p-149F,   0};
    seeded random = seeded_from(0);
    for (size_t i = 0; i < sizeof largest / sizeof *largest; i++) {
        float x[SL_INT8_BLOCK] = {largest[i], -largest[i], largest[i] / 2, -largest[i] / 3};
        rounded r;
        through_int8(x, SL_INT8_BLOCK, &r);
        if (largest[i] > 0x1p-143F) check_block(&random, x, SL_INT8_BLOCK, &r, 0);
        for (size_t j = 0; j < SL_INT8_BLOCK; j++) /* also where a 127th is no float any more */
            assert_true(fabs((double)r.out[j] - (double)x[j]) <= 0x1p-7 * (double)largest[i] ||
                        fabs((double)r.out[j] - (double)x[j]) <= 0x1p-134);
    }
}

/* The block is NaN, its neighbours are as they would be without it. */
static void int8_shows_what_is_no_number(void **state)
{
    (void)state;
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    float x[N_MAX];
    for (size_t i = 0; i < N_MAX; i++) x[i] = sinf((float)i);
    rounded good, r;
    through_int8(x, N_MAX, &good);
    for (size_t i = 0; i < N_MAX * 4; i++) {
        size_t at = i / 4, block = at / SL_INT8_BLOCK;
        float kept = x[at];
        x[at] = bad[i % 4];
        through_int8(x, N_MAX, &r);
        x[at] = kept;
        for (size_t j = 0; j < N_MAX; j++) {
            if (j / SL_INT8_BLOCK == block)
                assert_int_equal(sl_float_bits(r.out[j]), 0x7fc00000);
            else
                assert_int_equal(sl_float_bits(r.out[j]), sl_float_bits(good.out[j]));
        }
    }
}

/* Bytes that no encoder writes: numbers like any others. */
static void int8_widens_any_bytes(void **state)
{
    (void)state;
    const uint8_t q[] = {0x80, 0x7f, 0, 1};
    float out[4];
    sl_int8_widen(q, (const uint8_t[]){0x80, 0xbf}, 4, out); /* -1 */
    assert_true(out[0] == 128 && out[1] == -127 && out[2] == 0 && out[3] == -1);
    sl_int8_widen(q, (const uint8_t[]){0x80, 0x7f}, 4, out); /* infinity */
    assert_true(isinf(out[0]) && isinf(out[1]) && isnan(out[2]) && isinf(out[3]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_takes_the_nearest),
        cmocka_unit_test(bf16_keeps_what_is_no_number),
        cmocka_unit_test(int8_errs_by_half_a_step),
        cmocka_unit_test(int8_at_the_ends_of_the_range),
        cmocka_unit_test(int8_shows_what_is_no_number),
        cmocka_unit_test(int8_widens_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
