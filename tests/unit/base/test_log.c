/* tests/unit/base/test_log.c - what a log line looks like, and that each is one. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/support/capture.h"

static char said[1 << 20];

static int reset(void **state)
{
    (void)state;
    sl_log_set_rank(0, 1);
    sl_log_set_level(SL_LOG_INFO);
    return 0;
}

static void test_words(void **state)
{
    (void)state;
    capture c;
    capture_begin(&c);
    sl_error("bad %s %d", "thing", 7);
    sl_warn("careful");
    sl_info("fyi");
    sl_debug("unseen");
    capture_end(&c, said, sizeof said);
    assert_string_equal(said, "sluice: error: bad thing 7\n"
                              "sluice: warning: careful\n"
                              "sluice: fyi\n");
}

static void test_rank_prefix(void **state)
{
    (void)state;
    capture c;
    capture_begin(&c);
    sl_log_set_rank(3, 5);
    sl_error("bad");
    sl_info("fyi");
    sl_log_set_rank(0, 2);
    sl_warn("first of two");
    sl_log_set_rank(0, 1);
    sl_info("alone");
    capture_end(&c, said, sizeof said);
    assert_string_equal(said, "sluice: rank 3: error: bad\n"
                              "sluice: fyi\n"
                              "sluice: rank 0: warning: first of two\n"
                              "sluice: alone\n");
}

static void test_levels_and_error_count(void **state)
{
    (void)state;
    int errors = sl_log_errors();
    capture c;
    capture_begin(&c);
    sl_log_set_level(SL_LOG_ERROR);
    sl_warn("unseen");
    sl_info("unseen");
    sl_error("one");
    sl_log_set_level(SL_LOG_DEBUG);
    sl_debug("two");
    sl_error("three");
    capture_end(&c, said, sizeof said);
    assert_int_equal(sl_log_level_now(), SL_LOG_DEBUG);
    assert_string_equal(said, "sluice: error: one\nsluice: two\nsluice: error: three\n");
    assert_int_equal(sl_log_errors(), errors + 2); /* errors only */
}

/* Too long is cut, and still ends its line. */
static void test_long_line(void **state)
{
    (void)state;
    char *text = malloc(10001);
    memset(text, 'x', 10000);
    text[10000] = '\0';
    capture c;
    capture_begin(&c);
    sl_info("%s", text);
    sl_info("next");
    capture_end(&c, said, sizeof said);
    free(text);
    const char *end = strchr(said, '\n');
    assert_non_null(end);
    assert_true(end - said > 1000);
    assert_int_equal(strspn(said + strlen("sluice: "), "x"), end - said - strlen("sluice: ..."));
    assert_memory_equal(end - 3, "...", 3);
    assert_string_equal(end + 1, "sluice: next\n");
}

/* What a file is called, or holds, does not command the terminal it is shown on. */
static void test_control_bytes(void **state)
{
    (void)state;
    capture c;
    capture_begin(&c);
    sl_error("a\x1b]0;owned\a\nb \x7f \xc2\x9b caf\xc3\xa9 \xc2\xa0\xc2");
    capture_end(&c, said, sizeof said);
    assert_string_equal(said,
                        "sluice: error: a\\x1b]0;owned\\x07\\x0ab \\x7f \\xc2\\x9b caf\xc3\xa9 "
                        "\xc2\xa0\\xc2\n");
}

/* A line that is nothing but escapes, or that is cut inside a character, is whole as it is
 * shown. */
static void test_long_hostile_line(void **state)
{
    (void)state;
    static char text[10001];
    capture c;
    for (size_t i = 0; i < sizeof text - 1; i++) text[i] = i % 2 ? '\x1b' : '\n';
    capture_begin(&c);
    sl_error("%s", text);
    for (size_t i = 0; i + 1 < sizeof text; i += 2) memcpy(text + i, "\xc3\xa9", 2);
    sl_error("%s", text);
    sl_error("1%s", text);
    capture_end(&c, said, sizeof said);
    char *line = said, *rest = said;
    for (int i = 0; i < 3; i++) {
        line = strsep(&rest, "\n");
        assert_non_null(rest);
        assert_true(strlen(line) > 1000);
        assert_null(strstr(line, i > 0 ? "\\x" : "\x1b"));
        assert_string_equal(line + strlen(line) - 3, "...");
    }
    assert_string_equal(rest, "");
}

enum { LINES = 2000 };

static void *chatter(void *data)
{
    const char *word = data;
    for (int i = 0; i < LINES; i++) sl_warn("%s%s%s%s", word, word, word, word);
    return NULL;
}

/* Two threads: every line is whole, none is missing. */
static void test_one_line_a_call(void **state)
{
    (void)state;
    static const char *const whole[] = {"sluice: warning: abcdabcdabcdabcd",
                                        "sluice: warning: 1234123412341234"};
    capture c;
    capture_begin(&c);
    pthread_t a, b;
    int failed = pthread_create(&a, NULL, chatter, "abcd");
    failed += pthread_create(&b, NULL, chatter, "1234");
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    capture_end(&c, said, sizeof said);
    assert_int_equal(failed, 0);
    int seen[2] = {0};
    char *rest = said;
    for (char *line = strsep(&rest, "\n"); rest; line = strsep(&rest, "\n")) {
        int which = strcmp(line, whole[1]) == 0;
        assert_string_equal(line, whole[which]);
        seen[which]++;
    }
    assert_int_equal(seen[0], LINES);
    assert_int_equal(seen[1], LINES);
}

static void say_goodbye(void) { sl_info("goodbye"); }

/* A failed assertion says where, ends the job, then the process. */
static void test_assert(void **state)
{
    (void)state;
    capture c;
    capture_begin(&c);
    pid_t child = fork();
    if (child == 0) {
        sl_log_set_rank(1, 4);
        sl_assert_set_abort(say_goodbye);
        SL_ASSERT(1 + 1 == 2);
        SL_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    int how = 0;
    waitpid(child, &how, 0);
    capture_end(&c, said, sizeof said);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT);
    const char *first = "sluice: rank 1: error: assertion failed: 1 + 1 == 3, ";
    assert_memory_equal(said, first, strlen(first));
    assert_non_null(strstr(said, "test_log.c:"));
    assert_non_null(strstr(said, "\nsluice: goodbye\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_words, reset),
        cmocka_unit_test_setup(test_rank_prefix, reset),
        cmocka_unit_test_setup(test_levels_and_error_count, reset),
        cmocka_unit_test_setup(test_long_line, reset),
        cmocka_unit_test_setup(test_control_bytes, reset),
        cmocka_unit_test_setup(test_long_hostile_line, reset),
        cmocka_unit_test_setup(test_one_line_a_call, reset),
        cmocka_unit_test_setup(test_assert, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
