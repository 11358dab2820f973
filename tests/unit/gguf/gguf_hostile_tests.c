/* tests/unit/gguf/gguf_hostile_tests.c - a good file cut short, with flipped bits or with lies in
 * its numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/support/guarded.h"
#include "tests/support/seeded.h"
#include "tests/unit/gguf/gguf_trial.h"

#define COUNT_LIE ((uint64_t)1 << 40)

static void test_truncated(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = trial_small_file(&n_bytes);
    guarded room;
    guarded_open(&room, n_bytes);
    size_t needed = n_bytes - 24; /* the last tensor has 40 bytes, padded to 64 */
    for (size_t n = 0; n <= n_bytes; n++)
        assert_int_equal(trial_run(guarded_copy(&room, bytes, n), n),
                         n < needed ? SL_ERR_FORMAT : SL_OK);
    guarded_close(&room);
    free(bytes);
}

static void test_flipped(void **state)
{
    (void)state;
    size_t n_bytes, n_opened = 0;
    uint8_t *bytes = trial_small_file(&n_bytes);
    guarded room;
    guarded_open(&room, n_bytes);
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        seeded random = seeded_from(seed);
        uint8_t *copy = guarded_copy(&room, bytes, n_bytes);
        uint32_t n = 1 + seeded_below(&random, 6);
        for (uint32_t i = 0; i < n; i++) {
            /* Half of them a bit of a small number, where counts and kinds live. */
            uint8_t *at = copy + seeded_below(&random, (uint32_t)n_bytes);
            *at = seeded_below(&random, 2) ? (uint8_t)(*at ^ 1u << seeded_below(&random, 8))
                                           : (uint8_t)seeded_bits(&random);
        }
        n_opened += trial_run(copy, n_bytes) == SL_OK;
    }
    assert_in_range(n_opened, 100, 19900); /* both sides were tried */
    guarded_close(&room);
    free(bytes);
}

/* Files that differ from a good one in one number. `of` NULL: `at` counts from the file's start;
 * else from the end of this key or tensor name. */
static const struct {
    const char *of;
    size_t at;
    int bytes;
    uint64_t value;
    sl_status status;
} lies[] = {
    {NULL, 0, 4, 0x47475546, SL_ERR_FORMAT}, /* magic, the other way round */
    {NULL, GGUF_AT_TENSORS, 8, COUNT_LIE, SL_ERR_FORMAT},
    {NULL, GGUF_AT_TENSORS, 8, UINT64_MAX, SL_ERR_FORMAT},
    {NULL, GGUF_AT_TENSORS, 8, 4, SL_ERR_FORMAT},
    {NULL, GGUF_AT_KEYS, 8, COUNT_LIE, SL_ERR_FORMAT},
    {NULL, GGUF_AT_KEYS, 8, UINT64_MAX, SL_ERR_FORMAT},
    {NULL, GGUF_AT_KEYS, 8, 11, SL_ERR_FORMAT},
    {NULL, GGUF_AT_KEYS, 8, 9, SL_ERR_FORMAT},
    {NULL, GGUF_AT_KEYS + 8, 8, COUNT_LIE, SL_ERR_FORMAT}, /* the first key's length */
    {NULL, GGUF_AT_KEYS + 8, 8, UINT64_MAX, SL_ERR_FORMAT},
    {"a.u32", 0, 4, 13, SL_ERR_FORMAT}, /* kinds beyond the last */
    {"a.u32", 0, 4, UINT32_MAX, SL_ERR_FORMAT},
    {"a.text", 4, 8, COUNT_LIE, SL_ERR_FORMAT},
    {"a.text", 4, 8, UINT64_MAX, SL_ERR_FORMAT},
    {"a.i32s", 8, 8, COUNT_LIE, SL_ERR_FORMAT},
    {"a.i32s", 8, 8, (uint64_t)1 << 62, SL_ERR_FORMAT}, /* times 4 is 0 */
    {"a.texts", 8, 8, COUNT_LIE, SL_ERR_FORMAT},
    {"a.texts", 8, 8, UINT64_MAX, SL_ERR_FORMAT},
    {"a.i32s", 4, 4, 9, SL_ERR_FORMAT}, /* an array of arrays */
    {"a.i32s", 4, 4, 13, SL_ERR_FORMAT},
    {"t.matrix", 0, 4, 0, SL_ERR_FORMAT}, /* dimensions */
    {"t.matrix", 0, 4, 5, SL_ERR_FORMAT},
    {"t.matrix", 4, 8, 0, SL_ERR_FORMAT},
    {"t.matrix", 4, 8, COUNT_LIE, SL_ERR_FORMAT},
    {"t.matrix", 4, 8, UINT64_MAX, SL_ERR_FORMAT},
    {"t.matrix", 12, 8, (uint64_t)1 << 62, SL_ERR_FORMAT}, /* 4 of these overflow */
    {"t.blocks", 4, 8, 33, SL_ERR_FORMAT},                 /* not whole blocks */
    {"t.blocks", 4, 8, 96, SL_ERR_FORMAT},                 /* more than there is */
    {"t.matrix", 20, 4, 21, SL_OK},                        /* a type unknown to us has no bytes */
    {"t.matrix", 24, 8, 1, SL_ERR_FORMAT},
    {"t.matrix", 24, 8, 16, SL_ERR_FORMAT},
    {"t.matrix", 24, 8, COUNT_LIE, SL_ERR_FORMAT},
    {"t.matrix", 24, 8, UINT64_MAX - 31, SL_ERR_FORMAT},
    {"t.matrix", 24, 8, 64, SL_ERR_FORMAT}, /* on top of another */
};

