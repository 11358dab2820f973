/* tests/unit/launch/setup/test_retention.c - what an earlier run kept, from its JSON: whole, cut
 * anywhere, and of another shape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/setup/retention.h"
#include "tests/support/capture.h"

static char said[4096];

static sl_model_shape shape = {
    .n_layers = 2, .n_kv_heads = 2, .kinds = {{.window = 0}, {.window = 9}}};

static sl_status parse(const char *text, size_t bytes, double keep[2])
{
    char *exact = malloc(bytes ? bytes : 1); /* so that a sanitizer guards its end */
    capture quiet;
    assert_non_null(exact);
    memcpy(exact, text, bytes);
    capture_begin(&quiet);
    sl_status status = sl_retention_parse("kept", exact, bytes, &shape, keep);
    capture_end(&quiet, said, sizeof said);
    free(exact);
    return status;
}

static const char GOOD[] = "{\"retention\": [[0.5, 1], [0, 0.25]], \"seconds\": 3}";

static void test_good(void **state)
{
    (void)state;
    double keep[2];
    assert_int_equal(parse(GOOD, strlen(GOOD), keep), SL_OK);
    assert_true(keep[0] == 0.75 && keep[1] == 0.125);
}

/* Reports say null of layers with a sliding window, which are as they are. */
static void test_sliding(void **state)
{
    (void)state;
    static const char TEXT[] = "{\"retention\": [[null, null], [0, 0.5]]}";
    double keep[2];
    assert_int_equal(parse(TEXT, strlen(TEXT), keep), SL_ERR_FORMAT);
    shape.kind_of[0] = 1;
    assert_int_equal(parse(TEXT, strlen(TEXT), keep), SL_OK);
    shape.kind_of[0] = 0;
    assert_true(keep[0] == 1 && keep[1] == 0.25);
}

static void test_cut(void **state)
{
    (void)state;
    double keep[2];
    for (size_t n = 0; n < strlen(GOOD); n++) assert_int_equal(parse(GOOD, n, keep), SL_ERR_FORMAT);
}

static void test_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } rows[] = {
        {"[]", "has no \"retention\""},
        {"{\"retention\": [[1, 1]]}", "retention of 1 layers"},
        {"{\"retention\": [[1, 1], [1]]}", "layer 1 has 1 numbers"},
        {"{\"retention\": [[1, 1], [1, 1.5]]}", "layer 1, KV head 1 is not"},
        {"{\"retention\": [[1, 1], [1, \"\\u001b\"]]}", "layer 1, KV head 1 is not"},
        {"{\"retention\": [[1, 1], [null, 1]]}", "nothing was eligible in layer 1"},
        {"{\"retention\": 1, \"retention\": 2}", "duplicate"},
        {"{\"\x1b[31m", "line 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double keep[2];
        assert_int_equal(parse(rows[i].text, strlen(rows[i].text), keep), SL_ERR_FORMAT);
        assert_non_null(strstr(said, rows[i].said));
        assert_null(strchr(said, '\x1b'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_sliding),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
