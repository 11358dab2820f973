/* tests/unit/comm/test_deadline.c - silence accounting: pure arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "comm/deadline.h"
#include "runtime/base/clock.h"

static void silence_is_the_sum_of_quiet_polls(void **state)
{
    (void)state;
    sl_silence silence = sl_silence_begin(7 * SL_SECOND);
    assert_int_equal(silence.silent_ns, 0);
    for (int i = 1; i <= 100; i++)
        silence = sl_silence_after(silence, 7 * SL_SECOND + i * 100 * SL_MS, false);
    assert_int_equal(silence.silent_ns, 10 * SL_SECOND);
}

static void hearing_ends_silence(void **state)
{
    (void)state;
    sl_silence silence = sl_silence_begin(0);
    silence = sl_silence_after(silence, 400 * SL_MS, false);
    silence = sl_silence_after(silence, 500 * SL_MS, true);
    assert_int_equal(silence.silent_ns, 0);
    silence = sl_silence_after(silence, 600 * SL_MS, false);
    assert_int_equal(silence.silent_ns, 100 * SL_MS);
}

static void own_stall_is_not_the_peers_silence(void **state)
{
    (void)state;
    sl_silence silence = sl_silence_begin(0);
    silence = sl_silence_after(silence, 300 * SL_MS, false);
    silence = sl_silence_after(silence, 3600 * SL_SECOND, false);
    assert_int_equal(silence.silent_ns, 800 * SL_MS);
    silence = sl_silence_after(silence, 3600 * SL_SECOND + 500 * SL_MS, false);
    assert_int_equal(silence.silent_ns, 1300 * SL_MS);
}

static void time_running_backwards_counts_nothing(void **state)
{
    (void)state;
    sl_silence silence = sl_silence_begin(5 * SL_SECOND);
    silence = sl_silence_after(silence, 4 * SL_SECOND, false);
    assert_int_equal(silence.silent_ns, 0);
    silence = sl_silence_after(silence, 4 * SL_SECOND + SL_MS, false);
    assert_int_equal(silence.silent_ns, SL_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_is_the_sum_of_quiet_polls),
        cmocka_unit_test(hearing_ends_silence),
        cmocka_unit_test(own_stall_is_not_the_peers_silence),
        cmocka_unit_test(time_running_backwards_counts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
