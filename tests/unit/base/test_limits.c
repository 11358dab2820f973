/* Limits of the system and the stacks of threads. Each case in a child of its own: a limit
 * stays. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/arena.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "tests/support/capture.h"

#define GB ((uint64_t)1 << 30)

/* Whether work() is true in a child. */
static void check_in_child(bool (*work)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(work() ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static bool set_limit(int which, uint64_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    return setrlimit((__rlimit_resource_t)which, &limit) == 0;
}

static bool says(sl_status (*work)(void), sl_status expected, const char *words)
{
    capture c;
    char talk[1024];
    capture_begin(&c);
    sl_status status = work();
    capture_end(&c, talk, sizeof talk);
    return status == expected && strstr(talk, words) != NULL;
}

static sl_status take_4_gb(void)
{
    void *storage;
    return sl_storage_take(4 * GB, "the test", &storage);
}

static bool address_limited(void)
{
    if (sl_limits_check(GB, "the test") != SL_OK) return false;
    if (!set_limit(RLIMIT_AS, 2 * GB)) return false;
    sl_limit limit = sl_limit_address();
    return limit.most == 2 * GB && limit.taken > 0 && sl_limit_data().most == UINT64_MAX &&
           sl_limit_left(limit) == 2 * GB - limit.taken &&
           says(take_4_gb, SL_ERR_MEMORY, "ulimit -v") && sl_limits_check(GB, "the test") == SL_OK;
}

static bool data_limited(void)
{
    return set_limit(RLIMIT_DATA, GB) && says(take_4_gb, SL_ERR_MEMORY, "ulimit -d");
}

/* What nothing has touched is taken of both. */
static bool untouched_counts(void)
{
    sl_limit address = sl_limit_address(), data = sl_limit_data();
    void *storage;
    if (sl_storage_take(GB, "the test", &storage) != SL_OK) return false;
    return sl_limit_address().taken >= address.taken + GB &&
           sl_limit_data().taken >= data.taken + GB;
}

static bool small_stack_raised(void)
{
    struct rlimit limit = {.rlim_cur = 64 << 10, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_STACK, &limit) != 0 || sl_limits_begin() != SL_OK) return false;
    return getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur >= SL_THREAD_STACK_BYTES;
}

static bool small_stack_told(void)
{
    return set_limit(RLIMIT_STACK, 64 << 10) && says(sl_limits_begin, SL_ERR_MEMORY, "ulimit -s");
}

static void test_limits(void **state)
{
    (void)state;
    if (SL_SANITIZED) skip(); /* terabytes of shadow memory */
    check_in_child(address_limited);
    check_in_child(data_limited);
    check_in_child(untouched_counts);
    check_in_child(small_stack_raised);
    check_in_child(small_stack_told);
}

/* ---- stacks ---- */

static void *own_stack(void *context)
{
    pthread_attr_t attributes;
    size_t *bytes = context;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return NULL;
    pthread_attr_getstacksize(&attributes, bytes);
    pthread_attr_destroy(&attributes);
    return NULL;
}

static bool stacks_are_ours(void)
{
    size_t ours = 0, of_library = 0;
    pthread_t thread;
    sl_thread_set_default_stack();
    if (sl_thread_start(&thread, own_stack, &ours) != 0) return false;
    pthread_join(thread, NULL);
    if (pthread_create(&thread, NULL, own_stack, &of_library) != 0) return false;
    pthread_join(thread, NULL);
    return ours == SL_THREAD_STACK_BYTES && of_library == SL_THREAD_STACK_BYTES;
}

static void test_stacks(void **state)
{
    (void)state;
    check_in_child(stacks_are_ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_stacks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
