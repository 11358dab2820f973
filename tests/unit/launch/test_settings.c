/* The command line: defaults, variables, options, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/bench/bench_commands.h"
#include "launch/job/job_commands.h"
#include "launch/show/show_commands.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"

enum { WORDS_MAX = 32 };

static char talk[4096];

/* Parse words separated by spaces, the first being the command's name. */
static sl_status parse(const sl_command *command, const char *line, sl_settings *settings)
{
    static char words[512]; /* settings point into it */
    char *argv[WORDS_MAX + 1] = {NULL};
    int argc = 0;
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " ")) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = w;
    }
    capture c;
    capture_begin(&c);
    sl_status status = sl_command_parse(command, argc, argv, settings);
    capture_end(&c, talk, sizeof talk);
    sl_log_set_level(SL_LOG_INFO);
    return status;
}

static sl_settings parsed(const sl_command *command, const char *line)
{
    sl_settings s;
    if (parse(command, line, &s) != SL_OK) fail_msg("%s: %s", line, talk);
    assert_string_equal(talk, "");
    return s;
}

static void check_refused(const sl_command *command, const char *line, const char *words)
{
    sl_settings s;
    sl_status status = parse(command, line, &s);
    if (status != SL_ERR_OPTION || !strstr(talk, words)) fail_msg("%s: %d: %s", line, status, talk);
}

/* ---- values ---- */

static void test_defaults(void **state)
{
    (void)state;
    sl_settings s = parsed(&sl_cmd_batch, "batch");
    assert_null(s.model);
    assert_null(s.input);
    assert_int_equal(s.threads, 0);
    assert_int_equal(s.chunk, 256);
    assert_int_equal(s.context, 0);
    assert_int_equal(s.sequences, 16);
    assert_int_equal(s.memory, 0);
    assert_int_equal(s.sinks, SL_NOT_GIVEN);
    assert_int_equal(s.window, SL_NOT_GIVEN);
    assert_true(s.keep == 0);
    assert_string_equal(s.codec, "f32");
    assert_null(s.policy);
    assert_null(s.gate);
    assert_true(s.peer_timeout_s == 5);
    assert_false(s.json || s.verbose || s.quiet || s.retry_errors);
    assert_int_equal(s.n_words, 0);

    s = parsed(&sl_cmd_run, "run");
    assert_int_equal(s.n_tokens, 128);
    assert_true(s.temperature == 0 && s.top_p == 1 && s.min_p == 0);
    assert_true(s.top_k == 0 && s.seed == 0 && !s.chat);
}

