/* tests/unit/launch/setup/test_hostfile.c - hosts as mpirun's file names them, and every line that
 * does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/setup/hostfile.h"
#include "tests/support/capture.h"
#include "tests/support/seeded.h"

static char talk[1 << 14];

static sl_status parse(const char *text, size_t bytes, sl_host **hosts, size_t *n)
{
    char *copy = malloc(bytes + 1); /* exactly, so that a sanitizer guards its end */
    capture quiet;
    assert_non_null(copy);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    capture_begin(&quiet);
    sl_status status = sl_hostfile_parse("hosts", copy, bytes, hosts, n);
    capture_end(&quiet, talk, sizeof talk);
    free(copy);
    return status;
}

static void test_good(void **state)
{
    (void)state;
    static const char text[] = "# the cluster\n"
                               "node1 slots=2 # memory=16G\n"
                               "\n"
                               "  node2\tmax_slots=4 slots=3   # spare memory=1G\r\n"
                               "node3#memory=100\n"
                               "10.0.0.4";
    sl_host *h;
    size_t n;
    assert_int_equal(parse(text, strlen(text), &h, &n), SL_OK);
    assert_int_equal(n, 4);
    assert_string_equal(h[0].name, "node1");
    assert_true(h[0].slots == 2 && h[0].memory == (uint64_t)16 << 30);
    assert_string_equal(h[1].name, "node2");
    assert_true(h[1].slots == 3 && h[1].memory == 1 << 30);
    assert_string_equal(h[2].name, "node3");
    assert_true(h[2].slots == 1 && h[2].memory == 100);
    assert_string_equal(h[3].name, "10.0.0.4");
    assert_true(h[3].slots == 1 && h[3].memory == 0);
    free(h);
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } rows[] = {
        {"", "names no host"},
        {"# nothing\n\n", "names no host"},
        {"a\nb slots=0\n", "line 2: 'slots=0' is not slots=N"},
        {"a slots=-1", "line 1: 'slots=-1' is not slots=N"},
        {"a slots=2x", "is not slots=N"},
        {"a slots=99999999999999999999", "is not slots=N"},
        {"a slots 2", "line 1: 'slots' is neither slots=N nor max_slots=N"},
        {"a\n\nb # memory=\n", "line 3: 'memory=' is not memory=SIZE"},
        {"a # memory=-4G", "is not memory=SIZE"},
        {"a # memory=4X", "is not memory=SIZE"},
        {"a # memory=nan", "is not memory=SIZE"},
        {"a # memory=0", "is not memory=SIZE"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "is too long for a host's name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sl_host *h;
        size_t n;
        sl_status status = parse(rows[i].text, strlen(rows[i].text), &h, &n);
        if (status != SL_ERR_FORMAT || !strstr(talk, rows[i].said))
            fail_msg("%s: %s", rows[i].said, talk);
    }
    sl_host *h;
    size_t n;
    assert_int_equal(parse("a\0b\n", 4, &h, &n), SL_ERR_FORMAT);
    assert_non_null(strstr(talk, "zero byte"));
}

static void test_any_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "ab=#\n\t 019slotmemry.GM-x";
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        seeded random = seeded_from(seed);
        char text[200];
        size_t bytes = seeded_below(&random, sizeof text);
        for (size_t i = 0; i < bytes; i++)
            text[i] = alphabet[seeded_below(&random, sizeof alphabet - 1)];
        sl_host *h;
        size_t n;
        if (parse(text, bytes, &h, &n) != SL_OK) continue;
        for (size_t i = 0; i < n; i++) assert_seeded(&random, h[i].name[0] && h[i].slots > 0);
        free(h);
    }
    size_t many = (size_t)2 * (SL_HOSTS_MAX + 1), n;
    char *lines = malloc(many);
    sl_host *h;
    for (size_t i = 0; i < many; i++) lines[i] = i % 2 ? '\n' : 'h';
    assert_int_equal(parse(lines, many, &h, &n), SL_ERR_FORMAT);
    assert_non_null(strstr(talk, "one host too many"));
    free(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
