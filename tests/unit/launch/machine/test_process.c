/* tests/unit/launch/machine/test_process.c - what a process does with closed descriptors, with
 * files that grow too large, with mapped bytes that vanish and with signals. Each case in a child
 * of its own. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/machine/process.h"
#include "tests/support/capture.h"

static char said[1 << 16];

/* How a child that runs `work` ends, as a shell would tell it; what it says is in `said`. */
static int ended(void (*work)(void))
{
    capture c;
    int status;
    capture_begin(&c);
    pid_t child = fork();
    if (child == 0) {
        work();
        _exit(0);
    }
    waitpid(child, &status, 0);
    capture_end(&c, said, sizeof said);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void need(int condition)
{
    if (!condition) _exit(99);
}

/* ---- descriptors ---- */

static void start_without_descriptors(void)
{
    for (int number = 0; number <= 2; number++) close(number);
    sl_process_begin();
    char byte;
    need(read(0, &byte, 1) == -1);
    need(write(1, "x", 1) == -1); /* results that cannot be seen are an error */
    need(write(2, "x", 1) == 1);  /* talk is not */
    need(open("/dev/null", O_RDONLY) > 2);
}

static void start_with_descriptors(void)
{
    int ends[2];
    need(pipe(ends) == 0 && dup2(ends[1], 1) == 1);
    sl_process_begin();
    char byte = 0;
    need(write(1, "x", 1) == 1 && read(ends[0], &byte, 1) == 1 && byte == 'x');
}

static void test_descriptors(void **state)
{
    (void)state;
    assert_int_equal(ended(start_without_descriptors), 0);
    assert_int_equal(ended(start_with_descriptors), 0);
}

static void print_nowhere(void)
{
    close(1);
    sl_process_begin();
    printf("a result\n");
    _exit(sl_process_end(SL_EXIT_OK));
}

static void print_to_nobody(void)
{
    int ends[2];
    need(pipe(ends) == 0 && dup2(ends[1], 1) == 1);
    close(ends[0]);
    sl_process_begin();
    printf("a result\n");
    _exit(sl_process_end(SL_EXIT_SOME_FAILED));
}

static void test_results_unseen(void **state)
{
    (void)state;
    assert_int_equal(ended(print_nowhere), SL_EXIT_INPUT);
    assert_non_null(strstr(said, "cannot write the results to stdout: Bad file descriptor"));
    assert_int_equal(ended(print_to_nobody), 128 + SIGPIPE);
    assert_string_equal(said, ""); /* as `| head` does to any filter */
}

/* ---- files ---- */

static void write_too_much(void)
{
    sl_process_begin();
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 10, .rlim_max = 10});
    char name[] = "/tmp/sluice_process_XXXXXX", bytes[20] = {0};
    int file = mkstemp(name);
    unlink(name);
    need(write(file, bytes, sizeof bytes) == 10);
    need(write(file, bytes, sizeof bytes) == -1 && errno == EFBIG);
}

static void test_file_limit(void **state)
{
    (void)state;
    assert_int_equal(ended(write_too_much), 0);
}

static void read_cut_memory(void)
{
    sl_process_begin();
    char name[] = "/tmp/sluice_process_XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    need(ftruncate(file, 4096) == 0);
    volatile char *bytes = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    need(ftruncate(file, 0) == 0);
    (void)bytes[0];
}

static void test_lost_bytes(void **state)
{
    (void)state;
    assert_int_equal(ended(read_cut_memory), 128 + SIGBUS);
    assert_non_null(strstr(said, "/dev/shm"));
}

/* ---- signals ---- */

static void note_hangup(void)
{
    sl_process_catch_signals();
    raise(SIGHUP);
    need(sl_process_signal() == SIGHUP);
    need(strcmp(sl_process_signal_name(SIGHUP), "SIGHUP") == 0);
}

static void ignore_hangup(void) /* nohup */
{
    signal(SIGHUP, SIG_IGN);
    sl_process_catch_signals();
    raise(SIGHUP);
    need(sl_process_signal() == 0);
    raise(SIGQUIT);
    need(sl_process_signal() == SIGQUIT);
}

static void test_signals(void **state)
{
    (void)state;
    assert_int_equal(ended(note_hangup), 0);
    assert_int_equal(ended(ignore_hangup), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors), cmocka_unit_test(test_results_unseen),
        cmocka_unit_test(test_file_limit),  cmocka_unit_test(test_lost_bytes),
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
