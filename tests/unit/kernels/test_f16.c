/* test_f16.c - half precision against a conversion written from the definition. */
#include "tests/unit/kernels/kernel_cases.h"

static double value_of(uint16_t h)
{
    int exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    double magnitude = exponent == 0    ? ldexp(mantissa, -24)
                       : exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                                        : ldexp(1024 + mantissa, exponent - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void widens_every_value(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = sl_f16_to_f32((uint16_t)h);
        double expected = value_of((uint16_t)h);
        if (isnan(expected)) {
            assert_true(isnan(f));
        } else {
            assert_true((double)f == expected);
            assert_int_equal(!!signbit(f), h >> 15);
        }
    }
}

static void returns_every_value(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t back = sl_f32_to_f16(sl_f16_to_f32((uint16_t)h));
        bool nan = (h & 0x7c00) == 0x7c00 && (h & 0x3ff) != 0;
        assert_int_equal(back, nan ? h | 0x200 : h); /* a signalling NaN becomes quiet */
    }
}

/* Between neighbours a < b: below the middle to a, above to b, the middle to the even one. */
static void rounds_to_nearest_even(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double low = value_of((uint16_t)h);
        double high = h == 0x7bff ? 65536.0 : value_of((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2); /* exact in f32 */
        uint16_t even = (uint16_t)(h % 2 == 0 ? h : h + 1);
        assert_int_equal(sl_f32_to_f16(middle), even);
        assert_int_equal(sl_f32_to_f16(-middle), even | 0x8000);
        assert_int_equal(sl_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(sl_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
    }
}

static void keeps_the_ends(void **unused)
{
    (void)unused;
    assert_int_equal(sl_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(sl_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(sl_f32_to_f16(3e38F), 0x7c00);
    assert_int_equal(sl_f32_to_f16(-0.0F), 0x8000);
    assert_int_equal(sl_f32_to_f16(1e-40F), 0);
    assert_true(isnan(sl_f16_to_f32(sl_f32_to_f16(NAN))));
}

/* bf16 is cut off an f32: all 65,536, NaN and infinities among them. */
static void widens_every_bf16(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = sl_bf16_to_f32((uint16_t)h);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        assert_int_equal(bits, h << 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widens_every_value),     cmocka_unit_test(returns_every_value),
        cmocka_unit_test(rounds_to_nearest_even), cmocka_unit_test(keeps_the_ends),
        cmocka_unit_test(widens_every_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
