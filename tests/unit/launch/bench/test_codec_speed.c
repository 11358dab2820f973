/* tests/unit/launch/bench/test_codec_speed.c - sizes and errors that are known beforehand, and
 * choices among made-up speeds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "launch/bench/codec_speed.h"

enum { ROWS = 3, WIDTH = 64 };

static const sl_codec_speed *of_kind(const sl_codec_speed *speeds, sl_codec_kind kind)
{
    return &speeds[kind - 1];
}

/* A row of 1 + 2^-8, half way between two bf16, which becomes 1; one of zeros; one of 254 and, in
 * each block, one 1, which int8 makes 254 and 0 (a half step, to even). */
static void test_known_rows(void **state)
{
    (void)state;
    float rows[ROWS * WIDTH] = {0};
    for (int i = 0; i < WIDTH; i++) {
        rows[i] = 1 + 0x1p-8F;
        rows[2 * WIDTH + i] = i % 32 ? 254 : 1;
    }
    sl_codec_speed speeds[SL_CODEC_KINDS];
    assert_int_equal(sl_codec_speed_measure(rows, ROWS, WIDTH, speeds), SL_OK);
    static const size_t bytes[] = {4, 4, 2, 2, 1, 1};
    /* Of 192 exponents 66 are of 1, 64 of 0 and 62 of 254. */
    double exponent_bits = 66 * log2(192.0 / 66) + 64 * log2(3) + 62 * log2(192.0 / 62);
    for (int i = 0; i < SL_CODEC_KINDS; i++) {
        const sl_codec_speed *s = &speeds[i];
        assert_int_equal(s->kind, i + 1);
        assert_int_equal(s->written_as, i / 2 * 2 + 1); /* too small for zstd */
        assert_int_equal(s->raw_bytes, sizeof rows);
        size_t scales = s->written_as == SL_CODEC_INT8 ? ROWS * WIDTH / 32 * 2 : 0;
        assert_int_equal(s->n_bytes, ROWS * WIDTH * bytes[i] + scales);
        assert_true(s->encode_s > 0 && s->decode_s > 0);
        double bound = i < 4 ? (exponent_bits + (i < 2 ? 24 : 8) * ROWS * WIDTH) / 8 : 0;
        assert_true(fabs(s->bound_bytes - bound) < 1e-6);
        if (sl_codec_kind_lossless(s->kind)) assert_true(s->max_error == 0 && s->rms_error == 0);
    }

    double bf16 = 0x1p-8 / (1 + 0x1p-8);
    const sl_codec_speed *s = of_kind(speeds, SL_CODEC_BF16);
    assert_true(fabs(s->max_error - bf16) < 1e-9);
    assert_true(fabs(s->rms_error - bf16 / sqrt(ROWS)) < 1e-9);

    double mean_square = (31 * 254.0 * 254 + 1) / 32;
    s = of_kind(speeds, SL_CODEC_INT8); /* equal values err by at most half a step, 1.01 / 254 */
    assert_true(fabs(s->max_error - 1 / sqrt(mean_square)) < 1e-9);
}

/* The bits of a codec's numbers that a choice reads. */
static void make(sl_codec_speed *speeds, sl_codec_kind kind, sl_codec_kind written_as,
                 size_t n_bytes, double seconds)
{
    speeds[kind - 1] = (sl_codec_speed){.kind = kind,
                                        .written_as = written_as,
                                        .raw_bytes = 1000,
                                        .n_bytes = n_bytes,
                                        .encode_s = seconds,
                                        .decode_s = seconds};
}

static void test_choices(void **state)
{
    (void)state;
    sl_codec_speed s[SL_CODEC_KINDS];
    make(s, SL_CODEC_F32, SL_CODEC_F32, 1000, 0);
    make(s, SL_CODEC_F32_ZSTD, SL_CODEC_F32_ZSTD, 800, 1e-6);
    make(s, SL_CODEC_BF16, SL_CODEC_BF16, 500, 0.1e-6);
    make(s, SL_CODEC_BF16_ZSTD, SL_CODEC_BF16_ZSTD, 350, 0.5e-6);
    make(s, SL_CODEC_INT8, SL_CODEC_INT8, 280, 0.6e-6);
    make(s, SL_CODEC_INT8_ZSTD, SL_CODEC_INT8_ZSTD, 200, 2e-6);
    assert_int_equal(sl_codec_speed_choose(s, SL_CHOICE_LOSSLESS, 1e7), SL_CODEC_F32_ZSTD);
    assert_int_equal(sl_codec_speed_choose(s, SL_CHOICE_LOSSLESS, 1e9), SL_CODEC_F32);
    assert_int_equal(sl_codec_speed_choose(s, SL_CHOICE_ANY, 1e7), SL_CODEC_INT8_ZSTD);
    assert_int_equal(sl_codec_speed_choose(s, SL_CHOICE_ANY, 1e9), SL_CODEC_BF16);
    assert_int_equal(sl_codec_speed_choose(s, SL_CHOICE_ANY, 1e12), SL_CODEC_F32);
}

/* A kind whose payload went without zstd is the plain one by another name: noise must not pick
 * it. */
static void test_other_names_are_not_chosen(void **state)
{
    (void)state;
    sl_codec_speed s[SL_CODEC_KINDS];
    for (int k = 1; k <= SL_CODEC_KINDS; k++) {
        sl_codec_kind plain = (sl_codec_kind)((k - 1) / 2 * 2 + 1);
        make(s, (sl_codec_kind)k, plain, 1000, k % 2 ? 1e-6 : 0.9e-6);
    }
    assert_int_equal(sl_codec_speed_choose(s, SL_CHOICE_LOSSLESS, 1e8), SL_CODEC_F32);
    assert_int_equal(sl_codec_speed_choose(s, SL_CHOICE_ANY, 1e8), SL_CODEC_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_rows),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_other_names_are_not_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
