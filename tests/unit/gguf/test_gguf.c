/* tests/unit/gguf/test_gguf.c - what the writer wrote is read: keys, arrays and tensors; keys are
 * described as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/support/capture.h"
#include "tests/unit/gguf/gguf_trial.h"

static void check_values(const sl_gguf *gguf)
{
    uint32_t u = 0;
    int32_t i = 0;
    float f = 0;
    bool b = false;
    sl_text text;
    assert_true(sl_gguf_u32(gguf, "a.u32", &u) && u == 4000000000u);
    assert_true(sl_gguf_i32(gguf, "a.i32", &i) && i == -5);
    assert_true(sl_gguf_u32(gguf, "a.u64", &u) && u == 77);
    assert_true(sl_gguf_f32(gguf, "a.f32", &f) && f == 0.25F);
    assert_true(sl_gguf_bool(gguf, "a.bool", &b) && b);
    assert_true(sl_gguf_text(gguf, "a.text", &text) && sl_text_is(text, "with \n a line"));
    assert_true(sl_gguf_text(gguf, "a.empty", &text) && sl_text_is(text, ""));
    assert_true(sl_gguf_has(gguf, "a.texts") && !sl_gguf_has(gguf, "a.tex"));

    /* absent, another kind, or does not fit: untouched */
    u = 1, i = 1, f = 1;
    assert_false(sl_gguf_u32(gguf, "a.none", &u) || sl_gguf_u32(gguf, "a.i32", &u) ||
                 sl_gguf_u32(gguf, "a.f32", &u) || sl_gguf_u32(gguf, "a.i32s", &u) ||
                 sl_gguf_u32(gguf, "a.bool", &u));
    assert_false(sl_gguf_i32(gguf, "a.u32", &i) || sl_gguf_i32(gguf, "a.text", &i));
    assert_false(sl_gguf_f32(gguf, "a.u32", &f) || sl_gguf_f32(gguf, "a.f32s", &f));
    assert_false(sl_gguf_bool(gguf, "a.u32", &b) || sl_gguf_text(gguf, "a.texts", &text));
    assert_true(u == 1 && i == 1 && f == 1);
}

static void check_arrays(const sl_gguf *gguf)
{
    const sl_text *texts;
    int32_t integers[3];
    float reals[3];
    size_t n;
    assert_true(sl_gguf_text_array(gguf, "a.texts", &texts, &n));
    assert_int_equal(n, 3);
    assert_true(sl_text_is(texts[0], "one") && sl_text_is(texts[1], "") &&
                sl_text_is(texts[2], "three"));
    assert_true(sl_gguf_i32_array(gguf, "a.i32s", integers, 3, &n));
    assert_int_equal(n, 3);
    assert_memory_equal(integers, ((int32_t[]){1, -2, 3}), sizeof integers);
    assert_true(sl_gguf_f32_array(gguf, "a.f32s", reals, 3, &n));
    assert_true(n == 2 && reals[0] == 1.5F && reals[1] == -2);
    assert_false(sl_gguf_i32_array(gguf, "a.i32s", integers, 2, &n)); /* no room */
    assert_false(sl_gguf_i32_array(gguf, "a.f32s", integers, 3, &n));
    assert_false(sl_gguf_i32_array(gguf, "a.texts", integers, 3, &n));
    assert_false(sl_gguf_f32_array(gguf, "a.texts", reals, 3, &n));
    assert_false(sl_gguf_text_array(gguf, "a.text", &texts, &n));
}

