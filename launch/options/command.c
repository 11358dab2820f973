/* launch/options/command.c - a command line over argp, which writes --help and most complaints. */
#include "launch/options/command.h"

#include <argp.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/machine/launcher.h"
#include "launch/machine/process.h"
#include "launch/options/written.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"

enum {
    OPTIONS_MAX = 64, /* of a command */
    HELP_BYTES_MAX = 160,
    TEXT_BYTES_MAX = 2048,
    FIRST_KEY = 0x100, /* argp's keys of options without a letter */
    USAGE_KEY = 0x80,  /* --usage, which argp's complaints advise */
};

const sl_option *sl_command_option(const sl_command *command, size_t index)
{
    for (size_t g = 0; g < SL_COMMAND_GROUPS_MAX && command->groups[g]; g++)
        for (const sl_option *option = command->groups[g]; option->name; option++)
            if (index-- == 0) return option;
    return NULL;
}

/* ---- defaults and variables ---- */

static void name_variable(const sl_option *option, char *out, size_t out_bytes)
{
    size_t n = (size_t)snprintf(out, out_bytes, "SLUICE_");
    for (const char *c = option->name; *c && n + 1 < out_bytes; c++)
        out[n++] = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    out[n] = '\0';
}

static sl_status set_before_options(const sl_command *command, sl_settings *settings)
{
    const sl_option *option;
    for (size_t i = 0; (option = sl_command_option(command, i)); i++) {
        char variable[64];
        name_variable(option, variable, sizeof variable);
        /* Lists of counts have no variable: SLUICE_PROMPT is run's prompt, not bench's lengths. */
        const char *value = option->kind == SL_OPTION_COUNTS ? NULL : getenv(variable);
        sl_status status = SL_OK;
        if (option->initial)
            status = sl_option_set(option, option->name, option->initial, settings);
        if (status == SL_OK && value && *value)
            status = sl_option_set(option, variable, value, settings);
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

/* ---- argp ---- */

typedef struct {
    const sl_command *command;
    sl_settings *settings;
    sl_status status;
    struct argp_option options[OPTIONS_MAX + 3]; /* and --help, --usage, argp's end */
    char helps[OPTIONS_MAX][HELP_BYTES_MAX];
} parsing;

static int key_of(const sl_option *option, size_t index)
{
    return option->letter ? option->letter : FIRST_KEY + (int)index;
}

static void write_help(const sl_option *option, char *out, size_t out_bytes)
{
    bool has_default = option->initial && strcmp(option->initial, "0") != 0;
    if (has_default)
        snprintf(out, out_bytes, "%s [%s]", option->help, option->initial);
    else
        snprintf(out, out_bytes, "%s", option->help);
}

static void list_options(parsing *p)
{
    const sl_option *option;
    size_t n = 0;
    for (; (option = sl_command_option(p->command, n)); n++) {
        SL_ASSERT(n < OPTIONS_MAX);
        write_help(option, p->helps[n], sizeof p->helps[n]);
        p->options[n] = (struct argp_option){.name = option->name,
                                             .key = key_of(option, n),
                                             .arg = option->argument,
                                             .doc = p->helps[n]};
    }
    p->options[n++] = (struct argp_option){.name = "help", .key = '?', .doc = "this text"};
    p->options[n++] = (struct argp_option){
        .name = "usage", .key = USAGE_KEY, .flags = OPTION_HIDDEN};
    p->options[n] = (struct argp_option){0};
}

static error_t on_word(parsing *p, const char *word)
{
    sl_settings *s = p->settings;
    if (s->n_words == sizeof s->words / sizeof *s->words) return ARGP_ERR_UNKNOWN;
    s->words[s->n_words++] = word;
    return 0;
}

static error_t on_help(parsing *p, unsigned what, const struct argp_state *state)
{
    if (sl_launcher_prints()) argp_state_help(state, stdout, what);
    p->status = SL_END;
    return ECANCELED;
}

static error_t on_option(int key, char *value, struct argp_state *state)
{
    parsing *p = state->input;
    if (key == ARGP_KEY_ARG) return on_word(p, value);
    if (key == '?')
        return on_help(p, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, state);
    if (key == USAGE_KEY) return on_help(p, ARGP_HELP_USAGE, state);
    const sl_option *option;
    for (size_t i = 0; (option = sl_command_option(p->command, i)); i++) {
        if (key != key_of(option, i)) continue;
        char source[40];
        snprintf(source, sizeof source, "--%s", option->name);
        p->status = sl_option_set(option, source, value, p->settings);
        return p->status == SL_OK ? 0 : ECANCELED;
    }
    return ARGP_ERR_UNKNOWN;
}

/* argp_parse, whose complaints quote the words of a command line as they are: collected, and shown
 * as plain.h has it. Both argp and getopt write to the variable `stderr`; sl_error does not. */
static error_t parse_plainly(const struct argp *argp, int argc, char **argv, unsigned flags,
                             parsing *p)
{
    char *said = NULL;
    size_t bytes = 0;
    FILE *shown = stderr, *collected = open_memstream(&said, &bytes);
    if (collected) stderr = collected;
    error_t error = argp_parse(argp, argc, argv, flags, NULL, p);
    stderr = shown;
    if (collected && fclose(collected) == 0) sl_plain_write(stderr, said, bytes);
    free(said);
    return error;
}

static sl_status parse_options(parsing *p, int argc, char **argv)
{
    const sl_command *command = p->command;
    char text[TEXT_BYTES_MAX]; /* argp's form: \v stands where the options go */
    int text_bytes = snprintf(text, sizeof text, "%s\v%s", command->about, command->examples);
    SL_ASSERT(text_bytes < (int)sizeof text);
    list_options(p);
    struct argp argp = {
        .options = p->options, .parser = on_option, .args_doc = command->usage, .doc = text};
    char name[32], *word = argv[0];
    snprintf(name, sizeof name, "sluice %s", command->name);
    argv[0] = name; /* what "Usage:" and argp's own complaints begin with */
    unsigned flags = ARGP_NO_HELP | ARGP_NO_EXIT | (sl_launcher_prints() ? 0 : ARGP_NO_ERRS);
    setenv("ARGP_HELP_FMT", "no-dup-args-note,rmargin=96", 0);
    error_t error = parse_plainly(&argp, argc, argv, flags, p);
    argv[0] = word;
    if (p->status != SL_OK) return p->status;
    return error ? SL_ERR_OPTION : SL_OK; /* argp has said what was wrong */
}

/* ---- what is written is nothing that is read ---- */

static sl_status check_files(const sl_command *command, sl_settings *settings)
{
    const sl_option *option;
    for (size_t i = 0; (option = sl_command_option(command, i)); i++)
        sl_written_note(option, settings);
    sl_status status = SL_OK;
    for (size_t i = 0; (option = sl_command_option(command, i)) && status == SL_OK; i++)
        status = sl_written_check_option(settings, option);
    for (uint32_t i = 0; i < settings->n_words && status == SL_OK; i++)
        status = sl_written_check(settings, "file", settings->words[i]);
    return status;
}

static sl_status parse(const sl_command *command, int argc, char **argv, sl_settings *settings)
{
    sl_status status = set_before_options(command, settings);
    if (status != SL_OK) return status;
    parsing p = {.command = command, .settings = settings, .status = SL_OK};
    status = parse_options(&p, argc, argv);
    if (status != SL_OK) return status;
    if (settings->n_words > 0 && !command->takes_words) {
        sl_error("'%s' is no option: see sluice %s --help", settings->words[0], command->name);
        return SL_ERR_OPTION;
    }
    return check_files(command, settings);
}

sl_status sl_command_parse(const sl_command *command, int argc, char **argv,
                           sl_settings *settings_out)
{
    if (!sl_launcher_prints()) sl_log_set_level(SL_LOG_NONE); /* all ranks would say the same */
    *settings_out = (sl_settings){.sinks = SL_NOT_GIVEN, .window = SL_NOT_GIVEN, .argv = argv};
    sl_status status = parse(command, argc, argv, settings_out);
    sl_log_set_level(settings_out->quiet     ? SL_LOG_ERROR
                     : settings_out->verbose ? SL_LOG_DEBUG
                                             : SL_LOG_INFO);
    return status;
}

int sl_command_run(const sl_command *command, int argc, char **argv)
{
    sl_settings settings;
    sl_status status = sl_command_parse(command, argc, argv, &settings);
    if (status == SL_OK) status = sl_limits_check_least();
    return status == SL_OK ? command->run(&settings) : sl_exit_code(status);
}
