/* tests/unit/gguf/gguf_disk_tests.c - files on disk: opened, absent, and changed while they are
 * open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/unit/gguf/gguf_trial.h"

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
    assert_true(sl_gguf_text(gguf, "k", &text) && sl_text_is(text, "v"));
    sl_gguf_close(gguf);
    unlink(path);
    gguf = NULL;
    assert_int_equal(sl_gguf_open(path, &gguf), SL_ERR_FILE);
    assert_null(gguf);
    assert_int_equal(sl_log_errors() - errors, 3);
    sl_gguf_close(NULL);
}

static sl_file_change change_of(const sl_gguf *gguf, const char *path)
{
    const char *changed = NULL;
    sl_file_change change = sl_gguf_change(gguf, &changed);
    assert_string_equal(changed, path);
    return change;
}

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
    assert_int_equal(change_of(gguf, path), SL_FILE_SAME);
    assert_int_equal(truncate(path, (off_t)t->offset + 4096), 0);
    assert_int_equal(change_of(gguf, path), SL_FILE_CUT);
    int errors = sl_log_errors();
    assert_int_equal(sl_gguf_read(gguf, t, 4000, 97, data), SL_ERR_FILE);
    assert_int_equal(sl_log_errors(), errors + 1);
    assert_int_equal(sl_gguf_read(gguf, t, 4000, 96, data), SL_OK);
    assert_int_equal(truncate(path, 0), 0); /* the header is in memory */
    sl_text text;
    assert_true(sl_gguf_text(gguf, "k", &text) && sl_text_is(text, "v"));
    assert_int_equal(truncate(path, (off_t)t->offset + 8192), 0);
    assert_true(sl_gguf_has_hole(gguf, t));
    unlink(path);
    assert_int_equal(change_of(gguf, path), SL_FILE_GONE);
    save_large(path, "w");
    assert_int_equal(change_of(gguf, path), SL_FILE_REPLACED);
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

int gguf_disk_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_file_changes),
    };
    return cmocka_run_group_tests_name("gguf disk", tests, NULL, NULL);
}