static void check_tensors(const sl_gguf *gguf)
{
    assert_int_equal(sl_gguf_n_tensors(gguf), 3);
    assert_null(sl_gguf_find(gguf, "t.matri"));
    const sl_gguf_tensor *t = sl_gguf_find(gguf, "t.matrix");
    assert_ptr_equal(t, sl_gguf_tensor_at(gguf, 0));
    assert_true(t->type == SL_TYPE_F32 && t->n_dims == 2 && t->data_bytes == 48);
    assert_memory_equal(t->dims, ((uint64_t[]){4, 3, 1, 1}), sizeof t->dims);
    assert_memory_equal(t->data, numbers, 48);
    t = sl_gguf_find(gguf, "t.vector");
    assert_true(t->type == SL_TYPE_F16 && t->n_dims == 1 && t->data_bytes == 10);
    assert_memory_equal(t->data, numbers, 10);
    t = sl_gguf_find(gguf, "t.blocks");
    assert_true(t->type == SL_TYPE_Q4_1 && t->n_dims == 4 && t->data_bytes == 40);
    assert_memory_equal(t->data, blocks, 40);
}

static void test_read_back(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = trial_small_file(&n_bytes);
    uint64_t hashes[2];
    for (uint32_t version = 2; version <= 3; version++) {
        sl_gguf *gguf = NULL;
        gguf_set_u32(bytes + GGUF_AT_VERSION, version);
        assert_int_equal(trial_open(bytes, n_bytes, &gguf), SL_OK);
        assert_int_equal(sl_gguf_version(gguf), version);
        assert_int_equal(sl_gguf_bytes(gguf), n_bytes);
        assert_string_equal(sl_gguf_path(gguf), "a file");
        assert_int_equal(sl_gguf_n_keys(gguf), 10);
        hashes[version - 2] = sl_gguf_header_hash(gguf);
        check_values(gguf);
        check_arrays(gguf);
        check_tensors(gguf);
        sl_gguf_close(gguf);
    }
    assert_true(hashes[0] != hashes[1]);
    for (uint32_t version = 0; version < 6; version++) {
        gguf_set_u32(bytes + GGUF_AT_VERSION, version);
        assert_int_equal(trial_run(bytes, n_bytes),
                         version == 2 || version == 3 ? SL_OK : SL_ERR_UNSUPPORTED);
    }
    free(bytes);
}

static void test_big_endian(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = trial_small_file(&n_bytes);
    char said[512];
    capture talk;
    gguf_set_u32(bytes + GGUF_AT_VERSION, 0x03000000);
    sl_log_set_level(SL_LOG_ERROR);
    capture_begin(&talk);
    sl_status status = trial_run(bytes, n_bytes);
    capture_end(&talk, said, sizeof said);
    sl_log_set_level(SL_LOG_NONE);
    assert_int_equal(status, SL_ERR_UNSUPPORTED);
    assert_non_null(strstr(said, "version 3 of a big-endian machine"));
    free(bytes);
}

/* Kinds the writer does not write, by changing the kind of one as wide. */
static void test_other_kinds(void **state)
{
    (void)state;
    enum { U8 = 0, I8 = 1, I64 = 11, F64 = 12 };
    size_t n_bytes;
    uint8_t *bytes = trial_small_file(&n_bytes), *wide = gguf_after(bytes, n_bytes, "a.u64");
    uint8_t *narrow = gguf_after(bytes, n_bytes, "a.bool");
    const int64_t minus = -7;
    const double real = -0.125;
    const uint64_t huge = UINT64_MAX;
    sl_gguf *gguf;
    int32_t i = 0;
    uint32_t u = 0;
    uint64_t natural = 0;
    float f = 0;
    char text[80];

    gguf_set_u32(wide, I64), memcpy(wide + 4, &minus, 8);
    gguf_set_u32(narrow, U8), narrow[4] = 200;
    assert_int_equal(trial_open(bytes, n_bytes, &gguf), SL_OK);
    assert_true(sl_gguf_i32(gguf, "a.u64", &i) && i == -7 && !sl_gguf_u32(gguf, "a.u64", &u));
    assert_true(sl_gguf_u32(gguf, "a.bool", &u) && u == 200);
    assert_true(sl_gguf_u64(gguf, "a.bool", &natural) && natural == 200);
    assert_false(sl_gguf_u64(gguf, "a.u64", &natural));
    sl_gguf_close(gguf);

    gguf_set_u32(wide, F64), memcpy(wide + 4, &real, 8);
    gguf_set_u32(narrow, I8);
    assert_int_equal(trial_open(bytes, n_bytes, &gguf), SL_OK);
    assert_true(sl_gguf_f32(gguf, "a.u64", &f) && f == -0.125F && !sl_gguf_i32(gguf, "a.u64", &i));
    assert_true(sl_gguf_i32(gguf, "a.bool", &i) && i == -56 && !sl_gguf_u32(gguf, "a.bool", &u));
    sl_gguf_close(gguf);

    gguf_set_u32(wide, 10), memcpy(wide + 4, &huge, 8);
    assert_int_equal(trial_open(bytes, n_bytes, &gguf), SL_OK);
    assert_false(sl_gguf_u32(gguf, "a.u64", &u) || sl_gguf_i32(gguf, "a.u64", &i));
    assert_true(sl_gguf_u64(gguf, "a.u64", &natural) && natural == huge);
    sl_gguf_describe_key(gguf, 2, text, sizeof text);
    assert_string_equal(text, "a.u64 = 18446744073709551615");
    sl_gguf_close(gguf);
    free(bytes);
}

