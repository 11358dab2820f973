/* Progress where stderr is no terminal: a line every ten seconds, and what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "launch/output/progress.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"

static char talk[2048];

/* What is said of these states, one after the other. */
static void tell(const sl_progress_state *states, int n)
{
    capture c;
    capture_begin(&c);
    sl_progress progress;
    sl_progress_init(&progress);
    for (int i = 0; i < n; i++) sl_progress_show(&progress, &states[i]);
    sl_progress_end(&progress);
    capture_end(&c, talk, sizeof talk);
}

static int count_lines(void)
{
    int n = 0;
    for (const char *c = talk; *c; c++) n += *c == '\n';
    return n;
}

static void test_every_ten_seconds(void **state)
{
    (void)state;
    sl_progress_state states[41];
    for (int i = 0; i <= 40; i++)
        states[i] = (sl_progress_state){.total = 9, .elapsed_ns = i * SL_SECOND};
    tell(states, 10);
    assert_string_equal(talk, "");
    tell(states, 41);
    assert_int_equal(count_lines(), 4);
    sl_log_set_level(SL_LOG_ERROR);
    tell(states, 41);
    sl_log_set_level(SL_LOG_INFO);
    assert_string_equal(talk, "");
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        sl_progress_state state;
        const char *said, *not_said;
    } rows[] = {
        {{.done = 5,
          .total = 20,
          .prompt_tokens = 900,
          .generated_tokens = 100,
          .elapsed_ns = 50 * SL_SECOND},
         "5/20 requests, 900 prompt + 100 generated tokens, 20 tok/s, about 2:30 left",
         "failed"},
        /* those done before took none of this run's time */
        {{.done = 15, .done_before = 10, .failed = 3, .total = 20, .elapsed_ns = 50 * SL_SECOND},
         "15/20 requests, 0 prompt + 0 generated tokens, 0 tok/s, 3 failed, about 0:50 left",
         "5:"},
        {{.done = 10, .done_before = 10, .total = 20, .elapsed_ns = 50 * SL_SECOND},
         "10/20 requests",
         "left"},
        {{.done = 20, .total = 20, .elapsed_ns = 50 * SL_SECOND}, "20/20 requests", "left"},
        {{.elapsed_ns = 50 * SL_SECOND}, "0/0 requests", "left"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tell(&rows[i].state, 1);
        if (!strstr(talk, rows[i].said) || strstr(talk, rows[i].not_said)) fail_msg("%s", talk);
        assert_int_equal(count_lines(), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_ten_seconds),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
