/* test_policy_choice.c - which policy, rate, window and threshold settings and a gate file come
 * to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "launch/setup/policy_choice.h"
#include "tests/support/capture.h"

static const float shares[] = {0.2F, 0.3F};
static sl_gate_calibration rows[] = {
    {.keep = 0.5F, .window = 128, .threshold = 1},
    {.keep = 0.5F, .window = 16, .threshold = 2},
    {.keep = 0.25F, .window = 128, .threshold = 3, .retention = shares, .steer = 8},
};

static const sl_gate gate = {.sinks = 6,
                             .window = 128,
                             .threshold = 7,
                             .keep = 0.5F,
                             .calibration = rows,
                             .n_calibration = 3};

static sl_policy choose(const sl_gate *with, const char *policy, double keep, uint32_t window)
{
    sl_settings s = {.policy = policy, .keep = keep, .window = window, .sinks = SL_NOT_GIVEN};
    sl_policy p;
    assert_int_equal(sl_policy_choose(&s, with, false, &p), SL_OK);
    return p;
}

static void test_without_gate(void **state)
{
    (void)state;
    sl_policy p = choose(NULL, NULL, 0, SL_NOT_GIVEN);
    assert_true(p.kind == SL_POLICY_FULL && p.sinks == 4 && p.window == 128);
    p = choose(NULL, "snapkv", 0.25, 9);
    assert_true(p.kind == SL_POLICY_SNAPKV && p.keep == 0.25 && p.window == 9);
}

/* By the row for rate and window, given or the file's own. Without one a rate given is reached by
 * ranks, and else the file's threshold is taken. */
static void test_gate(void **state)
{
    (void)state;
    sl_policy p = choose(&gate, NULL, 0, SL_NOT_GIVEN);
    assert_true(p.kind == SL_POLICY_GATE && p.sinks == 6 && p.window == 128);
    assert_true(p.has_threshold && p.threshold == 1 && p.keep == 0.5 && p.steer == 0);
    p = choose(&gate, NULL, 0.25, SL_NOT_GIVEN);
    assert_true(p.has_threshold && p.threshold == 3 && p.keep == 0.25);
    assert_true(p.steer == 8 && p.share == shares);
    p = choose(&gate, NULL, 0, 16);
    assert_true(p.has_threshold && p.threshold == 2 && p.window == 16 && p.keep == 0.5);
    p = choose(&gate, NULL, 0.5, 16);
    assert_true(p.has_threshold && p.threshold == 2);
    p = choose(&gate, NULL, 0, 32);
    assert_true(p.has_threshold && p.threshold == 7 && p.keep == 0.5 && p.window == 32);
    p = choose(&gate, NULL, 0.5, 32);
    assert_true(!p.has_threshold && p.keep == 0.5 && p.window == 32);
    p = choose(&gate, NULL, 0.125, SL_NOT_GIVEN);
    assert_true(!p.has_threshold && p.keep == 0.125);
}

/* What is said of a rate that has no threshold: how to find some, where the gate has none at
 * all. */
static void test_notes(void **state)
{
    (void)state;
    sl_gate bare = gate;
    bare.n_calibration = 0;
    for (int i = 0; i < 2; i++) {
        char talk[1024];
        sl_policy p;
        const sl_settings s = {
            .gate = "g.gguf", .keep = 0.125, .window = SL_NOT_GIVEN, .sinks = SL_NOT_GIVEN};
        capture c;
        capture_begin(&c);
        assert_int_equal(sl_policy_choose(&s, i == 0 ? &gate : &bare, true, &p), SL_OK);
        capture_end(&c, talk, sizeof talk);
        assert_non_null(strstr(talk, i == 0 ? "g.gguf has no threshold for --keep 0.125"
                                            : "g.gguf is not calibrated, so that --keep 0.125"));
        assert_int_equal(strstr(talk, "train calibrate") != NULL, i == 1);
        assert_true(strchr(talk, '\n') == strrchr(talk, '\n'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_without_gate),
                                       cmocka_unit_test(test_gate), cmocka_unit_test(test_notes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
