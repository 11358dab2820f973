/* The table of commands, and what each says of itself for --help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/bench/bench_commands.h"
#include "launch/commands.h"
#include "launch/eval/eval_commands.h"
#include "launch/job/job_commands.h"
#include "launch/ops/ops_commands.h"
#include "launch/show/show_commands.h"
#include "launch/train/train_commands.h"
#include "tests/support/capture.h"

static char talk[4096];

/* What the command prints for --help, on stdout; ends the test when it ends otherwise. */
static void read_help(const sl_command *command, char *text, size_t bytes_max)
{
    char *argv[] = {"", "--help", NULL};
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int shown = dup(STDOUT_FILENO);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    capture c;
    capture_begin(&c);
    sl_settings settings;
    sl_status status = sl_command_parse(command, 2, argv, &settings);
    capture_end(&c, talk, sizeof talk);
    fflush(stdout);
    assert_true(dup2(shown, STDOUT_FILENO) >= 0);
    close(shown);
    rewind(file);
    text[fread(text, 1, bytes_max - 1, file)] = '\0';
    fclose(file);
    assert_int_equal(status, SL_END);
    assert_string_equal(talk, "");
}

static void test_help(void **state)
{
    (void)state;
    static const struct {
        const sl_command *command;
        const char *options[4], *absent;
    } rows[] = {
        {&sl_cmd_batch, {"--model=FILE", "--retry-errors", "[256]", "--peer-timeout"}, "--seed"},
        {&sl_cmd_run, {"-p, --prompt=TEXT", "--temperature=X", "[128]", "--chat"}, "--input"},
        {&sl_cmd_plan, {"--hosts=FILE", "--context=N", "--retention=FILE", "[16]"}, "--codec"},
        {&sl_cmd_eval_perplexity, {"--text=FILE", "--context=N", "--json", "--keep-out"}, "--chat"},
        {&sl_cmd_eval_agreement,
         {"--text=FILE", "--context=N", "--limit", "--keep"},
         "--sequences"},
        {&sl_cmd_eval_tasks, {"--tasks=FILE,...", "--limit=N", "--window", "--keep"}, "--text"},
        {&sl_cmd_eval_needle, {"--text=FILE", "--depths=N,...", "[10,50,90]", "--keep"}, "--tasks"},
        {&sl_cmd_eval_ruler,
         {"--tasks=NAME,...", "--trials=N", "[1024,2048,4096,8192]", "--keep=RATE,..."},
         "--context"},
        {&sl_cmd_train_init, {"--span=SPAN", "[window:96,32]", "--bias=X[,Y]", "--seed"}, "--keep"},
        {&sl_cmd_train_warm, {"--ridge-pieces=N", "--ahead=N,...", "[15,32]", "--log"}, "--keep"},
        {&sl_cmd_train_cpt, {"--loss=NAME", "--rates-each=N", "[2048]", "--soft"}, "--keep"},
        {&sl_cmd_train_sft, {"--records=FILE", "--lora-rank=N", "[q,k,v,o]", "--loss"}, "--text"},
        {&sl_cmd_train_calibrate,
         {"--rates=X,...", "--windows=N,...", "--text", "--pieces"},
         "--bias"},
        {&sl_cmd_show, {"--json", "--verbose", "--quiet", "--help"}, "--model"},
        {&sl_cmd_show_cache,
         {"--layers=N,...", "--policy=NAME", "[png]", "-o, --output"},
         "--chunk"},
        {&sl_cmd_bench, {"-p, --prompt=N,...", "-d, --depth=N,...", "[32]", "-r"}, "--context"},
        {&sl_cmd_bench_codec, {"--text=FILE", "--chunk=N", "--model=FILE", "--help"}, "--memory"},
        {&sl_cmd_bench_link, {"--json", "--chunk=N", "--model=FILE", "--help"}, "--threads"},
        {&sl_cmd_bench_figure3,
         {"-p, --prompt=N,...", "[512,1024,2048,4096,8192,32768]", "-o, --output", "--gate=FILE"},
         "--context"},
        {&sl_cmd_tokenize, {"--decode", "--no-special", "--model=FILE", "--help"}, "--chunk"},
    };
    enum { SCREEN_LINES = 40, SCREEN_COLUMNS = 100 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ptr_equal(rows[i].command, sl_commands[i]);
        const char *name = rows[i].command->name;
        char text[1 << 14], example[32];
        read_help(rows[i].command, text, sizeof text);
        for (int k = 0; k < 4; k++)
            if (!strstr(text, rows[i].options[k]))
                fail_msg("%s --help lacks %s:\n%s", name, rows[i].options[k], text);
        assert_null(strstr(text, rows[i].absent));
        snprintf(example, sizeof example, " sluice %s ", name);
        assert_non_null(strstr(rows[i].command->examples, example));
        int n_lines = 0;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), n_lines++)
            if (strlen(line) > SCREEN_COLUMNS) fail_msg("%s: too wide: %s", name, line);
        assert_in_range(n_lines, 5, SCREEN_LINES);
    }
    assert_null(sl_commands[sizeof rows / sizeof *rows]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_help)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
