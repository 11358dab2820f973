/* tests/unit/launch/output/test_train_summary.c - what is read of a training log: a whole one, one
 * with rounds written twice, one cut anywhere, and one that somebody else wrote, none of whose
 * texts may reach words or script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/output/report_train.h"
#include "launch/output/train_summary.h"
#include "tests/support/capture.h"

static char said[1 << 14];

static sl_status read_text(const char *text, size_t bytes, sl_train_summary *summary)
{
    capture quiet;
    FILE *log = fmemopen((void *)text, bytes, "r");
    assert_non_null(log);
    capture_begin(&quiet);
    sl_status status = sl_train_summary_read(log, "log", summary);
    capture_end(&quiet, said, sizeof said);
    fclose(log);
    return status;
}

/* The caller frees it. */
static char *told(const sl_train_summary *summary, void (*how)(const sl_train_summary *, FILE *))
{
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    how(summary, out);
    fclose(out);
    return text;
}

/* Two rounds, of which the second is told again after a resumption. */
static char *make_log(size_t *bytes_out)
{
    char *text;
    FILE *log = open_memstream(&text, bytes_out);
    const double r2[] = {0.25, -3e11};
    sl_train_round round = {.rounds = 2, .phase = "ridge", .text = "a`b`", .loss = 2, .r2 = 0.5};
    for (int i = 0; i < 3; i++) {
        round.round = i == 0 ? 1 : 2;
        round.loss = 2 - 0.5 * i;
        assert_int_equal(sl_report_train_round(log, &round), SL_OK);
    }
    assert_int_equal(sl_report_train_held_out(log, "adamw", r2, 2), SL_OK);
    fclose(log);
    return text;
}

static void test_round_trip(void **state)
{
    (void)state;
    size_t bytes;
    char *log = make_log(&bytes);
    sl_train_summary summary;
    assert_int_equal(read_text(log, bytes, &summary), SL_OK);
    assert_string_equal(said, "");
    assert_int_equal(sl_train_summary_panels(&summary), 2);
    char *words = told(&summary, sl_train_summary_print);
    assert_string_equal(words, "2 rounds, 0 tokens in 0 s; last loss 1.0000, R2 0.500\n"
                               "R2 on held-out text after adamw\n  layer   0  0.250 -3e+11\n");
    free(words);
    sl_train_summary_free(&summary);
    free(log);
}

/* Of a log that is cut, the lines before are told, and which one was not understood. */
static void test_cut(void **state)
{
    (void)state;
    size_t bytes;
    char *log = make_log(&bytes);
    for (size_t n = 1; n < bytes; n++) {
        sl_train_summary summary;
        assert_int_equal(read_text(log, n, &summary), SL_OK);
        bool between = log[n - 1] == '\n' || log[n] == '\n';
        assert_int_equal(strstr(said, "is skipped: no JSON") == NULL, between);
        sl_train_summary_free(&summary);
    }
    free(log);
}

static void test_hostile(void **state)
{
    (void)state;
    static const char log[] =
        "{\"phase\": \"held-out\", \"after\": \"x'; system 'touch x' #\", \"layer_r2\": [1]}\n"
        "{\"phase\": \"held-out\", \"after\": \"ridge\", \"layer_r2\": [\"`touch x`\", 1]}\n"
        "{\"phase\": \"calibrate\", \"keep\": \"`touch x`\", \"layer_retention\": [\"`touch "
        "x`\"]}\n"
        "{\"phase\": \"`touch x`\", \"round\": 1, \"loss\": \"`touch x`\"}\n"
        "`touch x`\n";
    sl_train_summary summary;
    assert_int_equal(read_text(log, strlen(log), &summary), SL_OK);
    assert_non_null(strstr(said, "line 1 is skipped"));
    assert_non_null(strstr(said, "line 5 is skipped"));
    assert_int_equal(sl_train_summary_panels(&summary), 3);
    char *words = told(&summary, sl_train_summary_print),
         *script = told(&summary, sl_train_summary_plot);
    assert_null(strstr(words, "touch"));
    assert_null(strstr(script, "touch"));
    free(words);
    free(script);
    sl_train_summary_free(&summary);
}

/* A log of another kind altogether does not fill the terminal. */
static void test_many_skipped(void **state)
{
    (void)state;
    static const int counts[] = {5, 6, 1000};
    for (size_t i = 0; i < 3; i++) {
        char *log, expected[64];
        size_t bytes;
        FILE *file = open_memstream(&log, &bytes);
        for (int line = 0; line < counts[i]; line++) fprintf(file, "no JSON\n");
        fclose(file);
        sl_train_summary summary;
        assert_int_equal(read_text(log, bytes, &summary), SL_OK);
        snprintf(expected, sizeof expected, "%d lines are skipped", counts[i]);
        assert_non_null(strstr(said, "line 5 is skipped"));
        assert_null(strstr(said, "line 6 is skipped"));
        assert_int_equal(strstr(said, expected) != NULL, counts[i] > 5);
        sl_train_summary_free(&summary);
        free(log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_many_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
