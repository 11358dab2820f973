/* tests/unit/sched/test_head_pages.c - pages of a sequence against counting its tokens one by
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/head_pages.h"
#include "tests/support/seeded.h"

static void test_pages_for(void **state)
{
    (void)state;
    assert_int_equal(sl_head_pages_for(0), 0);
    assert_int_equal(sl_head_pages_for(1), 1);
    assert_int_equal(sl_head_pages_for(64), 1);
    assert_int_equal(sl_head_pages_for(65), 2);
    assert_int_equal(sl_head_pages_for(UINT32_MAX), 1u << 26);
}

static void test_margin(void **state)
{
    (void)state;
    assert_true(sl_head_retention_with_margin(0) == 0);
    assert_true(sl_head_retention_with_margin(0.5) == 1.1 * 0.5);
    assert_true(sl_head_retention_with_margin(0.95) == 1);
    assert_true(sl_head_retention_with_margin(1) == 1);
}

/* Of each token: in the window, a sink, or eligible. */
static void test_expected_against_counting(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        seeded random = seeded_from(seed);
        sl_head_retention r = {.sinks = seeded_below(&random, 100),
                               .window = seeded_below(&random, 300),
                               .keep = seeded_below(&random, 101) / 100.0};
        uint32_t n = seeded_below(&random, 2000), sinks = 0, eligible = 0;
        for (uint32_t i = 0; i < n && i + r.window < n; i++) {
            sinks += i < r.sinks;
            eligible += i >= r.sinks;
        }
        double kept = sinks + r.keep * eligible;
        uint32_t pages = sl_head_pages_expected(r, n), all = (sinks + eligible + 63) / 64;
        assert_seeded(&random, pages * 64.0 >= kept && (pages == 0 || (pages - 1) * 64.0 < kept));
        assert_seeded(&random, pages <= all && sl_head_pages_whole(r.window, n) == all);
        r.keep = 1;
        assert_seeded(&random, sl_head_pages_expected(r, n) == all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_for),
        cmocka_unit_test(test_margin),
        cmocka_unit_test(test_expected_against_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