static void test_describe(void **state)
{
    (void)state;
    static const char *const expected[] = {"a.u32 = 4000000000", "a.i32 = -5",
                                           "a.u64 = 77",         "a.f32 = 0.25",
                                           "a.bool = true",      "a.text = \"with \\x0a a line\"",
                                           "a.empty = \"\"",     "a.texts = [3 items]"};
    size_t n_bytes;
    uint8_t *bytes = trial_small_file(&n_bytes);
    sl_gguf *gguf;
    assert_int_equal(trial_open(bytes, n_bytes, &gguf), SL_OK);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char text[80], cut[6];
        assert_int_equal(sl_gguf_describe_key(gguf, i, text, sizeof text), strlen(expected[i]));
        assert_string_equal(text, expected[i]);
        assert_int_equal(sl_gguf_describe_key(gguf, i, cut, sizeof cut), strlen(expected[i]));
        assert_memory_equal(cut, expected[i], 5);
    }
    sl_gguf_close(gguf);
    free(bytes);
}

/* A hostile key or value moves no cursor and rings no bell. */
static void test_describe_is_printable(void **state)
{
    (void)state;
    sl_gguf_writer w = {0};
    sl_gguf_put_u32(&w, "key\x1b[2J\n", 1);
    sl_gguf_put_string(&w, "text", "\x1b]0;x\a\x7f\xc3\xa9");
    size_t n_bytes;
    uint8_t *bytes = sl_gguf_writer_encode(&w, &n_bytes);
    sl_gguf_writer_fini(&w);
    sl_gguf *gguf;
    char text[80];
    assert_int_equal(trial_open(bytes, n_bytes, &gguf), SL_OK);
    sl_gguf_describe_key(gguf, 0, text, sizeof text);
    assert_string_equal(text, "key\\x1b[2J\\x0a = 1");
    sl_gguf_describe_key(gguf, 1, text, sizeof text);
    assert_string_equal(text, "text = \"\\x1b]0;x\\x07\\x7f\xc3\xa9\"");
    sl_gguf_close(gguf);
    free(bytes);
}

/* Neither a part of the word nor more than it. */
static void test_text_is(void **state)
{
    (void)state;
    assert_true(sl_text_is((sl_text){"llamas", 5}, "llama"));
    assert_false(sl_text_is((sl_text){"llama", 4}, "llama"));
    assert_false(sl_text_is((sl_text){"llamas", 6}, "llama"));
    assert_false(sl_text_is((sl_text){"lemur", 5}, "llama"));
    assert_true(sl_text_is((sl_text){"", 0}, ""));
}

int main(void)
{
    sl_log_set_level(SL_LOG_NONE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_big_endian),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_describe_is_printable),
        cmocka_unit_test(test_text_is),
    };
    int failed = cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
    failed += gguf_disk_tests();
    failed += gguf_hostile_tests();
    failed += gguf_split_tests();
    return failed;
}