static void test_options(void **state)
{
    (void)state;
    sl_settings s = parsed(&sl_cmd_batch, "batch -m M --input=I -o O -t 3 --chunk 1 --json -v "
                                          "--retry-errors --peer-timeout 2.5 --context 16777216");
    assert_string_equal(s.model, "M");
    assert_string_equal(s.input, "I");
    assert_string_equal(s.output, "O");
    assert_int_equal(s.threads, 3);
    assert_int_equal(s.chunk, 1);
    assert_int_equal(s.context, 1 << 24);
    assert_true(s.json && s.verbose && s.retry_errors && s.peer_timeout_s == 2.5);

    s = parsed(&sl_cmd_run, "run -pTEXT -n 5 --temperature 0.7 --seed 18446744073709551615 "
                            "--top-k 40 --top-p 0.5 --min-p 0.05 --chat -q -n 6");
    assert_string_equal(s.prompt, "TEXT");
    assert_int_equal(s.n_tokens, 6); /* the last one counts */
    assert_true(s.temperature == 0.7 && s.top_p == 0.5 && s.min_p == 0.05);
    assert_int_equal(s.top_k, 40);
    assert_true(s.seed == UINT64_MAX && s.chat && s.quiet);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        {"0", 0},           {"1000", 1000}, {"512M", 512ULL << 20}, {"8G", 8ULL << 30},
        {"8g", 8ULL << 30}, {"1.5k", 1536}, {"2T", 2ULL << 40},
    };
    static const char *const bad[] = {"512X",  "8GB",  "G",   "-1G", "nan",        "inf",
                                      "1e999", "1e16", "8 G", "0x",  "9999999999T"};
    char line[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(line, sizeof line, "batch --memory %s", rows[i].text);
        assert_int_equal(parsed(&sl_cmd_batch, line).memory, rows[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sl_settings s;
        assert_int_equal(setenv("SLUICE_MEMORY", bad[i], 1), 0);
        if (parse(&sl_cmd_batch, "batch", &s) != SL_ERR_OPTION) fail_msg("'%s'", bad[i]);
        assert_non_null(strstr(talk, "is not a size like 512M or 8G"));
    }
    assert_int_equal(setenv("SLUICE_MEMORY", "", 1), 0); /* as if it were not there */
    assert_int_equal(setenv("SLUICE_JSON", "", 1), 0);
    assert_int_equal(parsed(&sl_cmd_batch, "batch").memory, 0);
    assert_false(parsed(&sl_cmd_batch, "batch").json);
    unsetenv("SLUICE_MEMORY");
    unsetenv("SLUICE_JSON");
    assert_int_equal(setenv("SLUICE_PROMPT", "Hello", 1), 0); /* run's, not bench's */
    assert_int_equal(parsed(&sl_cmd_bench, "bench").prompts.items[0], 512);
    assert_string_equal(parsed(&sl_cmd_run, "run").prompt, "Hello");
    unsetenv("SLUICE_PROMPT");
    sl_settings bench = parsed(&sl_cmd_bench, "bench -p 7,0,16777216 -n 3 -d 1,2");
    assert_true(bench.prompts.n == 3 && bench.prompts.items[2] == 1 << 24);
    assert_true(bench.generates.n == 1 && bench.depths.items[1] == 2 && bench.repeat == 5);
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const sl_command *command;
        const char *line, *words;
    } rows[] = {
        {&sl_cmd_batch, "batch --chunk 0", "--chunk: '0' is not a whole number from 1 to 4096"},
        {&sl_cmd_batch, "batch --chunk 4097", "'4097'"},
        {&sl_cmd_batch, "batch --chunk 1.5", "'1.5'"},
        {&sl_cmd_batch, "batch --chunk many", "'many'"},
        {&sl_cmd_batch, "batch --chunk 8k", "'8k'"},
        {&sl_cmd_batch, "batch --chunk=", "''"},
        {&sl_cmd_batch, "batch -t -1", "--threads: '-1' is not a whole number from 0 to 1024"},
        {&sl_cmd_batch, "batch --window 0", "--window"},
        {&sl_cmd_batch, "batch --sinks nan", "--sinks"},
        {&sl_cmd_batch, "batch --peer-timeout 0.5",
         "--peer-timeout: '0.5' is not a number from 1 to 86400"},
        {&sl_cmd_run, "run --top-p 1.1", "--top-p"},
        {&sl_cmd_run, "run --top-p nan", "--top-p"},
        {&sl_cmd_run, "run --temperature inf", "--temperature"},
        {&sl_cmd_run, "run --seed x", "--seed: 'x' is not a whole number"},
        {&sl_cmd_run, "run --seed 18446744073709551616", "--seed"},
        {&sl_cmd_run, "run -n 0", "--n-tokens"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_refused(rows[i].command, rows[i].line, rows[i].words);
}

static void test_environment(void **state)
{
    (void)state;
    setenv("SLUICE_CHUNK", "64", 1);
    setenv("SLUICE_MODEL", "from-here.gguf", 1);
    setenv("SLUICE_RETRY_ERRORS", "1", 1);
    setenv("SLUICE_JSON", "0", 1);
    setenv("SLUICE_N_TOKENS", "none", 1); /* batch does not take it, so does not read it */
    sl_settings s = parsed(&sl_cmd_batch, "batch");
    assert_int_equal(s.chunk, 64);
    assert_string_equal(s.model, "from-here.gguf");
    assert_true(s.retry_errors && !s.json);
    s = parsed(&sl_cmd_batch, "batch --chunk 32 -m other.gguf --json"); /* options win */
    assert_int_equal(s.chunk, 32);
    assert_string_equal(s.model, "other.gguf");
    assert_true(s.json);
    check_refused(&sl_cmd_run, "run -n 5", "SLUICE_N_TOKENS: 'none' is not a whole number");
    unsetenv("SLUICE_N_TOKENS");
    setenv("SLUICE_CHUNK", "0", 1);
    check_refused(&sl_cmd_batch, "batch --chunk 9", "SLUICE_CHUNK: '0'");
    unsetenv("SLUICE_CHUNK");
    unsetenv("SLUICE_MODEL");
    unsetenv("SLUICE_RETRY_ERRORS");
    unsetenv("SLUICE_JSON");
}

static void test_words(void **state)
{
    (void)state;
    sl_settings s = parsed(&sl_cmd_show, "show model --json FILE");
    assert_int_equal(s.n_words, 2);
    assert_string_equal(s.words[0], "model");
    assert_string_equal(s.words[1], "FILE");
    assert_true(s.json);
    s = parsed(&sl_cmd_show, "show -- --json -v");
    assert_int_equal(s.n_words, 2);
    assert_false(s.json);
    check_refused(&sl_cmd_show, "show 1 2 3 4 5", "Too many arguments");
}

static void test_unknown(void **state)
{
    (void)state;
    check_refused(&sl_cmd_batch, "batch --nonsense", "nonsense");
    check_refused(&sl_cmd_batch, "batch -z", "invalid option -- 'z'");
    check_refused(&sl_cmd_batch, "batch --prompt x", "prompt"); /* one of run's */
    check_refused(&sl_cmd_show, "show -m M", "sluice show --help");
    check_refused(&sl_cmd_batch, "batch --chunk", "chunk"); /* its value is missing */
    check_refused(&sl_cmd_batch, "batch --json=1", "json"); /* takes none */
    check_refused(&sl_cmd_batch, "batch --co 1", "co");     /* codec or context? */
}

static void test_levels(void **state)
{
    (void)state;
    char *argv[] = {"show", NULL, NULL};
    static const struct {
        char *option;
        sl_log_level level;
    } rows[] = {{"-v", SL_LOG_DEBUG}, {"-q", SL_LOG_ERROR}, {"--json", SL_LOG_INFO}};
    for (int i = 0; i < 3; i++) {
        sl_settings s;
        argv[1] = rows[i].option;
        sl_log_set_level(SL_LOG_INFO);
        assert_int_equal(sl_command_parse(&sl_cmd_show, 2, argv, &s), SL_OK);
        assert_int_equal(sl_log_level_now(), rows[i].level);
    }
    sl_log_set_level(SL_LOG_INFO);
}

/* ---- help ---- */

static void test_help_ends(void **state)
{
    (void)state;
    char *argv[] = {"batch", "--help", "--chunk", "0", NULL};
    sl_settings s;
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    fflush(stdout);
    int shown = dup(STDOUT_FILENO);
    dup2(fileno(nowhere), STDOUT_FILENO);
    sl_status status = sl_command_parse(&sl_cmd_batch, 4, argv, &s);
    fflush(stdout);
    dup2(shown, STDOUT_FILENO);
    close(shown);
    fclose(nowhere);
    assert_int_equal(status, SL_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_options),
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_environment), cmocka_unit_test(test_words),
        cmocka_unit_test(test_unknown),     cmocka_unit_test(test_levels),
        cmocka_unit_test(test_help_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
