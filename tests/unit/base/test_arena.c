/* tests/unit/base/test_arena.c - the bump pointer, its measuring twin, and what it refuses. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/arena.h"
#include "tests/support/capture.h"

static _Alignas(64) uint8_t block[1024];

static void test_take(void **state)
{
    (void)state;
    sl_arena arena;
    sl_arena_init(&arena, block, sizeof block);
    assert_ptr_equal(sl_arena_take(&arena, 1), block);
    assert_ptr_equal(sl_arena_take(&arena, 64), block + 64);
    assert_ptr_equal(sl_arena_take(&arena, 0), block + 128);
    assert_ptr_equal(sl_arena_take(&arena, 65), block + 128);
    assert_ptr_equal(sl_arena_array(&arena, double, 96), block + 256); /* all that is left */
    assert_int_equal(arena.used_bytes, sizeof block);
}

static void test_counting_agrees(void **state)
{
    (void)state;
    sl_arena counting, taking;
    sl_arena_init(&counting, NULL, 0);
    sl_arena_init(&taking, block, sizeof block);
    const size_t sizes[] = {3, 64, 100, 0, 1, 129};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_null(sl_arena_take(&counting, sizes[i]));
        assert_non_null(sl_arena_take(&taking, sizes[i]));
    }
    assert_int_equal(counting.used_bytes, taking.used_bytes);
    assert_int_equal(counting.used_bytes, 64 + 64 + 128 + 64 + 192);
}

static void take_too_much(sl_arena *arena) { sl_arena_take(arena, sizeof block + 1); }

static void take_bit_by_bit(sl_arena *arena)
{
    for (int i = 0; i < 17; i++) sl_arena_take(arena, 1);
}

static void take_sealed(sl_arena *arena)
{
    sl_arena_seal(arena);
    sl_arena_take(arena, 1);
}

/* How a child ends that does this to a fresh arena. */
static int signal_of(void (*act)(sl_arena *arena), char *said, size_t said_bytes_max)
{
    capture quiet;
    capture_begin(&quiet);
    pid_t child = fork();
    if (child == 0) {
        sl_arena arena;
        sl_arena_init(&arena, block, sizeof block);
        act(&arena);
        _exit(0);
    }
    int how = 0;
    waitpid(child, &how, 0);
    capture_end(&quiet, said, said_bytes_max);
    return WIFSIGNALED(how) ? WTERMSIG(how) : 0;
}

static void test_bugs_abort(void **state)
{
    (void)state;
    void (*const acts[])(sl_arena *) = {take_too_much, take_bit_by_bit, take_sealed};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        char said[512];
        assert_int_equal(signal_of(acts[i], said, sizeof said), SIGABRT);
        assert_non_null(strstr(said, "assertion failed"));
    }
}

static void test_storage(void **state)
{
    (void)state;
    void *storage = NULL;
    assert_int_equal(sl_storage_take(1 << 20, "test", &storage), SL_OK);
    assert_int_equal((uintptr_t)storage % 64, 0);
    const uint8_t *bytes = storage;
    for (size_t i = 0; i < 1 << 20; i += 4095) assert_int_equal(bytes[i], 0);
    sl_storage_release(storage, 1 << 20);
    sl_storage_release(NULL, 10);

    assert_int_equal(sl_storage_take(0, "nothing", &storage), SL_OK);
    sl_storage_release(storage, 0);
}

static void test_storage_refused(void **state)
{
    (void)state;
    char said[512];
    void *storage = &said;
    capture quiet;
    capture_begin(&quiet);
    sl_status status = sl_storage_take(SIZE_MAX / 2, "the moon", &storage);
    capture_end(&quiet, said, sizeof said);
    assert_int_equal(status, SL_ERR_MEMORY);
    assert_ptr_equal(storage, &said);
    assert_non_null(strstr(said, "the moon"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_counting_agrees),
        cmocka_unit_test(test_bugs_abort),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_storage_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
