/* Lines of any length and end, within the bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/encoding.h"
#include "runtime/base/line_reader.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"
#include "tests/support/seeded.h"

static FILE *file_of(const void *bytes, size_t n)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    rewind(file);
    return file;
}

static void check_line(sl_line_reader *reader, const char *expected, size_t n_bytes,
                       uint64_t number, bool whole)
{
    const char *line;
    size_t n;
    bool was_whole;
    assert_int_equal(sl_line_reader_next(reader, &line, &n, &was_whole), SL_OK);
    assert_int_equal(n, n_bytes);
    assert_memory_equal(line, expected, n_bytes);
    assert_int_equal(reader->number, number);
    assert_int_equal(was_whole, whole);
}

static void check_end(sl_line_reader *reader)
{
    const char *line;
    size_t n;
    assert_int_equal(sl_line_reader_next(reader, &line, &n, NULL), SL_END);
    assert_int_equal(sl_line_reader_next(reader, &line, &n, NULL), SL_END);
    sl_line_reader_fini(reader);
    fclose(reader->file);
}

/* A byte order mark is no part of the first line; anywhere else it is text. */
static void test_mark(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbfone\n\xef\xbb\xbftwo\n";
    sl_line_reader reader;
    sl_line_reader_init(&reader, file_of(text, sizeof text - 1), SIZE_MAX);
    check_line(&reader, "one", 3, 1, true);
    assert_int_equal(reader.offset, 7);
    check_line(&reader, "\xef\xbb\xbftwo", 6, 2, true);
    check_end(&reader);
    sl_line_reader_init(&reader, file_of(text, 3), SIZE_MAX);
    check_line(&reader, "", 0, 1, false);
    check_end(&reader);
}

static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
        const char *name;
    } rows[] = {
        {"\xff\xfe{\0", 4, "UTF-16"},
        {"\xfe\xff\0{", 4, "UTF-16"},
        {"\xff\xfe", 2, "UTF-16"},
        {"\xff\xfe\0\0{\0\0\0", 8, "UTF-32"},
        {"\0\0\xfe\xff\0\0\0{", 8, "UTF-32"},
        {"{\0\"\0", 4, "UTF-16LE"},
        {"\0{\0\"", 4, "UTF-16BE"},
        {"{\0\0\0}\0\0\0", 8, "UTF-32LE"},
        {"\0\0\0{\0\0\0}", 8, "UTF-32BE"},
        {"", 0, NULL},
        {"{", 1, NULL},
        {"\xef\xbb\xbf{\"", 5, NULL},
        {"\0\0\0\0", 4, NULL},
        {"{\"\0\0", 4, NULL},
        {"\0\0\0\n\0\0\0\0", 8, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        capture c;
        char said[200];
        capture_begin(&c);
        sl_status status = sl_encoding_check("in.jsonl", rows[i].text, rows[i].bytes);
        capture_end(&c, said, sizeof said);
        assert_int_equal(status, rows[i].name ? SL_ERR_FORMAT : SL_OK);
        if (rows[i].name && (!strstr(said, rows[i].name) || !strstr(said, "in.jsonl is UTF-")))
            fail_msg("%zu: %s", i, said);
    }
}

static void test_ends(void **state)
{
    (void)state;
    static const char text[] = "\none\r\n\0\xff\n\nlast";
    sl_line_reader reader;
    sl_line_reader_init(&reader, file_of(text, sizeof text - 1), SIZE_MAX);
    check_line(&reader, "", 0, 1, true);
    check_line(&reader, "one\r", 4, 2, true);
    assert_int_equal(reader.offset, 6);
    check_line(&reader, "\0\xff", 2, 3, true);
    check_line(&reader, "", 0, 4, true);
    check_line(&reader, "last", 4, 5, false);
    assert_int_equal(reader.offset, sizeof text - 1);
    check_end(&reader);

    sl_line_reader_init(&reader, file_of("", 0), SIZE_MAX);
    check_end(&reader);
}

/* What is beyond the bound is skipped, and costs no memory. */
static void test_long_lines(void **state)
{
    (void)state;
    enum { BOUND = 20000, LONG = 3000000 };
    char *text = malloc(LONG);
    memset(text, 'x', LONG);
    text[BOUND] = '\n';         /* just fits */
    text[2 * BOUND + 2] = '\n'; /* one too many */
    text[LONG - 3] = '\n';      /* far too many */
    memcpy(text + LONG - 2, "ab", 2);
    sl_line_reader reader;
    sl_line_reader_init(&reader, file_of(text, LONG), BOUND);
    check_line(&reader, text, BOUND, 1, true);
    check_line(&reader, text, BOUND, 2, true);
    assert_int_equal(reader.offset, 2 * BOUND + 3);
    check_line(&reader, text, BOUND, 3, true);
    assert_int_equal(reader.offset, LONG - 2);
    assert_true(reader.capacity <= 2 * BOUND);
    check_line(&reader, "ab", 2, 4, false);
    check_end(&reader);
    free(text);
}

static void test_any_lines(void **state)
{
    (void)state;
    enum { BYTES = 200000 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        seeded random = seeded_from(seed);
        char *text = malloc(BYTES);
        uint32_t odds = 1 + seeded_below(&random, 60000);
        for (int i = 0; i < BYTES; i++)
            text[i] = seeded_below(&random, odds) == 0 ? '\n' : (char)seeded_bits(&random);
        sl_line_reader reader;
        sl_line_reader_init(&reader, file_of(text, BYTES), SIZE_MAX);
        for (uint64_t number = 1, at = 0; at < BYTES; number++) {
            const char *end = memchr(text + at, '\n', BYTES - at);
            size_t n = end ? (size_t)(end - text) - at : BYTES - at;
            check_line(&reader, text + at, n, number, end != NULL);
            at += n + (end != NULL);
            assert_seeded(&random, reader.offset == at);
        }
        check_end(&reader);
        free(text);
    }
}

static void test_unreadable(void **state)
{
    (void)state;
    FILE *folder = fopen("/", "r"); /* opens, but cannot be read */
    assert_non_null(folder);
    sl_line_reader reader;
    sl_line_reader_init(&reader, folder, SIZE_MAX);
    const char *line;
    size_t n;
    char talk[512];
    capture c;
    capture_begin(&c);
    sl_status status = sl_line_reader_next(&reader, &line, &n, NULL);
    capture_end(&c, talk, sizeof talk);
    assert_int_equal(status, SL_ERR_FILE);
    assert_non_null(strstr(talk, "cannot read line 1"));
    sl_line_reader_fini(&reader);
    fclose(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mark),      cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_ends),      cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_any_lines), cmocka_unit_test(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
