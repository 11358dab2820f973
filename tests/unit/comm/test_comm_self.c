/* tests/unit/comm/test_comm_self.c - one rank alone, and what the front door refuses. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/comm.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

static sl_comm *open_self(void)
{
    sl_comm *comm;
    const sl_comm_options options = {.heartbeat_ns = SL_SECOND};
    assert_int_equal(sl_comm_open("self", &options, &comm), SL_OK);
    return comm;
}

static void alone_a_rank_is_its_own_neighbour(void **state)
{
    (void)state;
    sl_comm *comm = open_self();
    assert_int_equal(sl_comm_rank(comm), 0);
    assert_int_equal(sl_comm_ranks(comm), 1);
    assert_int_equal(sl_comm_ranks_on_host(comm), 1);
    assert_int_equal(sl_comm_next(comm), 0);
    assert_int_equal(sl_comm_previous(comm), 0);

    uint64_t mine = 0x1234, all = 0;
    assert_int_equal(sl_comm_gather(comm, &mine, sizeof mine, &all, 0), SL_OK);
    assert_true(all == mine);

    assert_int_equal(sl_comm_start(comm, 1000, 0), SL_OK);
    sl_comm_event event;
    for (int i = 0; i < 100; i++)
        assert_int_equal(sl_comm_poll(comm, i * SL_SECOND, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    assert_int_equal(sl_comm_silence_ns(comm, 0), 0);
    assert_int_equal(sl_comm_bytes_sent(comm), 0);
    sl_comm_close(comm);
    sl_comm_close(NULL);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    sl_comm *comm = NULL;
    sl_comm_options options = {.heartbeat_ns = SL_SECOND};
    int errors = sl_log_errors();
    assert_int_equal(sl_comm_open("carrier pigeon", &options, &comm), SL_ERR_OPTION);
    options.heartbeat_ns = 0;
    assert_int_equal(sl_comm_open("self", &options, &comm), SL_ERR_OPTION);
    assert_int_equal(sl_log_errors() - errors, 2);
    assert_null(comm);
}

/* How a child that runs `act` ends. */
static int child_status(void (*act)(sl_comm *comm))
{
    sl_comm *comm = open_self();
    assert_int_equal(sl_comm_start(comm, 1000, 0), SL_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* not cmocka's */
        act(comm);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    sl_comm_close(comm);
    return status;
}

static void send_one(sl_comm *comm) { (void)sl_comm_send(comm, "x", 1, NULL, 0); }
static void abort_42(sl_comm *comm) { sl_comm_abort(comm, 42); }

static void sending_to_oneself_is_a_bug(void **state)
{
    (void)state;
    int status = child_status(send_one);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void abort_ends_the_process_with_its_code(void **state)
{
    (void)state;
    int status = child_status(abort_42);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_a_rank_is_its_own_neighbour),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(sending_to_oneself_is_a_bug),
        cmocka_unit_test(abort_ends_the_process_with_its_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
