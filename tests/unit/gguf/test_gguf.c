/* tests/unit/gguf/test_gguf.c - a GGUF read back, then the same file cut, flipped and lied about:
 * an error or a valid file, never a byte beyond the end nor memory beyond a few times its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "runtime/gguf/gguf.h"
#include "runtime/gguf/gguf_writer.h"
#include "tests/support/capture.h"
#include "tests/support/count_malloc.h"
#include "tests/support/gguf_patch.h"
#include "tests/support/guarded.h"
#include "tests/support/seeded.h"

#define COUNT_LIE ((uint64_t)1 << 40)

static const float numbers[64] = {1, -2, 0.5F, 3};
static const uint8_t blocks[40] = {1, 2, 3}; /* two of q4_1 */

static uint8_t *small_file(size_t *n_bytes_out)
{
    sl_gguf_writer w = {0};
    sl_gguf_put_u32(&w, "a.u32", 4000000000u);
    sl_gguf_put_i32(&w, "a.i32", -5);
    sl_gguf_put_u64(&w, "a.u64", 77);
    sl_gguf_put_f32(&w, "a.f32", 0.25F);
    sl_gguf_put_bool(&w, "a.bool", true);
    sl_gguf_put_string(&w, "a.text", "with \n a line");
    sl_gguf_put_string(&w, "a.empty", "");
    sl_gguf_put_strings(&w, "a.texts", (const char *const[]){"one", "", "three"}, 3);
    sl_gguf_put_i32s(&w, "a.i32s", (const int32_t[]){1, -2, 3}, 3);
    sl_gguf_put_f32s(&w, "a.f32s", (const float[]){1.5F, -2}, 2);
    sl_gguf_put_tensor(&w, "t.matrix", SL_TYPE_F32, (const uint64_t[]){4, 3}, 2, numbers, 48);
    sl_gguf_put_tensor(&w, "t.vector", SL_TYPE_F16, (const uint64_t[]){5}, 1, numbers, 10);
    sl_gguf_put_tensor(&w, "t.blocks", SL_TYPE_Q4_1, (const uint64_t[]){32, 1, 2, 1}, 4, blocks,
                       40);
    uint8_t *bytes = sl_gguf_writer_encode(&w, n_bytes_out);
    sl_gguf_writer_fini(&w);
    return bytes;
}

static sl_status open_bytes(const uint8_t *bytes, size_t n_bytes, sl_gguf **out)
{
    return sl_gguf_open_memory(bytes, n_bytes, "a file", out);
}

/* Open what may be anything. A file that opens is walked to its last byte; one that does not says
 * why, once. */
static sl_status try(const uint8_t *bytes, size_t n_bytes)
{
    sl_gguf *gguf = NULL;
    int errors = sl_log_errors();
#if COUNTS_MALLOC
    size_t before = malloc_count.bytes;
#endif
    sl_status status = open_bytes(bytes, n_bytes, &gguf);
#if COUNTS_MALLOC
    assert_in_range(malloc_count.bytes - before, 0, 16 * n_bytes + 4096);
#endif
    assert_int_equal(sl_log_errors() - errors, status != SL_OK);
    if (status != SL_OK) {
        assert_null(gguf);
        assert_true(status == SL_ERR_FORMAT || status == SL_ERR_UNSUPPORTED);
        return status;
    }
    volatile uint8_t sum = 0; /* what is claimed to be there is really read */
    for (size_t i = 0; i < sl_gguf_n_keys(gguf); i++) {
        char text[200];
        assert_true(sl_gguf_describe_key(gguf, i, text, sizeof text) >= 0);
    }
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(gguf, i);
        for (size_t k = 0; k < t->data_bytes; k++) sum ^= ((const uint8_t *)t->data)[k];
        for (size_t k = 0; k < t->name.bytes; k++) sum ^= (uint8_t)t->name.data[k];
    }
    (void)sum;
    sl_gguf_close(gguf);
    return SL_OK;
}

static bool text_is(sl_text text, const char *expected)
{
    return text.bytes == strlen(expected) && memcmp(text.data, expected, text.bytes) == 0;
}

/* ---- what is written is read ---- */

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
    assert_true(sl_gguf_text(gguf, "a.text", &text) && text_is(text, "with \n a line"));
    assert_true(sl_gguf_text(gguf, "a.empty", &text) && text_is(text, ""));
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
    assert_true(text_is(texts[0], "one") && text_is(texts[1], "") && text_is(texts[2], "three"));
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
    uint8_t *bytes = small_file(&n_bytes);
    uint64_t hashes[2];
    for (uint32_t version = 2; version <= 3; version++) {
        sl_gguf *gguf = NULL;
        gguf_set_u32(bytes + GGUF_AT_VERSION, version);
        assert_int_equal(open_bytes(bytes, n_bytes, &gguf), SL_OK);
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
        assert_int_equal(try(bytes, n_bytes),
                         version == 2 || version == 3 ? SL_OK : SL_ERR_UNSUPPORTED);
    }
    free(bytes);
}