static void test_lies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        size_t n_bytes;
        uint8_t *bytes = trial_small_file(&n_bytes);
        uint8_t *at = (lies[i].of ? gguf_after(bytes, n_bytes, lies[i].of) : bytes) + lies[i].at;
        memcpy(at, &lies[i].value, (size_t)lies[i].bytes);
        sl_status status = trial_run(bytes, n_bytes);
        if (status != lies[i].status)
            fail_msg("lie %zu (%s + %zu): status %d", i, lies[i].of ? lies[i].of : "header",
                     lies[i].at, status);
        free(bytes);
    }
}

/* Empty strings by the million, all of them really there: their views would be twice the file. */
static void test_too_many_strings(void **state)
{
    (void)state;
    const uint64_t n = ((uint64_t)1 << 24) + 1;
    sl_gguf_writer w = {0};
    size_t n_bytes, total = 8 * (size_t)n + 4096;
    sl_gguf_put_strings(&w, "k", NULL, 0);
    uint8_t *head = sl_gguf_writer_encode(&w, &n_bytes);
    sl_gguf_writer_fini(&w);
    gguf_set_u64(gguf_after(head, n_bytes, "k") + 8, n);
    uint8_t *bytes = mmap(NULL, total, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(bytes != MAP_FAILED);
    memcpy(bytes, head, n_bytes);
    assert_int_equal(trial_run_within(bytes, total, 1 << 16), SL_ERR_FORMAT);
    munmap(bytes, total);
    free(head);
}

static void test_twice(void **state)
{
    (void)state;
    size_t n_bytes;
    sl_gguf_writer keys = {0}, tensors = {0};
    sl_gguf_put_u32(&keys, "k", 1);
    sl_gguf_put_u32(&keys, "l", 1);
    sl_gguf_put_string(&keys, "k", "again");
    uint8_t *bytes = sl_gguf_writer_encode(&keys, &n_bytes);
    assert_int_equal(trial_run(bytes, n_bytes), SL_ERR_FORMAT);
    free(bytes);
    for (int i = 0; i < 2; i++)
        sl_gguf_put_tensor(&tensors, "t", SL_TYPE_F32, (const uint64_t[]){4}, 1, numbers, 16);
    bytes = sl_gguf_writer_encode(&tensors, &n_bytes);
    assert_int_equal(trial_run(bytes, n_bytes), SL_ERR_FORMAT);
    free(bytes);
    sl_gguf_writer_fini(&keys), sl_gguf_writer_fini(&tensors);
}

static sl_status try_alignment(uint32_t alignment)
{
    size_t n_bytes;
    sl_gguf_writer w = {0};
    sl_gguf_put_u32(&w, "general.alignment", alignment);
    sl_gguf_put_tensor(&w, "t", SL_TYPE_F32, (const uint64_t[]){64}, 1, numbers, sizeof numbers);
    sl_gguf_put_tensor(&w, "u", SL_TYPE_F32, (const uint64_t[]){4}, 1, numbers, 16);
    uint8_t *bytes = sl_gguf_writer_encode(&w, &n_bytes);
    sl_gguf_writer_fini(&w);
    sl_status status = trial_run(bytes, n_bytes);
    free(bytes);
    return status;
}

static void test_alignment(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 1, 2, 4, 7, 12, 33, 48, 1 << 21, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(try_alignment(bad[i]), SL_ERR_FORMAT);
    assert_int_equal(try_alignment(8), SL_OK);
    assert_int_equal(try_alignment(32), SL_OK);
    assert_int_equal(try_alignment(512), SL_ERR_FORMAT); /* the second tensor is at 256 */
}

/* Only keys, and nothing at all. */
static void test_without_tensors(void **state)
{
    (void)state;
    size_t n_bytes;
    sl_gguf_writer w = {0};
    uint8_t *bytes = sl_gguf_writer_encode(&w, &n_bytes);
    assert_int_equal(trial_run(bytes, 24), SL_OK);
    free(bytes);
    sl_gguf_put_string(&w, "k", "v");
    bytes = sl_gguf_writer_encode(&w, &n_bytes);
    sl_gguf_writer_fini(&w);
    assert_int_equal(trial_run(bytes, 24 + 9 + 4 + 9), SL_OK); /* no padding needed */
    free(bytes);
}

int gguf_hostile_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_too_many_strings),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_without_tensors),
    };
    return cmocka_run_group_tests_name("gguf hostile", tests, NULL, NULL);
}
