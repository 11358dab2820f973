/* tests/unit/launch/train/test_train_checkpoint.c - a checkpoint is read as it was written, or
 * refused: cut anywhere, with any byte changed, of another run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/train/train_checkpoint.h"
#include "tests/support/capture.h"

enum { STATE_BYTES = 24, RUN = 7 };

static uint8_t whole[256];
static size_t whole_bytes;
static const uint8_t state_written[STATE_BYTES] = {1, 2, 3, [STATE_BYTES - 1] = 9};

static int write_one(void **state)
{
    (void)state;
    char path[] = "/tmp/test_checkpoint.XXXXXX";
    close(mkstemp(path));
    const sl_train_point point = {.run = RUN, .round = 3, .seconds = 1.5};
    if (sl_train_checkpoint_save(path, &point, state_written, STATE_BYTES) != SL_OK) return 1;
    FILE *file = fopen(path, "rb");
    whole_bytes = fread(whole, 1, sizeof whole, file);
    fclose(file);
    unlink(path);
    return whole_bytes <= STATE_BYTES;
}

static sl_status read_bytes(const uint8_t *bytes, size_t n, uint64_t run, size_t state_bytes,
                            sl_train_point *point)
{
    uint8_t *state = malloc(state_bytes); /* exactly, so that a sanitizer guards its end */
    capture quiet;
    char said[512];
    FILE *file = fmemopen((void *)bytes, n, "r");
    assert_true(state && file);
    *point = (sl_train_point){.run = run};
    capture_begin(&quiet);
    sl_status status = sl_train_checkpoint_read(file, "checkpoint", point, state, state_bytes);
    capture_end(&quiet, said, sizeof said);
    fclose(file);
    if (status == SL_OK) assert_memory_equal(state, state_written, state_bytes);
    if (status != SL_OK) assert_non_null(strstr(said, "remove it to start anew"));
    free(state);
    return status;
}

static void test_round_trip(void **state)
{
    (void)state;
    sl_train_point point;
    assert_int_equal(read_bytes(whole, whole_bytes, RUN, STATE_BYTES, &point), SL_OK);
    assert_true(point.run == RUN && point.round == 3 && point.seconds == 1.5);
}

static void test_another_run(void **state)
{
    (void)state;
    sl_train_point point;
    assert_int_equal(read_bytes(whole, whole_bytes, RUN + 1, STATE_BYTES, &point), SL_ERR_OPTION);
    assert_int_equal(read_bytes(whole, whole_bytes, RUN, STATE_BYTES - 1, &point), SL_ERR_OPTION);
    assert_true(point.round == 0 && point.seconds == 0);
}

static void test_cut(void **state)
{
    (void)state;
    sl_train_point point;
    for (size_t n = 1; n < whole_bytes; n++)
        assert_int_equal(read_bytes(whole, n, RUN, STATE_BYTES, &point), SL_ERR_FORMAT);
}

static void test_changed(void **state)
{
    (void)state;
    sl_train_point point;
    for (size_t i = 0; i < whole_bytes; i++) {
        whole[i] ^= 0x10;
        assert_int_equal(read_bytes(whole, whole_bytes, RUN, STATE_BYTES, &point), SL_ERR_FORMAT);
        whole[i] ^= 0x10;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_another_run),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_changed),
    };
    return cmocka_run_group_tests(tests, write_one, NULL);
}