static void test_big_endian(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = small_file(&n_bytes);
    char said[512];
    capture talk;
    gguf_set_u32(bytes + GGUF_AT_VERSION, 0x03000000);
    sl_log_set_level(SL_LOG_ERROR);
    capture_begin(&talk);
    sl_status status = try(bytes, n_bytes);
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
    uint8_t *bytes = small_file(&n_bytes), *wide = gguf_after(bytes, n_bytes, "a.u64");
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
    assert_int_equal(open_bytes(bytes, n_bytes, &gguf), SL_OK);
    assert_true(sl_gguf_i32(gguf, "a.u64", &i) && i == -7 && !sl_gguf_u32(gguf, "a.u64", &u));
    assert_true(sl_gguf_u32(gguf, "a.bool", &u) && u == 200);
    assert_true(sl_gguf_u64(gguf, "a.bool", &natural) && natural == 200);
    assert_false(sl_gguf_u64(gguf, "a.u64", &natural));
    sl_gguf_close(gguf);

    gguf_set_u32(wide, F64), memcpy(wide + 4, &real, 8);
    gguf_set_u32(narrow, I8);
    assert_int_equal(open_bytes(bytes, n_bytes, &gguf), SL_OK);
    assert_true(sl_gguf_f32(gguf, "a.u64", &f) && f == -0.125F && !sl_gguf_i32(gguf, "a.u64", &i));
    assert_true(sl_gguf_i32(gguf, "a.bool", &i) && i == -56 && !sl_gguf_u32(gguf, "a.bool", &u));
    sl_gguf_close(gguf);

    gguf_set_u32(wide, 10), memcpy(wide + 4, &huge, 8);
    assert_int_equal(open_bytes(bytes, n_bytes, &gguf), SL_OK);
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
    uint8_t *bytes = small_file(&n_bytes);
    sl_gguf *gguf;
    assert_int_equal(open_bytes(bytes, n_bytes, &gguf), SL_OK);
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
    assert_int_equal(open_bytes(bytes, n_bytes, &gguf), SL_OK);
    sl_gguf_describe_key(gguf, 0, text, sizeof text);
    assert_string_equal(text, "key\\x1b[2J\\x0a = 1");
    sl_gguf_describe_key(gguf, 1, text, sizeof text);
    assert_string_equal(text, "text = \"\\x1b]0;x\\x07\\x7f\xc3\xa9\"");
    sl_gguf_close(gguf);
    free(bytes);
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/test_gguf.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    sl_gguf *gguf = NULL;
    int errors = sl_log_errors();
    assert_int_equal(sl_gguf_open(path, &gguf), SL_ERR_FILE); /* empty */
    assert_int_equal(sl_gguf_open("/tmp", &gguf), SL_ERR_FILE);
    sl_gguf_writer w = {0};
    sl_gguf_put_string(&w, "k", "v");
    SL_ASSERT(sl_gguf_writer_save(&w, path) == SL_OK);
    sl_gguf_writer_fini(&w);
    assert_int_equal(sl_gguf_open(path, &gguf), SL_OK);
    sl_text text;
    assert_true(sl_gguf_text(gguf, "k", &text) && text_is(text, "v"));
    sl_gguf_close(gguf);
    unlink(path);
    gguf = NULL;
    assert_int_equal(sl_gguf_open(path, &gguf), SL_ERR_FILE);
    assert_null(gguf);
    assert_int_equal(sl_log_errors() - errors, 3);
    sl_gguf_close(NULL);
}

/* ---- files that change under it ---- */

/* More header than is read at once, then a tensor of two pages, of which the second may be a
 * hole. */
static void save_large(const char *path, const char *value)
{
    static char text[3 << 20];
    static float data[2048];
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < 2048; i++) data[i] = (float)i;
    sl_gguf_writer w = {0};
    sl_gguf_put_string(&w, "long", text);
    sl_gguf_put_string(&w, "k", value);
    sl_gguf_put_tensor(&w, "t", SL_TYPE_F32, (const uint64_t[]){2048}, 1, data, sizeof data);
    SL_ASSERT(sl_gguf_writer_save(&w, path) == SL_OK);
    sl_gguf_writer_fini(&w);
}

