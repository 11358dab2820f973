/* tests/unit/base/test_plain.c - text of others as it is shown: nothing commands a terminal or
 * misleads its reader, and what does neither is as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/append.h"
#include "runtime/base/plain.h"
#include "tests/support/seeded.h"

static void test_shown(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"", ""},
        {"plain ~ text\\", "plain ~ text\\"},
        {"\x1b[31m\r\n\t\a\x7f", "\\x1b[31m\\x0d\\x0a\\x09\\x07\\x7f"},
        {"caf\xc3\xa9 \xe6\xb0\xb4 \xf0\x9f\x8c\x8a", "caf\xc3\xa9 \xe6\xb0\xb4 \xf0\x9f\x8c\x8a"},
        {"\xc2\x9b"
         "31m \x9b"
         "31m",
         "\\xc2\\x9b31m \\x9b31m"}, /* C1, both ways */
        {"a\xe2\x80\xae"
         "cod.exe",
         "a\\xe2\\x80\\xae"
         "cod.exe"}, /* override */
        {"\xe2\x81\xa6 \xd8\x9c \xe2\x80\xa8", "\\xe2\\x81\\xa6 \\xd8\\x9c \\xe2\\x80\\xa8"},
        {"\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81"},           /* a tag */
        {"\xc0\x9b \xe0\x80\x9b \xed\xa0\x80 \xf4\x90\x80\x80", /* overlong ... */
         "\\xc0\\x9b \\xe0\\x80\\x9b \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80"},
        {"\xff\xe6\xb0", "\\xff\\xe6\\xb0"}, /* cut */
        {"\xc3(", "\\xc3("},
        {"%s%n `x` $(x)", "%s%n `x` $(x)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sl_plain_room room;
        assert_string_equal(sl_plain_string(rows[i].text, &room), rows[i].shown);
    }
}

/* A zero inside is a byte like others. */
static void test_zero(void **state)
{
    (void)state;
    sl_plain_room room;
    assert_string_equal(sl_plain_in("a\0b", 3, &room), "a\\x00"
                                                       "b");
}

static void test_cut(void **state)
{
    (void)state;
    char out[12];
    assert_int_equal(sl_plain("12345678901", 11, out, sizeof out), 11);
    assert_string_equal(out, "12345678901");
    assert_int_equal(sl_plain("123456789012", 12, out, sizeof out), 11);
    assert_string_equal(out, "12345678...");
    sl_plain("1234567\xc3\xa9\xc3\xa9\xc3\xa9", 13, out, sizeof out);
    assert_string_equal(out, "1234567...");
    sl_plain("123456\x1b\x1b\x1b", 9, out, sizeof out);
    assert_string_equal(out, "123456...");
}

static void test_prefix(void **state)
{
    (void)state;
    assert_int_equal(sl_plain_prefix("abc", 3, 5), 3);
    assert_int_equal(sl_plain_prefix("abc", 3, 2), 2);
    assert_int_equal(sl_plain_prefix("a\xe6\xb0\xb4z", 5, 4), 4);
    assert_int_equal(sl_plain_prefix("a\xe6\xb0\xb4z", 5, 3), 1);
    assert_int_equal(sl_plain_prefix("a\xe6\xb0\xb4z", 5, 2), 1);
    assert_int_equal(sl_plain_prefix("\x80\x80\x80\x80\x80\x80", 6, 5),
                     5); /* no characters there */
    assert_int_equal(sl_plain_prefix("\x80\x80", 2, 0), 0);
}

static void test_write(void **state)
{
    (void)state;
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    sl_plain_write(out, "one\n\ttwo\r\x1b[2J\xc3\xa9\0", 16);
    fclose(out);
    assert_string_equal(text, "one\n\ttwo\\x0d\\x1b[2J\xc3\xa9\\x00");
    free(text);
}

/* Whatever the bytes and the room: a zero ends it, no byte below a blank is in it, and shown again
 * it is the same. */
static void test_any_bytes(void **state)
{
    (void)state;
    seeded random = seeded_from(1);
    for (int round = 0; round < 20000; round++) {
        char text[40], out[64], again[200];
        size_t n = seeded_below(&random, sizeof text + 1), room = 8 + seeded_below(&random, 56);
        for (size_t i = 0; i < n; i++) text[i] = (char)seeded_below(&random, 256);
        size_t used = sl_plain(text, n, out, room);
        assert_true(used < room && strlen(out) == used);
        for (size_t i = 0; i < used; i++) assert_true((uint8_t)out[i] >= ' ' && out[i] != 0x7f);
        assert_int_equal(sl_plain(out, used, again, sizeof again), used);
        assert_string_equal(again, out);
    }
}

/* ---- append.h ---- */

static void test_append(void **state)
{
    (void)state;
    char out[10];
    size_t used = 0;
    sl_append(out, sizeof out, &used, "%d,", 12);
    sl_append(out, sizeof out, &used, "%s", "abc");
    assert_string_equal(out, "12,abc");
    assert_int_equal(used, 6);
    sl_append(out, sizeof out, &used, "%.3f", -3e11);
    assert_string_equal(out, "12,abc-30");
    assert_int_equal(used, 9);
    for (int i = 0; i < 1000; i++) sl_append(out, sizeof out, &used, "%.3f", -3e300);
    assert_string_equal(out, "12,abc-30");
    assert_int_equal(used, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown),  cmocka_unit_test(test_zero),
        cmocka_unit_test(test_cut),    cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_write),  cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_append),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
