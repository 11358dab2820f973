/* tests/unit/sched/test_link_choice.c - a slow wire asks for few bytes, a fast one for little work,
 * and where they change places is where the sums say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/link_choice.h"
#include "tests/support/seeded.h"

/* Per byte: a copy, 2 GB/s for half the bytes, 250 MB/s for a fifth. */
static const sl_link_codec CODECS[] = {{1, 0, 0}, {0.5, 0.25e-9, 0.25e-9}, {0.2, 3e-9, 1e-9}};
enum { COPY, QUICK, SMALL, N_CODECS };

static void test_seconds_are_the_sum(void **state)
{
    (void)state;
    sl_link_codec codec = {0.25, 2e-9, 1e-9};
    assert_true(fabs(sl_link_seconds(&codec, 125e6) - 5e-9) < 1e-20);
}

/* QUICK meets COPY where 0.5e-9 = (1 - 0.5) / speed; SMALL meets QUICK where 3.5e-9 = 0.3 /
 * speed. */
static void test_speeds_change_the_choice(void **state)
{
    (void)state;
    assert_int_equal(sl_link_choose(CODECS, N_CODECS, 1e5), SMALL);
    assert_int_equal(sl_link_choose(CODECS, N_CODECS, 0.3 / 3.5e-9 * 0.99), SMALL);
    assert_int_equal(sl_link_choose(CODECS, N_CODECS, 0.3 / 3.5e-9 * 1.01), QUICK);
    assert_int_equal(sl_link_choose(CODECS, N_CODECS, 1e9 * 0.99), QUICK);
    assert_int_equal(sl_link_choose(CODECS, N_CODECS, 1e9 * 1.01), COPY);
    assert_int_equal(sl_link_choose(CODECS, N_CODECS, 1e14), COPY);
}

static void test_equals_go_to_the_first(void **state)
{
    (void)state;
    const sl_link_codec same[] = {CODECS[SMALL], CODECS[QUICK], CODECS[QUICK]};
    assert_int_equal(sl_link_choose(same, 3, 5e8), 1);
    assert_int_equal(sl_link_choose(same, 1, 5e8), 0);
}

static void test_nothing_is_better_than_the_choice(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        seeded random = seeded_from(seed);
        sl_link_codec codecs[6];
        uint32_t n = 1 + seeded_below(&random, 6);
        for (uint32_t i = 0; i < n; i++)
            codecs[i] = (sl_link_codec){.ratio = 0.01 * seeded_below(&random, 110),
                                        .encode_s = 1e-11 * seeded_below(&random, 400),
                                        .decode_s = 1e-11 * seeded_below(&random, 400)};
        double bytes_per_s = 1e5 * (1 + seeded_below(&random, 100000));
        uint32_t chosen = sl_link_choose(codecs, n, bytes_per_s);
        assert_seeded(&random, chosen < n);
        double seconds = sl_link_seconds(&codecs[chosen], bytes_per_s);
        for (uint32_t i = 0; i < n; i++)
            assert_seeded(&random, sl_link_seconds(&codecs[i], bytes_per_s) >= seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seconds_are_the_sum),
        cmocka_unit_test(test_speeds_change_the_choice),
        cmocka_unit_test(test_equals_go_to_the_first),
        cmocka_unit_test(test_nothing_is_better_than_the_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