static void test_file_changes(void **state)
{
    (void)state;
    char path[] = "/tmp/test_gguf.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    save_large(path, "v");
    sl_gguf *gguf;
    float data[2048];
    assert_int_equal(sl_gguf_open(path, &gguf), SL_OK);
    const sl_gguf_tensor *t = sl_gguf_find(gguf, "t");
    assert_true(t && !t->data && t->data_bytes == sizeof data);
    assert_int_equal(sl_gguf_read(gguf, t, 0, sizeof data, data), SL_OK);
    assert_true(data[0] == 0 && data[2047] == 2047);
    assert_int_equal(sl_gguf_read_once(gguf, t, 4, 8, data), SL_OK);
    assert_true(data[0] == 1 && data[1] == 2);
    assert_int_equal(sl_gguf_change(gguf), SL_FILE_SAME);
    assert_int_equal(truncate(path, (off_t)t->offset + 4096), 0);
    assert_int_equal(sl_gguf_change(gguf), SL_FILE_CUT);
    int errors = sl_log_errors();
    assert_int_equal(sl_gguf_read(gguf, t, 4000, 97, data), SL_ERR_FILE);
    assert_int_equal(sl_log_errors(), errors + 1);
    assert_int_equal(sl_gguf_read(gguf, t, 4000, 96, data), SL_OK);
    assert_int_equal(truncate(path, 0), 0); /* the header is in memory */
    sl_text text;
    assert_true(sl_gguf_text(gguf, "k", &text) && text_is(text, "v"));
    assert_int_equal(truncate(path, (off_t)t->offset + 8192), 0);
    assert_true(sl_gguf_has_hole(gguf, t));
    unlink(path);
    assert_int_equal(sl_gguf_change(gguf), SL_FILE_GONE);
    save_large(path, "w");
    assert_int_equal(sl_gguf_change(gguf), SL_FILE_REPLACED);
    sl_gguf_close(gguf);

    assert_int_equal(sl_gguf_open(path, &gguf), SL_OK);
    assert_int_equal(sl_gguf_load(gguf), SL_OK);
    t = sl_gguf_find(gguf, "t");
    assert_false(sl_gguf_has_hole(gguf, t));
    assert_true(t->data && ((const float *)t->data)[2047] == 2047);
    sl_gguf_close(gguf);
    close(file);
    unlink(path);
}

/* ---- hostile bytes ---- */

static void test_truncated(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = small_file(&n_bytes);
    guarded room;
    guarded_open(&room, n_bytes);
    size_t needed = n_bytes - 24; /* the last tensor has 40 bytes, padded to 64 */
    for (size_t n = 0; n <= n_bytes; n++)
        assert_int_equal(try(guarded_copy(&room, bytes, n), n), n < needed ? SL_ERR_FORMAT : SL_OK);
    guarded_close(&room);
    free(bytes);
}

static void test_flipped(void **state)
{
    (void)state;
    size_t n_bytes, n_opened = 0;
    uint8_t *bytes = small_file(&n_bytes);
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
        n_opened += try(copy, n_bytes) == SL_OK;
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
    {"t.matrix", 20, 4, 23, SL_OK},                        /* a type unknown to us has no bytes */
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
        uint8_t *bytes = small_file(&n_bytes);
        uint8_t *at = (lies[i].of ? gguf_after(bytes, n_bytes, lies[i].of) : bytes) + lies[i].at;
        memcpy(at, &lies[i].value, (size_t)lies[i].bytes);
        sl_status status = try(bytes, n_bytes);
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
#if COUNTS_MALLOC
    size_t before = malloc_count.bytes;
#endif
    assert_int_equal(try(bytes, total), SL_ERR_FORMAT);
#if COUNTS_MALLOC
    assert_in_range(malloc_count.bytes - before, 0, 1 << 16);
#endif
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
    assert_int_equal(try(bytes, n_bytes), SL_ERR_FORMAT);
    free(bytes);
    for (int i = 0; i < 2; i++)
        sl_gguf_put_tensor(&tensors, "t", SL_TYPE_F32, (const uint64_t[]){4}, 1, numbers, 16);
    bytes = sl_gguf_writer_encode(&tensors, &n_bytes);
    assert_int_equal(try(bytes, n_bytes), SL_ERR_FORMAT);
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
    sl_status status = try(bytes, n_bytes);
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
    assert_int_equal(try(bytes, 24), SL_OK);
    free(bytes);
    sl_gguf_put_string(&w, "k", "v");
    bytes = sl_gguf_writer_encode(&w, &n_bytes);
    sl_gguf_writer_fini(&w);
    assert_int_equal(try(bytes, 24 + 9 + 4 + 9), SL_OK); /* no padding needed */
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
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_file_changes),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_too_many_strings),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_without_tensors),
        cmocka_unit_test(test_text_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
