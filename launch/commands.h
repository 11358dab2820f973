/* launch/commands.h - what the commands say of themselves: main, --help, the man page and the shell's
 * completion all read it. One file per command, cmd_*.c. */
#ifndef SL_COMMANDS_H
#define SL_COMMANDS_H

#include "launch/settings.h"

typedef struct {
    sl_command command;
    const char *name; /* one word, or two */
    const char *summary;
    const char *usage;    /* what follows the name and [OPTION...] */
    const char *about;    /* what it does, in a sentence or two */
    const char *examples; /* after the options: lines that can be typed, and what else matters */
    /* Returns the process's exit code (engine.h). */
    int (*run)(sl_settings *settings);
} sl_command_entry;

extern const sl_command_entry sl_cmd_batch, sl_cmd_run, sl_cmd_eval_perplexity,
    sl_cmd_eval_agreement, sl_cmd_eval_tasks, sl_cmd_eval_needle, sl_cmd_plan, sl_cmd_bench,
    sl_cmd_bench_codec, sl_cmd_bench_link, sl_cmd_bench_figure3, sl_cmd_show, sl_cmd_show_cache,
    sl_cmd_train_init, sl_cmd_train_warm, sl_cmd_train_calibrate, sl_cmd_tokenize;

/* All of them, as --help lists them; NULL ends. */
extern const sl_command_entry *const sl_commands[];

#endif
