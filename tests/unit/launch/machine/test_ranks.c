/* tests/unit/launch/machine/test_ranks.c - what ranks do beside each other, as far as one process
 * shows it: the last works of a failing job are bounded in time, and one rank attends without a
 * thread. Several ranks: tests/mpi/lost_beside.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "runtime/base/clock.h"
#include "tests/support/capture.h"

static char said[4096];

static sl_status write_quickly(void *context)
{
    *(bool *)context = true;
    return SL_OK;
}

/* A file system that does not answer. */
static sl_status write_for_ever(void *context)
{
    (void)context;
    sleep(60);
    return SL_OK;
}

static void test_last_works(void **state)
{
    (void)state;
    bool written = false;
    assert_true(sl_ranks_work_briefly(write_quickly, &written, 30 * SL_SECOND));
    assert_true(written);
    capture c;
    capture_begin(&c);
    int64_t began_ns = sl_clock_now_ns();
    assert_false(sl_ranks_work_briefly(write_for_ever, NULL, SL_SECOND / 5));
    int64_t took_ns = sl_clock_now_ns() - began_ns;
    capture_end(&c, said, sizeof said);
    assert_true(took_ns < 10 * SL_SECOND);
    assert_non_null(strstr(said, "the last records could not be written"));
}

static sl_status work_and_fail(void *context)
{
    *(bool *)context = true;
    return SL_ERR_FILE;
}

static void test_alone(void **state)
{
    (void)state;
    sl_comm *comm;
    bool worked = false;
    assert_int_equal(sl_ranks_open(&comm), SL_OK);
    assert_int_equal(sl_ranks_attend(comm, 0, SL_SIGNAL_ENDS_JOB, work_and_fail, &worked),
                     SL_ERR_FILE);
    assert_true(worked);
    assert_int_equal(sl_ranks_agree(comm, SL_ERR_FORMAT), SL_ERR_FORMAT);
    assert_int_equal(sl_ranks_close(comm, SL_EXIT_SOME_FAILED), SL_EXIT_SOME_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_works),
        cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
