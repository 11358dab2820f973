/* tests/unit/base/test_file.c - writes that are whole or said, files replaced at once, and what
 * becomes of a name. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/file.h"
#include "runtime/base/log.h"

static char folder[] = "/tmp/test_file.XXXXXX";

static char *in_folder(const char *name)
{
    static char paths[16][64];
    static int n;
    char *path = paths[n++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int make(const char *path, const char *text)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    assert_true(file >= 0);
    assert_int_equal(sl_file_write(file, path, text, strlen(text)), SL_OK);
    return file;
}

static void check_holds(const char *path, const char *text)
{
    char found[64] = "";
    int file = open(path, O_RDONLY);
    assert_true(file >= 0);
    ssize_t n = read(file, found, sizeof found - 1);
    close(file);
    assert_int_equal(n, strlen(text));
    assert_string_equal(found, text);
}

/* One byte at a time, the first call interrupted. */
static ssize_t write_little(int file, const void *bytes, size_t n_bytes)
{
    static int n_calls;
    if (n_calls++ == 0) {
        errno = EINTR;
        return -1;
    }
    return write(file, bytes, n_bytes > 0);
}

static ssize_t write_none(int file, const void *bytes, size_t n_bytes)
{
    (void)file, (void)bytes, (void)n_bytes;
    errno = EDQUOT;
    return -1;
}

static int rename_never(const char *from, const char *to)
{
    (void)from, (void)to;
    errno = EIO;
    return -1;
}

static void test_write(void **state)
{
    (void)state;
    char *path = in_folder("written");
    sl_file_set_calls(&(sl_file_calls){write_little, fdatasync, ftruncate, rename});
    int file = make(path, "slowly, yet whole");
    sl_file_set_calls(&(sl_file_calls){write_none, fdatasync, ftruncate, rename});
    int errors = sl_log_errors();
    assert_int_equal(sl_file_write(file, path, "x", 1), SL_ERR_FILE);
    assert_int_equal(sl_log_errors(), errors + 1);
    sl_file_set_calls(NULL);
    assert_int_equal(sl_file_cut(file, path, 6), SL_OK);
    assert_int_equal(sl_file_sync(file, path), SL_OK);
    close(file);
    check_holds(path, "slowly");
}

static void replace(const char *path, const char *text, sl_status expected)
{
    sl_file_fresh fresh;
    assert_int_equal(sl_file_fresh_begin(path, &fresh), SL_OK);
    assert_int_equal(sl_file_write(fresh.file, fresh.temporary, text, strlen(text)), SL_OK);
    assert_int_equal(sl_file_fresh_commit(&fresh), expected);
    if (expected == SL_OK) close(fresh.file);
    assert_int_equal(access(fresh.temporary, F_OK), -1);
}

static void test_replace(void **state)
{
    (void)state;
    char *path = in_folder("target"), *link_path = in_folder("link");
    replace(path, "new", SL_OK); /* nothing was there */
    check_holds(path, "new");
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(symlink("target", link_path), 0);
    close(make(in_folder("target.tmp"), "a neighbour"));
    replace(link_path, "newer", SL_OK);
    struct stat now;
    assert_int_equal(lstat(link_path, &now), 0);
    assert_true(S_ISLNK(now.st_mode));
    check_holds(path, "newer");
    assert_int_equal(stat(path, &now), 0);
    assert_int_equal(now.st_mode & 07777, 0600);
    check_holds(in_folder("target.tmp"), "a neighbour");

    sl_file_set_calls(&(sl_file_calls){write, fdatasync, ftruncate, rename_never});
    replace(path, "newest", SL_ERR_FILE);
    sl_file_set_calls(NULL);
    check_holds(path, "newer");
    sl_file_fresh fresh;
    assert_int_equal(sl_file_fresh_begin(in_folder("no/where"), &fresh), SL_ERR_FILE);

    assert_int_equal(sl_file_replace(path, "newest", 6), SL_OK);
    check_holds(path, "newest");
    assert_int_equal(sl_file_replace("/dev/null", "x", 1), SL_ERR_FILE); /* and it is still there */
    assert_int_equal(stat("/dev/null", &now), 0);
    assert_true(S_ISCHR(now.st_mode));
}

static sl_file_change change_of(const char *path, const sl_file_stamp *stamp)
{
    sl_file_change change = sl_file_stamp_compare(path, stamp);
    assert_true(strlen(sl_file_change_text(change)) > 0);
    return change;
}

static void test_watch(void **state)
{
    (void)state;
    char *path = in_folder("watched"), *other = in_folder("other");
    int file = make(path, "as it was");
    sl_file_stamp stamp;
    assert_int_equal(sl_file_stamp_take(file, path, &stamp), SL_OK);
    assert_int_equal(change_of(path, &stamp), SL_FILE_SAME);
    assert_int_equal(futimens(file, (struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 1}}), 0);
    assert_int_equal(change_of(path, &stamp), SL_FILE_CHANGED);
    assert_int_equal(sl_file_write(file, path, "!", 1), SL_OK);
    assert_int_equal(change_of(path, &stamp), SL_FILE_GROWN);
    assert_int_equal(sl_file_cut(file, path, 2), SL_OK);
    assert_int_equal(change_of(path, &stamp), SL_FILE_CUT);
    close(make(other, "as it was"));
    assert_int_equal(rename(other, path), 0);
    assert_int_equal(change_of(path, &stamp), SL_FILE_REPLACED);
    unlink(path);
    assert_int_equal(change_of(path, &stamp), SL_FILE_GONE);
    close(file);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    const char *names[] = {"written", "target", "link", "target.tmp", "watched"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_watch),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
